"""With `near_front`, what may be on the front is measured again at a higher tier before the searcher is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_service.candidate import CandidateStatus
from nas_service.curve import Curve
from nas_service.front import non_dominated
from nas_service.front_query import FrontCandidate, HalfCost
from nas_service.measurement import RequestStatus
from nas_service.tune.raising import is_near_front
from tests.nas_service.tune.fakes import (
    JOB,
    FakeBoards,
    FakeTrials,
    MemoryArchive,
    latency,
    make_session,
    make_spec,
    run,
)

LATENCY = "latency_ms@pi"
RIGHT = np.ones(10, dtype=bool)  # no error at any threshold
CURVE = Curve.from_outputs(np.arange(10) / 10, RIGHT, RIGHT)


def raising(**changes):
    strategy = {"name": "random", "evaluations": 24, "concurrency": 2}
    return make_spec(strategy=strategy, measurement={"tier": "probe", "near_front": "rank"}, **changes)


def candidate(latency_ms):
    halves = {half: HalfCost(latency_ms=latency_ms) for half in ("little", "big")}
    return FrontCandidate(id="c", number=1, coupling="stem", curve=CURVE, costs={}, boards={"pi": halves})


@pytest.mark.parametrize(
    ("latency_ms", "front", "near"),
    [
        (1.0, [], True),
        (1.0, [[0.0, 1.0]], True),  # as good as what is there
        (1.04, [[0.0, 1.0]], True),  # within what a longer measurement may find
        (1.06, [[0.0, 1.0]], False),
        (9.0, [[20.0, 1.0]], True),  # better in something else
    ],
)
def test_a_candidate_is_near_the_front_if_it_might_be_on_it_at_a_little_less(latency_ms, front, near):
    assert is_near_front(candidate(latency_ms), raising(), front) is near


@pytest.mark.parametrize(("bound", "near"), [(1.0, True), (0.96, True), (0.94, False)])
def test_one_that_does_not_meet_the_constraints_even_so_is_not_near(bound, near):
    assert is_near_front(candidate(1.0), raising(constraints={LATENCY: bound}), []) is near


def searched(boards, spec=None):
    archive, notes = MemoryArchive(), []
    session = make_session(spec or raising(), archive, boards, note=lambda *said: notes.append(said))
    run(session, boards, FakeTrials())
    return archive.list(JOB), notes


def tiers(candidate, boards):
    return {boards.requests[key].tier for halves in candidate.measurements.values() for key in halves.values()}


def test_every_candidate_of_the_front_is_measured_at_the_higher_tier_and_others_are_not():
    boards = FakeBoards()
    candidates, notes = searched(boards)
    points = [(c, [p["error"], p[LATENCY]]) for c in candidates for p in c.values]
    front = [c for (c, _), best in zip(points, non_dominated([row for _, row in points]), strict=True) if best]
    assert {tier for c in front for tier in tiers(c, boards)} == {"rank"}
    assert any(tiers(c, boards) == {"probe"} for c in candidates)
    raised = [text.split(":")[0] for kind, text in notes if kind == "raised"]
    assert raised == [c.id for c in sorted(candidates, key=lambda c: c.number) if tiers(c, boards) == {"rank"}]


def test_the_searcher_is_told_what_the_higher_tier_found():
    class Later(FakeBoards):
        """Takes twice as long at the higher tier."""

        def work(self):
            before = dict(self.states)
            super().work()
            for key, state in self.states.items():
                if state is not before.get(key) and state.state is RequestStatus.DONE:
                    if self.requests[key].tier == "rank":
                        self.states[key] = doubled(state)

    boards = Later()
    candidates, _ = searched(boards, raising(objectives=[LATENCY]))
    [first] = [c for c in candidates if c.number == 1]
    figures = boards.states[first.measurements["pi"]["little"]].result.latency.mean_ms
    assert min(p[LATENCY] for p in first.values) == figures
    assert figures > 1.0  # twice 0.5 and more


def doubled(state):
    return replace(state, result=replace(state.result, latency=latency(2 * state.result.latency.mean_ms)))


def test_a_candidate_that_cannot_be_measured_again_keeps_its_first_figures():
    boards = FakeBoards(lambda request: "model" if request.tier == "rank" else "ok")
    candidates, notes = searched(boards)
    assert {c.status for c in candidates} == {CandidateStatus.FINISHED}
    assert {tier for c in candidates for tier in tiers(c, boards)} == {"probe"}
    assert any("keeps its first figures, since little could not be measured on pi" in text for _, text in notes)


def test_without_the_option_nothing_is_measured_again():
    boards = FakeBoards()
    searched(boards, make_spec())
    assert {request.tier for request in boards.requests.values()} == {"probe"}
