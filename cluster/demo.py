"""`nas demo`: the main job end to end on this machine, on data that comes with an installed package."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.local import board_cores, down, up
from cluster.local_board import enrol_local_board, start_local_board
from nas_service.client import Client, save_bundle
from nas_service.commands.console import Console
from nas_service.commands.front import print_front
from nas_service.commands.submit import follow_job
from nas_service.home import Home, ServiceState
from nas_service.report import collect, write_report

BOARD = "this-machine"
BOARD_CLASS = "local"
RESERVED_CORES = 1

Report = Callable[[str], None]

JOB: dict[str, Any] = {
    "kind": "search",
    "name": "digits-demo",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro", "couplings": ["independent", "stem", "nested"]},
    "supernet": {"epochs": 30, "batch_size": 64, "learning_rate": 0.3},
    "strategy": [
        {"name": "random", "evaluations": 8, "concurrency": 4},
        {"name": "nsga2", "evaluations": 20, "concurrency": 4},
    ],
    "objectives": ["error", f"latency_ms@{BOARD_CLASS}"],
    "constraints": {"params": 60_000},
    "measurement": {"tier": "probe"},
    "finalists": {"count": 3, "fine_tune_epochs": 8},
    "seed": 0,
}

CANDIDATES = sum(strategy["evaluations"] for strategy in JOB["strategy"])


def run(*, out: Path, keep: bool, report: Report) -> int:
    """Run the demo, write its report and best bundle under `out`, and return the exit code.

    Args:
        out: Folder for `report.html`, `report.md`, its plots, and `bundle.zip`.
        keep: Leave the dashboard up until Ctrl-C.
        report: Told of each step.
    """
    started = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="nas-demo-"))
    home = Home(root)
    console = Console(out=sys.stdout, err=sys.stderr)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        state = up(home, reserve_cores=RESERVED_CORES, report=report)
        with Client(state.api_url or "", home.read_admin_token()) as client:
            _add_board(home, state, client, report)
            job = client.submit(JOB)
            report(f"job {job['id']}: {JOB['dataset']['name']}, {CANDIDATES} candidates")
            ended = follow_job(client, job["id"], console=console)
            if ended["state"] != "finished":
                _show_log(client, job["id"], report)
                return 1
            _show_results(client, job["id"], out, console, report)
        report(f"from nothing to the front in {time.monotonic() - started:.0f} s")
        if keep:
            _stay(state, home, report)
        return 0
    except KeyboardInterrupt:
        return 1
    finally:
        signal.signal(signal.SIGTERM, previous)
        down(home, report=report)
        shutil.rmtree(root, ignore_errors=True)


def _add_board(home: Home, state: ServiceState, client: Client, report: Report) -> None:
    code = client.add_board(BOARD, board_class=BOARD_CLASS)["code"]
    board = home.root / "board"
    enrol_local_board(board, address=f"{state.gateway_host}:{state.gateway_port}", code=code)
    cores = board_cores(sorted(os.sched_getaffinity(0)), RESERVED_CORES)
    pid = start_local_board(board, cores=cores, log=home.logs / "board.log")
    home.write_state(replace(state, pids={**state.pids, "board": pid}))
    report(f"board {BOARD} enrolled over SSH and waiting on core {', '.join(map(str, cores))}")


def _show_results(client: Client, job_id: str, out: Path, console: Console, report: Report) -> None:
    print_front(client, console, job=job_id, filters={}, as_json=False)
    paths = write_report(collect(client, job_id), out)
    finalists = client.candidates(job_id, finalists=True)
    if finalists:
        bundle = out / "bundle.zip"
        save_bundle(client, finalists[0]["id"], bundle)
        report(f"bundle of {finalists[0]['id']}: {bundle} (try: nas-edge measure {bundle} --tier probe)")
    report(f"report: {paths[0]}")


def _show_log(client: Client, job_id: str, report: Report) -> None:
    for event in client.past_events(job_id):
        report(f"{event.kind}: {event.message}")


def _stay(state: ServiceState, home: Home, report: Report) -> None:
    report(f"dashboard: {state.api_url}/#token={home.read_admin_token()}   (Ctrl-C ends the demo)")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        report("")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
