"""A job of kind `measure`: boards measure well-chosen pairs once, and the job says how well others are predicted."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest

from cluster.space_table import SpaceTable
from cluster.training_phase import StopRequestedError
from edge_agent.records import Artifact
from nas_service.errors import NasError
from nas_service.job import parse_job
from tests.nas_service.tune.fakes import FakeBoards

pytestmark = pytest.mark.slow


class FakeJob:
    """A job's context without a store; `stops_after` says after how many graphs the user asks it to stop."""

    def __init__(self, tmp_path, *, timeout_s=60.0):
        self.job_id, self.work, self.notes, self.shown = "job-1", tmp_path, [], []
        self.stop = False
        self.spec = parse_job(
            {
                "kind": "measure",
                "name": "micro on pi",
                "dataset": {"name": "digits"},
                "space": {"preset": "micro"},
                "objectives": ["latency_ms@pi"],
                "measurement": {"tier": "probe", "pairs": 12, "timeout_s": timeout_s},
            }
        )

    def enter(self, state):
        pass

    def note(self, kind, message, data=None):
        self.notes.append((kind, message))

    def progress(self, phase, *, done, total, detail):
        self.shown.append((phase, done, total))

    def stop_requested(self):
        return self.stop


def run(job, boards, *, graphs=None, limit=None):
    def stored(data):
        if graphs is not None:
            graphs.append(data)
            job.stop = limit is not None and len(graphs) >= limit
        return Artifact(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    pause = lambda seconds: boards.work()  # noqa: E731
    return SpaceTable(job, ["pi"], measurer=boards, store_graph=stored, pause=pause).measure()


def test_every_half_is_measured_once_and_the_prediction_is_judged(tmp_path):
    job, boards = FakeJob(tmp_path), FakeBoards()
    run(job, boards)
    assert set(boards.measured.values()) == {1}
    assert job.shown[-1] == ("measuring", len(boards.measured), len(boards.measured))
    assert any(kind == "table" and message.startswith("latency_ms@pi: ") for kind, message in job.notes)


def test_a_job_that_was_stopped_goes_on_where_it_was(tmp_path):
    boards, first, second = FakeBoards(), [], []
    with pytest.raises(StopRequestedError, match="what was measured stays"):
        run(FakeJob(tmp_path), boards, graphs=first, limit=5)
    run(FakeJob(tmp_path), boards, graphs=second)
    assert len(first) == 5
    assert len(first) + len(second) == len(boards.measured)
    assert set(boards.measured.values()) == {1}


def test_boards_that_stay_silent_end_the_job_with_what_to_do(tmp_path):
    boards = FakeBoards(outcome=lambda request: "silent")
    with pytest.raises(NasError, match=r"no board measured anything for 0\.01 s, with 0 of 2\d halves.*`nas resume`"):
        run(FakeJob(tmp_path, timeout_s=0.01), boards)


def test_a_half_that_no_board_can_run_is_reported_and_the_rest_counts(tmp_path):
    seen = SimpleNamespace(count=0)

    def outcome(request):
        seen.count += 1
        return "model" if seen.count == 1 else "ok"

    job = FakeJob(tmp_path)
    run(job, FakeBoards(outcome=outcome))
    assert ("failed", "1 halves could not be measured on pi") in job.notes
