"""With `only: promising`, boards measure what may reach the front; the rest is told by what it is believed to cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_service.candidate import PREDICTED, CandidateStatus
from nas_service.curve import Curve
from nas_service.half import halves_of
from nas_service.half_features import FEATURES, half_features
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from nas_service.promise import can_touch
from tests.nas_service.tune.fakes import (
    JOB,
    FakeBoards,
    FakeTrials,
    MemoryArchive,
    digest,
    latency,
    make_session,
    make_spec,
    run,
)

SPACE = PairSpace(MICRO, channels=1, resolution=8, classes=10)


class LawfulBoards(FakeBoards):
    """Boards whose latency is a sum over layers, so that it can be predicted; `law` off, it is anything."""

    def __init__(self, archive, *, law=True):
        super().__init__()
        self._archive, self._law, self._ms = archive, law, {}

    def work(self):
        super().work()
        for candidate in self._archive.list(JOB):
            for half, structure in halves_of(SPACE.plan(candidate.architecture)).items():
                self._ms[candidate.structures[half]] = sum_ms(structure)
        for key, state in self.states.items():
            if state.result is not None and self._law:
                ms = self._ms[state.result.structure_key]
                self.states[key] = replace(state, result=replace(state.result, latency=latency(ms)))


def sum_ms(structure):
    row = dict(zip(FEATURES, half_features([structure])[0], strict=True))
    return 0.02 + 0.002 * sum(v for k, v in row.items() if k.endswith("_layers")) + 0.5 * row["weights"]


class UnevenTrials(FakeTrials):
    """Every image is classified rightly by some candidates, and few by the others, whatever they cost."""

    def __call__(self, candidate, exports):
        report = super().__call__(candidate, exports)
        right = np.arange(20) < (20 if digest(candidate.phenotype) % 4 else 4)
        return replace(report, curve=Curve.from_outputs(np.arange(20) / 20, right, right).to_bytes())


def spec(**changes):
    strategy = {"name": "random", "evaluations": 36, "concurrency": 1}
    return make_spec(strategy=strategy, measurement={"tier": "probe", "only": "promising"}, **changes)


def searched(*, law=True, job=None):
    archive = MemoryArchive()
    boards, trials, notes = LawfulBoards(archive, law=law), UnevenTrials(), []
    session = make_session(job or spec(), archive, boards, note=lambda kind, text: notes.append((kind, text)))
    run(session, boards, trials)
    return archive.list(JOB, with_curves=True), boards, notes


@pytest.fixture(scope="module")
def outcome():
    return searched()


def test_some_candidates_are_told_by_prediction_and_marked_as_such(outcome):
    candidates, _, notes = outcome
    spared = [c for c in candidates if c.predicted]
    assert spared
    assert all(c.status is CandidateStatus.FINISHED for c in candidates)
    assert all(point[PREDICTED] == "pi" for c in spared for point in c.values)
    assert [text.split(":")[0] for kind, text in notes if kind == "predicted"] == [c.id for c in spared]


def test_boards_spend_nothing_on_them(outcome):
    candidates, boards, _ = outcome
    halves = {(half, c.structures[half]) for c in candidates for half in ("little", "big")}
    assert sum(boards.measured.values()) < len(halves)


def test_nothing_that_was_left_out_would_have_been_worth_measuring(outcome):
    candidates, _, _ = outcome
    front = [[p["error"], p["latency_ms@pi"]] for c in candidates if not c.predicted for p in c.values]
    for candidate in (c for c in candidates if c.predicted):
        little, big = (sum_ms(half) for half in halves_of(SPACE.plan(candidate.architecture)).values())
        curve = Curve.from_bytes(candidate.curve)
        true = np.stack([100 * (1 - curve.accuracy), curve.expected_cost(little, big)], axis=1)
        assert not can_touch(true, front)


def test_a_front_has_measured_points_alone(outcome):
    candidates, boards, _ = outcome
    measured = [c for c in candidates if not c.predicted]
    assert measured
    assert all(boards.states[key].result is not None for c in measured for key in c.measurements["pi"].values())


@pytest.mark.slow
def test_costs_that_cannot_be_predicted_are_all_measured():
    candidates, _, _ = searched(law=False)
    assert not any(c.predicted for c in candidates)


def test_without_the_option_everything_is_measured():
    strategy = {"name": "random", "evaluations": 12, "concurrency": 1}
    candidates, boards, _ = searched(job=make_spec(strategy=strategy))
    assert not any(c.predicted for c in candidates)
    assert {k for c in candidates for k in c.measurements["pi"].values()} == set(boards.measured)


@pytest.mark.slow
def test_a_search_that_is_made_anew_over_the_archive_decides_as_one_that_went_on():
    once, _, _ = searched()
    archive = MemoryArchive()
    boards, trials = LawfulBoards(archive), UnevenTrials()
    while True:
        session = make_session(spec(), archive, boards)
        if session.finished:
            break
        for _ in range(7):
            if (candidate := session.next()) is not None:
                session.evaluated(trials(candidate, session.wanted_exports(candidate)))
            boards.work()
            session.poll()
    assert [(c.phenotype, c.values) for c in archive.list(JOB)] == [(c.phenotype, c.values) for c in once]
