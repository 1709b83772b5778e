"""One job whose driver, gateway and agent are killed without warning while they work; and what came of it."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass, field

import numpy as np
import pytest

from edge_agent.runtime import Pair
from tests.cluster.gateway.processes import wait_for
from tests.cluster.live import LiveService

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.ssh, pytest.mark.timeout(600)]

EPOCHS, CANDIDATES, FINALISTS = 8, 10, 2
JOB = {
    "kind": "search",
    "name": "survivor",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro"},
    "supernet": {"epochs": EPOCHS, "batch_size": 64, "train_fraction": 0.5},
    "strategy": [
        {"name": "random", "evaluations": 4, "concurrency": 3},
        {"name": "nsga2", "evaluations": CANDIDATES - 4, "concurrency": 3},
    ],
    "objectives": ["error", "latency_ms@local"],
    "measurement": {"tier": "probe"},
    "finalists": {"count": FINALISTS, "fine_tune_epochs": 1},
    "seed": 0,
}


@dataclass
class Story:
    """What happened to the job: how far it was at each kill."""

    job_id: str
    epochs_before: list[int] = field(default_factory=list)
    gateways: list[int] = field(default_factory=list)
    agents: list[int] = field(default_factory=list)
    job: dict = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(live: LiveService) -> Story:
    story = Story(job_id=live.client.submit(JOB)["id"])
    job_id = story.job_id

    live.wait("epochs", job_id, lambda: len(live.events(job_id, "epoch")) >= 2)
    live.kill_driver(job_id)
    story.epochs_before = [event["epoch"] for event in live.events(job_id, "epoch")]
    live.resume(job_id)

    live.wait("candidates", job_id, lambda: live.told(job_id) >= 2 and live.board_measures())
    live.kill_driver(job_id)
    live.resume(job_id)

    live.wait("more candidates", job_id, lambda: live.told(job_id) >= 4 and live.board_measures())
    _kill_gateway(live, story)

    live.wait("still more candidates", job_id, lambda: live.told(job_id) >= 6 and live.board_measures())
    story.agents.append(live.board_pid)
    live.kill_board()
    live.start_board()
    story.agents.append(live.board_pid)

    story.job = live.ended(job_id)
    return story


def _kill_gateway(live: LiveService, story: Story) -> None:
    pid = live.gateway_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def another() -> int | None:
        found = live.gateway_pid()
        return found if found not in (None, pid) and _greets(live) else None

    story.gateways += [pid, wait_for("another gateway on the same port", another, timeout_s=60)]


def _greets(live: LiveService) -> bool:
    """Whether an SSH server answers where the board knows it."""
    try:
        with socket.create_connection(("127.0.0.1", live.state.gateway_port or 0), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def test_the_job_finishes(live, story):
    assert (story.job["state"], story.job["message"]) == ("finished", None)


def test_training_went_on_from_the_last_epoch_and_not_from_the_first(live, story):
    epochs = [event["epoch"] for event in live.events(story.job_id, "epoch")]
    assert 2 <= len(story.epochs_before) < EPOCHS
    assert epochs == sorted(set(epochs))
    assert epochs[len(story.epochs_before)] > story.epochs_before[-1]
    assert epochs[-1] == EPOCHS


def test_no_candidate_is_lost_none_is_there_twice_and_none_is_left_open(live, story):
    every = live.store.candidates.list(story.job_id)
    assert [c.number for c in every] == list(range(1, CANDIDATES + 1))
    assert len({c.phenotype for c in every}) == CANDIDATES
    assert [c.strategy_index for c in every] == [0] * 4 + [1] * (CANDIDATES - 4)
    assert {c.status.value for c in every} == {"finished"}


def test_every_candidate_has_its_measurements_and_none_was_made_twice(live, story):
    counted = [m.result.measurement_key for m in live.store.fleet.measurements() if not m.late]
    assert len(counted) == len(set(counted))
    needed = {key for c in live.store.candidates.list(story.job_id) for key in c.measurements["local"].values()}
    assert needed <= set(counted)


def test_gateway_and_agent_were_others_at_the_end(story):
    for before, after in (story.gateways, story.agents):
        assert None not in (before, after)
        assert before != after


def test_the_front_is_served_as_csv_and_json(live, story):
    front = live.client.front(story.job_id)
    lines = live.client.front_csv(story.job_id).splitlines()
    assert len(lines) == len(front["points"]) + 1 >= 3
    assert "latency_ms@local" in lines[0]


def test_a_finalists_bundle_predicts_and_computes_what_the_cluster_computed(live, story, tmp_path):
    best = live.client.candidates(story.job_id, finalists=True)[0]["id"]
    got = live.nas("get", story.job_id, best, "-o", str(tmp_path / "bundle"))
    assert got.returncode == 0, got.stderr
    with Pair.load(tmp_path / "bundle") as pair:
        report = pair.verify_parity()
    assert (report.route_mismatches, report.label_mismatches) == (0, 0)
    np.save(tmp_path / "digit.npy", np.load(tmp_path / "bundle" / "parity.npz")["images"][0])
    said = live.nas_edge("predict", str(tmp_path / "bundle"), str(tmp_path / "digit.npy"))
    assert said.returncode == 0, said.stderr
    path, label, sureness, route, _ = said.stdout.strip().split("\t")
    assert (path, label in "0123456789", 0.0 < float(sureness) <= 1.0) == (str(tmp_path / "digit.npy"), True, True)
    assert route in ("little", "big")


def test_only_finalists_have_bundles(live, story, tmp_path):
    others = live.client.candidates(story.job_id, finalists=False)
    assert len(others) >= CANDIDATES - FINALISTS
    refused = live.nas("get", story.job_id, others[0]["id"], "-o", str(tmp_path / "bundle"))
    assert refused.returncode == 1
    assert "finalist" in refused.stderr
    assert not (tmp_path / "bundle").exists()


def test_its_events_are_streamed_and_end_with_the_job(live, story):
    events = list(live.client.events(story.job_id))
    assert [e.id for e in events] == sorted({e.id for e in events})
    assert events[-1].kind == "state"
    assert events[-1].data["to"] == "finished"
