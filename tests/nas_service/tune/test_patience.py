"""With `evaluation.parts`, a pair that cannot reach the front ends early: on few images, and on no board."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_service.candidate import CandidateStatus
from nas_service.curve import Curve
from nas_service.job import InvalidJobError
from tests.nas_service.tune.fakes import JOB, FakeBoards, FakeTrials, MemoryArchive, digest, make_session, make_spec

IMAGES, PART = 1000, 0.2
STRATEGY = {"name": "random", "evaluations": 30, "concurrency": 1}


class PatientTrials(FakeTrials):
    """Three pairs in four are poor; every evaluator looks at the bar once, after a fifth of the images."""

    def __call__(self, candidate, exports, bar=None):
        report = super().__call__(candidate, exports)
        rng = np.random.default_rng(digest(candidate.phenotype))
        share = 0.3 if digest(candidate.phenotype) % 4 else 0.8
        scores, right = rng.random(IMAGES), rng.random(IMAGES) < share
        whole = Curve.from_outputs(scores, right, right)
        few = int(PART * IMAGES)
        part = Curve.from_outputs(scores[:few], right[:few], right[:few])
        curve = part if bar is not None and bar.out_of_reach(part) else whole
        accuracies = {"little": 1.0, "big": 1.0, "n": float(curve.n), "of": float(IMAGES)}
        return replace(report, curve=curve.to_bytes(), accuracies=accuracies)


def searched(job, *, boards=None, cut_after=None, archive=None):
    archive, notes = archive or MemoryArchive(), []
    session = make_session(job, archive, boards, note=lambda kind, text: notes.append((kind, text)))
    trials = PatientTrials()
    while not session.finished and cut_after != len(trials.evaluated):
        candidate = session.next()
        if candidate is not None:
            exports = session.wanted_exports(candidate)
            session.evaluated(trials(candidate, exports, session.bar(candidate)))
        if boards is not None:
            boards.work()
            session.poll()
    return archive, notes


def spec(**changes):
    return make_spec(
        **{"strategy": STRATEGY, "objectives": ["error", "macs"], "evaluation": {"parts": [PART]}, **changes}
    )


def test_what_cannot_reach_the_front_ends_early_and_the_front_is_the_same():
    patient, notes = searched(spec())
    whole, _ = searched(spec(evaluation={}))
    early = [c for c in patient.list(JOB) if c.partial]
    assert 10 <= len(early) < 30
    assert {c.accuracies["n"] for c in early} == {PART * IMAGES}
    assert [text.split(":")[0] for kind, text in notes if kind == "early"] == [c.id for c in early]
    assert front(patient) == front(whole)


def front(archive):
    points = [(p["error"], p["macs"]) for c in archive.list(JOB) if not c.estimated for p in c.values]
    return sorted(p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points))


def test_without_parts_nothing_ends_early_and_there_is_no_bar():
    archive, _ = searched(spec(evaluation={}))
    assert not any(c.partial for c in archive.list(JOB))


def test_the_searcher_is_told_what_was_counted():
    archive, _ = searched(spec())
    early = [c for c in archive.list(JOB) if c.partial]
    assert all(c.status is CandidateStatus.FINISHED and c.values for c in early)
    assert all(c.estimated and not c.predicted for c in early)


def test_boards_measure_nothing_that_ended_early():
    boards = FakeBoards()
    archive, _ = searched(spec(objectives=["error", "latency_ms@pi"]), boards=boards)
    assert not [c for c in archive.list(JOB) if c.partial]  # nothing is known of a half before boards have measured it
    again = MemoryArchive()
    searched(spec(objectives=["error", "latency_ms@pi"]), boards=boards, archive=again)
    early = [c for c in again.list(JOB) if c.partial]
    assert early
    assert not any(c.measurements for c in early)


def test_a_search_that_was_cut_ends_as_one_that_was_not():
    whole, _ = searched(spec())
    archive, _ = searched(spec(), cut_after=12)
    searched(spec(), archive=archive)
    assert [(c.phenotype, c.values, c.partial) for c in archive.list(JOB)] == [
        (c.phenotype, c.values, c.partial) for c in whole.list(JOB)
    ]


@pytest.mark.parametrize("evaluation", [{"parts": [0.5, 0.2]}, {"parts": [1.5]}, {"doubt": 0}, {"part": [0.2]}])
def test_bad_parts_are_refused_with_the_job(evaluation):
    with pytest.raises(InvalidJobError, match="evaluation"):
        spec(evaluation=evaluation)
