"""S8: seconds that a candidate takes in a whole service whose boards have measured its halves before."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.benchmarks.row import Row
from cluster.local import board_cores, down, up
from cluster.local_board import enrol_local_board, start_local_board
from cluster.ray_head import stop_ray
from nas_service.client import Client
from nas_service.errors import NasError
from nas_service.home import Home
from nas_service.store import Store

CANDIDATES = 20
BOARD_CLASS = "local"
TIMEOUT_S = 1200.0
JOB: dict[str, Any] = {
    "kind": "search",
    "name": "warm",
    "dataset": {"name": "cluster.benchmarks.noise:load"},
    "space": {"preset": "tiny"},
    "strategy": {"name": "random", "evaluations": CANDIDATES},
    "objectives": ["error", f"latency_ms@{BOARD_CLASS}"],
    "measurement": {"tier": "probe"},
    "finalists": {"count": 0},
    "seed": 0,
}


def warm_candidates() -> list[Row]:
    """S8: from the first ask to the last tell of a search, a candidate; a first job has had all its halves measured."""
    with _service() as (client, store):
        first = _finished(client, {**JOB, "supernet": {"epochs": 1, "train_fraction": 0.1}})
        known = len(store.fleet.measurements())
        second = _finished(client, {**JOB, "supernet": {"checkpoint": first["artefacts"]["supernet"]}})
        every = store.candidates.list(second["id"])
        if len(store.fleet.measurements()) != known or len(every) != CANDIDATES:
            raise NasError("the second search measured again what the first had measured: a mistake in the service")
    seconds = (max(c.finished_at or 0.0 for c in every) - min(c.created_at for c in every)) / len(every)
    detail = (
        f"tiny, random, {CANDIDATES} candidates, 5,000 images of noise, one evaluator, one board; "
        "the evaluator's start-up is in it"
    )
    return [
        Row(
            name="S8",
            figure="seconds per candidate, structures measured",
            value=seconds,
            must=4.0,
            aim=2.0,
            detail=detail,
        )
    ]


def _finished(client: Client, job: dict[str, Any]) -> dict[str, Any]:
    """Submit a job and return it when it has finished."""
    submitted, give_up_at = client.submit(job), time.monotonic() + TIMEOUT_S
    while (now := client.job(submitted["id"]))["state"] not in ("finished", "failed", "stopped"):
        if time.monotonic() > give_up_at:
            raise NasError(f"job {submitted['id']} did not finish within {TIMEOUT_S:g} s")
        time.sleep(0.5)
    if now["state"] != "finished":
        raise NasError(f"job {now['id']} {now['state']}: {now['message']}")
    return now


@contextmanager
def _service() -> Iterator[tuple[Client, Store]]:
    """A whole service on this machine with one real board on the last core, where there are two."""
    with tempfile.TemporaryDirectory(prefix="nas-bench-", dir="/tmp") as scratch:  # Ray's sockets need short paths
        home = Home(Path(scratch))
        state, board, pid = up(home, reserve_cores=1), Path(scratch) / "board", -1
        try:
            with Client(state.api_url or "", home.read_admin_token()) as client, Store.open(home) as store:
                code = client.add_board("this-machine", board_class=BOARD_CLASS)["code"]
                enrol_local_board(board, address=f"{state.gateway_host}:{state.gateway_port}", code=code)
                cores = board_cores(sorted(os.sched_getaffinity(0)), 1)
                pid = start_local_board(board, cores=cores, log=home.logs / "board.log")
                yield client, store
        finally:
            stop_ray(pid)  # the agent's process group
            down(home)
