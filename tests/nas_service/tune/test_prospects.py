"""A search for what cannot be found ends soon, and says what came nearest."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.records import Artifact
from nas_service.candidate import CandidateStatus
from nas_service.chosen_pairs import chosen_pairs
from nas_service.curve import Curve
from nas_service.front_query import FrontCandidate, HalfCost
from nas_service.half import halves_of
from nas_service.measurement import MeasurementRequest
from nas_service.objective import Objective
from nas_service.tune.prospects import (
    LACKING,
    LOOKED_AT,
    Prospects,
    broken_bound,
    least_cost,
    nearest,
    shortfall,
    unmet_text,
)
from tests.nas_service.tune.fakes import JOB, FakeBoards, FakeTrials, MemoryArchive, make_session, make_spec, run
from tests.nas_service.tune.test_thrift import SPACE, LawfulBoards, sum_ms

LATENCY = "latency_ms@pi"
CURVE = Curve.from_outputs(np.arange(10) / 10, np.arange(10) < 6, np.arange(10) < 9)


def candidate(little=1.0, big=4.0, *, energy=None, name="job-1-1"):
    halves = {
        "little": HalfCost(latency_ms=little, energy_mj=energy),
        "big": HalfCost(latency_ms=big, energy_mj=energy),
    }
    return FrontCandidate(
        id=name, number=1, coupling="stem", curve=CURVE, costs={"params": 50.0}, boards={"pi": halves}
    )


def test_a_shortfall_is_told_at_the_threshold_that_comes_nearest():
    found = shortfall(candidate(), {LATENCY: 0.5})
    assert (found.value, found.factor) == (1.0, 2.0)
    assert str(found) == "latency_ms@pi must be at most 0.5, and the nearest has 1 (job-1-1)"


@pytest.mark.parametrize("constraints", [{}, {LATENCY: 1.0}, {"energy_mj@pi": 1.0}])
def test_what_meets_its_constraints_or_is_unknown_falls_short_of_nothing(constraints):
    assert shortfall(candidate(), constraints) is None


def test_of_several_constraints_the_one_that_is_missed_by_most_counts():
    assert shortfall(candidate(), {LATENCY: 0.5, "params": 10.0}).name == "params"


def test_the_nearest_of_several_candidates_is_told():
    every = [candidate(3.0, name="a"), candidate(2.0, name="b"), candidate(4.0, name="c")]
    assert nearest(every, {LATENCY: 1.0}).candidate_id == "b"
    assert nearest([], {LATENCY: 1.0}) is None


def test_a_job_in_which_nothing_met_the_constraints_says_what_came_nearest():
    archive = MemoryArchive()
    searched(FakeBoards(), archive, evaluations=3, constraints={LATENCY: 0.4})
    told = unmet_text(archive.list(JOB), {LATENCY: 0.4}, price=lambda: [candidate(0.8), candidate(0.6, name="b")])
    assert told == (
        "no candidate met the constraints: latency_ms@pi must be at most 0.4, and the nearest has 0.6 (b). Raise the "
        "bound to at least that, or choose a space with cheaper pairs"
    )


@pytest.mark.parametrize("constraints", [{}, {LATENCY: 50.0}])
def test_a_job_in_which_one_met_the_constraints_says_nothing(constraints):
    archive = MemoryArchive()
    searched(FakeBoards(), archive, evaluations=3, constraints=constraints)
    assert unmet_text(archive.list(JOB), constraints, price=list) is None


@pytest.mark.parametrize(
    ("name", "known", "least"),
    [
        ("latency_ms", ("little", "big"), 1.0),
        ("latency_ms", ("big",), 0.0),
        ("worst_latency_ms", ("little", "big"), 5.0),
        ("worst_latency_ms", ("big",), 4.0),
    ],
)
def test_the_least_that_a_pair_can_cost_follows_from_the_halves_that_are_known(name, known, least):
    halves = {half: cost for half, cost in candidate().boards["pi"].items() if half in known}
    assert least_cost(Objective(name, "pi"), halves) == least


def test_a_bound_that_known_halves_cannot_meet_is_broken_and_one_of_unknown_halves_is_not():
    bounds = {Objective("latency_ms", "pi"): 0.5, Objective("params"): 1.0}
    assert broken_bound("x", bounds, candidate().boards).value == 1.0
    assert broken_bound("x", bounds, {}) is None


def test_a_figure_that_the_first_candidates_lack_is_a_dead_end():
    prospects = Prospects(["error", "energy_mj@pi"], {}, met=False)
    for _ in range(LACKING - 1):
        prospects.had(candidate())
    assert prospects.dead_end is None
    prospects.had(candidate())
    assert "none of the 3 candidates that boards have measured has energy_mj@pi" in prospects.dead_end


def test_a_figure_that_one_candidate_had_is_none():
    prospects = Prospects(["error", "energy_mj@pi"], {}, met=False)
    prospects.had(candidate(energy=1.0))
    for _ in range(9):
        prospects.had(candidate())
    assert prospects.dead_end is None


@pytest.mark.parametrize(("bound", "ends"), [(0.0001, True), (0.2, False)])
def test_a_constraint_that_nothing_comes_near_is_a_dead_end_and_one_just_out_of_reach_is_told(bound, ends):
    prospects = Prospects(["error", LATENCY], {LATENCY: bound}, met=False)
    said = [prospects.had(candidate()) for _ in range(LOOKED_AT)]
    assert (prospects.dead_end is not None) is ends
    assert [text is not None for text in said] == [False] * (LOOKED_AT - 1) + [True]
    assert f"must be at most {bound:g}, and the nearest has 1 (job-1-1)" in said[-1]


def test_a_candidate_that_met_the_constraints_keeps_the_search_going():
    prospects = Prospects(["error", LATENCY], {LATENCY: 0.0001}, met=True)
    assert [prospects.had(candidate()) for _ in range(64)] == [None] * 64
    assert prospects.dead_end is None


def searched(boards, archive, *, evaluations=40, **changes):
    notes, trials = [], FakeTrials()
    spec = make_spec(strategy={"name": "random", "evaluations": evaluations, "concurrency": 1}, **changes)
    session = make_session(spec, archive, boards, note=lambda *said: notes.append(said))
    run(session, boards, trials)
    return session, trials, notes


def test_a_search_for_a_figure_that_no_board_gives_ends_after_a_few_candidates():
    session, trials, _ = searched(FakeBoards(), MemoryArchive(), objectives=["error", "energy_mj@pi"])
    assert len(trials.evaluated) == LACKING
    assert "energy_mj@pi" in session.dead_end


def test_a_search_under_a_constraint_that_nothing_comes_near_spends_little_of_its_budget():
    session, _, notes = searched(FakeBoards(), MemoryArchive(), constraints={LATENCY: 0.0001})
    assert session.told == LOOKED_AT
    assert session.dead_end.startswith("none of 16 candidates comes near the constraints: latency_ms@pi must be")
    assert [kind for kind, _ in notes].count("constraint") == 1


def test_a_candidate_whose_measured_halves_break_a_constraint_is_not_evaluated():
    boards, archive = FakeBoards(), MemoryArchive()
    searched(boards, MemoryArchive())
    _, trials, notes = searched(boards, archive, constraints={"memory_kib@pi": 1999.0})  # each half takes 1000
    spared = archive.list(JOB)
    assert (len(spared), {c.status for c in spared}, trials.evaluated) == (40, {CandidateStatus.FAILED}, [])
    assert spared[0].error == "not evaluated: its halves have 2000 at the least, memory_kib@pi <= 1999"
    assert ("infeasible", f"{spared[0].id}: {spared[0].error}") in notes


class TableBoards(LawfulBoards):
    """Boards that have measured the pairs that are chosen for a table."""

    def __init__(self, archive):
        super().__init__(archive)
        for plan in chosen_pairs(SPACE, 30):
            for half, structure in halves_of(plan).items():
                key, model = plan.structures("msp")[half], Artifact(sha256="0" * 64, size_bytes=1)
                self._ms[key] = sum_ms(structure)
                request = MeasurementRequest(structure_key=key, board_class="pi", tier="probe", half=half, model=model)
                self.request([request])
        self.work()


def test_what_even_the_smallest_pairs_are_believed_to_miss_is_said_before_anything_is_evaluated():
    archive = MemoryArchive()
    session, trials, notes = searched(TableBoards(archive), archive, constraints={LATENCY: 0.0001})
    assert trials.evaluated == []
    assert session.dead_end.startswith("no pair is believed to meet the constraints: latency_ms@pi must be at most")
    assert notes == [("constraint", session.dead_end)]


def test_what_the_smallest_pairs_are_believed_to_meet_is_searched():
    archive = MemoryArchive()
    session, _, notes = searched(TableBoards(archive), archive, evaluations=6, constraints={LATENCY: 1.0})
    assert (session.dead_end, session.told, notes) == (None, 6, [])
