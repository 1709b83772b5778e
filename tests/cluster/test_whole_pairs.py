"""A job whose finalists a real board measures whole, over real SSH, end to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.local_board import enrol_local_board
from edge_agent.records import PairFigures
from tests.cluster.gateway.processes import wait_for
from tests.cluster.live import LiveService

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.ssh, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
JOB: dict[str, Any] = {
    "kind": "search",
    "name": "whole pairs",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro", "couplings": ["stem"]},
    "supernet": {"epochs": 3, "batch_size": 64},
    "strategy": {"name": "random", "evaluations": 2},
    "objectives": ["error", "latency_ms@quick"],
    "measurement": {"tier": "probe"},
    "finalists": {"count": 1, "tier": "final"},
}


@pytest.fixture
def quick_board(live: LiveService, tmp_path: Path) -> Iterator[None]:
    code = live.client.add_board("quick", board_class="quick")["code"]
    enrol_local_board(tmp_path, address=f"{live.state.gateway_host}:{live.state.gateway_port}", code=code)
    command = [sys.executable, "-m", "tests.cluster.quick_board", "run", "--local", "--home", str(tmp_path)]
    with (tmp_path / "log").open("wb") as log:
        board = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    wait_for("a word of the board", lambda: live.store.fleet.board("quick").heartbeat, timeout_s=60)
    yield
    os.killpg(board.pid, signal.SIGTERM)
    board.wait(timeout=20)


def test_a_finalists_operating_points_carry_what_the_pair_whole_costs(live: LiveService, quick_board: None) -> None:
    job = live.client.submit(JOB)
    ended = live.ended(job["id"], timeout_s=280)
    assert (ended["state"], live.events(job["id"], "measurement")) == ("finished", [])
    (finalist,) = live.client.candidates(job["id"], finalists=True)
    figures = _figures(live, finalist["final"]["measurements"]["quick"]["pair-fp32"])
    assert figures.operating_point == "iso-0.5"
    assert figures.route_agreement >= 0.995
    for point in finalist["final"]["operating_points"]:
        for promise in (point["calibration"], point["test"]):
            expected = figures.mean_ms(promise["escalation_rate"])
            assert promise["expected_cost"]["latency_ms@quick"] == pytest.approx(expected)
            assert promise["expected_cost"]["memory_kib@quick"] > 0
    default = next(p for p in finalist["final"]["operating_points"] if p["name"] == "iso-0.5")
    assert figures.routes[1].share == pytest.approx(default["calibration"]["escalation_rate"])


def _figures(live: LiveService, key: str) -> PairFigures:
    state = live.store.fleet.states([key])[key]
    assert state.result is not None
    assert state.result.half == "pair"
    assert state.result.pair is not None
    assert state.result.health["sentinel"]["before_ms"] > 0
    return state.result.pair
