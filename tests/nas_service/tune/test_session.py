"""A search session joins what trials and boards answer; cut anywhere, it goes on as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.candidate import CandidateStatus
from nas_service.pair_space import StageChoices
from nas_service.presets import MICRO
from tests.nas_service.tune.fakes import (
    JOB,
    CutError,
    FakeBoards,
    FakeTrials,
    MemoryArchive,
    digest,
    make_session,
    make_spec,
    run,
)

NO_BOARD = {"objectives": ["error", "macs"]}


@pytest.fixture
def archive() -> MemoryArchive:
    return MemoryArchive()


@pytest.fixture
def boards() -> FakeBoards:
    return FakeBoards()


@pytest.fixture
def trials() -> FakeTrials:
    return FakeTrials()


def evaluate(session, trials):
    """Take the next candidate through its trial and return it."""
    candidate = session.next()
    assert candidate is not None
    session.evaluated(trials(candidate, session.wanted_exports(candidate)))
    return candidate


def stored(archive, candidate):
    return archive.candidates[candidate.id]


def test_a_search_ends_with_every_candidate_of_its_budget_told(archive, boards, trials):
    session = make_session(make_spec(), archive, boards)
    run(session, boards, trials)
    assert (session.told, session.in_flight, session.finished) == (6, 0, True)
    assert [c.number for c in archive.list(JOB)] == [1, 2, 3, 4, 5, 6]
    assert all(c.status is CandidateStatus.FINISHED and c.values for c in archive.list(JOB))


def test_no_more_than_concurrency_candidates_are_in_flight(archive, boards, trials):
    spec = make_spec(strategy={"name": "random", "evaluations": 9, "concurrency": 3})
    session = make_session(spec, archive, boards)
    for _ in range(3):
        evaluate(session, trials)
    assert (session.in_flight, session.next()) == (3, None)
    boards.work()
    session.poll()
    assert session.in_flight == 0
    assert session.next() is not None


@pytest.mark.parametrize(("concurrency", "sizes"), [(1, [1] * 10), (3, [1] * 10), (8, [4, 4, 2])])
def test_half_of_what_may_be_in_flight_is_asked_for_at_once(archive, trials, concurrency, sizes):
    strategy = {"name": "random", "evaluations": 10, "concurrency": concurrency}
    session = make_session(make_spec(**NO_BOARD, strategy=strategy), archive, None)
    asked, ask = [], session._searcher.ask
    session._searcher.ask = lambda count: asked.append(count) or ask(count)
    run(session, None, trials)
    assert asked == sizes
    assert [c.number for c in archive.list(JOB)] == list(range(1, 11))


def test_no_more_than_the_budget_is_handed_out(archive, boards, trials):
    session = make_session(make_spec(strategy={"name": "random", "evaluations": 2, "concurrency": 8}), archive, boards)
    assert [evaluate(session, trials).number for _ in range(2)] == [1, 2]
    assert (session.next(), session.finished) == (None, False)


def test_a_candidate_counts_when_both_its_trial_and_its_boards_have_answered(archive, boards, trials):
    boards.outcome = lambda request: "silent" if request.half == "big" else "ok"
    session = make_session(make_spec(), archive, boards)
    candidate = evaluate(session, trials)
    boards.work()
    assert session.poll() is False
    assert (session.told, stored(archive, candidate).status) == (0, CandidateStatus.EVALUATED)
    boards.outcome = lambda request: "ok"
    boards.work()
    assert session.poll() is True
    assert (session.told, stored(archive, candidate).status) == (1, CandidateStatus.FINISHED)


def test_answers_of_boards_before_the_trials_do_not_count_yet(archive, boards, trials):
    spec = make_spec(strategy={"name": "random", "evaluations": 4, "concurrency": 2})
    session = make_session(spec, archive, boards)
    session.next()
    evaluate(session, trials)
    boards.work()
    session.poll()
    assert (session.told, session.in_flight) == (1, 1)


def test_without_a_board_in_the_objectives_the_trial_alone_decides(archive, trials):
    session = make_session(make_spec(**NO_BOARD), archive, None)
    candidate = evaluate(session, trials)
    assert trials.exports[candidate.id] == []
    assert stored(archive, candidate).status is CandidateStatus.FINISHED


def test_a_failed_evaluation_fails_its_candidate_and_the_search_goes_on(archive, boards):
    trials = FakeTrials(fails=lambda candidate: candidate.number == 2)
    session = make_session(make_spec(), archive, boards)
    run(session, boards, trials)
    statuses = [c.status.value for c in archive.list(JOB)]
    assert statuses == ["finished", "failed", "finished", "finished", "finished", "finished"]
    assert archive.list(JOB)[1].error == "its outputs are not finite"


def test_a_trial_that_died_fails_its_candidate(archive, boards):
    session = make_session(make_spec(), archive, boards)
    candidate = session.next()
    session.trial_lost(candidate.id, "its evaluator died")
    assert (stored(archive, candidate).error, session.in_flight, session.told) == ("its evaluator died", 0, 1)


def test_a_model_that_no_board_can_run_fails_its_candidate_with_the_cause(archive, boards, trials):
    notes = []
    boards.outcome = lambda request: "model" if request.half == "big" else "ok"
    session = make_session(make_spec(), archive, boards, note=lambda kind, text: notes.append((kind, text)))
    candidate = evaluate(session, trials)
    boards.work()
    session.poll()
    error = "big could not be measured on pi: it runs out of memory"
    assert stored(archive, candidate).error == error
    assert notes == [("failed", f"{candidate.id}: {error}")]


def test_a_model_at_fault_is_not_asked_for_again(archive, boards, trials):
    boards.outcome = lambda request: "model"
    session = make_session(make_spec(), archive, boards)
    candidate = evaluate(session, trials)
    boards.work()
    assert session.wanted_exports(candidate) == []


def test_what_failed_for_want_of_a_board_is_asked_for_again_by_the_next_with_that_half(archive, boards, trials):
    boards.outcome = lambda request: "infra"
    session = make_session(make_spec(), archive, boards)
    candidate = evaluate(session, trials)
    boards.work()
    session.poll()
    assert stored(archive, candidate).error == "little could not be measured on pi: its board went away"
    assert session.wanted_exports(candidate) == ["big", "little"]


def test_a_half_that_is_measured_or_queued_is_not_exported_again(archive, boards, trials):
    session = make_session(make_spec(), archive, boards)
    candidate = evaluate(session, trials)
    assert trials.exports[candidate.id] == ["big", "little"]
    assert session.wanted_exports(candidate) == []
    boards.work()
    assert session.wanted_exports(candidate) == []
    assert sorted(boards.measured.values()) == [1, 1]


def test_a_measurement_without_an_answer_fails_its_candidate_after_the_timeout(archive, boards, trials):
    now = [100.0]
    boards.outcome = lambda request: "silent" if request.half == "big" else "ok"
    session = make_session(make_spec(), archive, boards, clock=lambda: now[0])
    candidate = evaluate(session, trials)
    boards.work()
    now[0] = 159.9
    assert session.poll() is False
    now[0] = 160.0
    assert session.poll() is True
    assert stored(archive, candidate).error == (
        "no board measured its big on pi within 60 s; see what the boards do with `nas board ls`, "
        "or raise measurement.timeout_s"
    )
    assert session.next() is not None


def test_an_answer_that_is_there_counts_even_after_the_timeout(archive, boards, trials):
    now = [0.0]
    session = make_session(make_spec(), archive, boards, clock=lambda: now[0])
    candidate = evaluate(session, trials)
    boards.work()
    now[0] = 1000.0
    session.poll()
    assert stored(archive, candidate).status is CandidateStatus.FINISHED


@pytest.mark.parametrize(("bound", "feasible"), [(2000, True), (1999, False)])  # each half takes 1000 KiB
def test_measured_memory_is_bounded_by_the_constraint(archive, boards, trials, bound, feasible):
    notes = []
    session = make_session(
        make_spec(constraints={"memory_kib@pi": bound}), archive, boards, note=lambda kind, _: notes.append(kind)
    )
    candidate = evaluate(session, trials)
    boards.work()
    session.poll()
    assert (bool(stored(archive, candidate).values), notes) == (feasible, [] if feasible else ["infeasible"])
    assert stored(archive, candidate).status is CandidateStatus.FINISHED


def test_a_second_strategy_learns_from_the_first_and_repeats_none_of_its_pairs(archive, boards, trials):
    both = [{"name": "random", "evaluations": 8}, {"name": "nsga2", "evaluations": 12, "concurrency": 2}]
    spec = make_spec(strategy=both)
    for index in range(2):
        run(make_session(spec, archive, boards, index=index), boards, trials)
    every = archive.list(JOB)
    assert [c.strategy_index for c in every] == [0] * 8 + [1] * 12
    assert len({c.phenotype for c in every}) == 20
    told = [event for event in archive.search_state(JOB, 1)["events"] if event[0] == "tell"]
    assert [point for _, point, _ in told[:8]] == [c.architecture for c in every[:8]]


def test_a_space_that_is_used_up_ends_the_search_and_says_so(archive, trials):
    stages = (StageChoices(widths=(8, 16), depths=(1,)), StageChoices(widths=(16,), depths=(1,)))
    small = replace(MICRO, stem_widths=(8,), stem_depths=(1,), little=stages, big=stages, couplings=("stem",))
    notes = []
    session = make_session(
        make_spec(**NO_BOARD), archive, None, definition=small, note=lambda kind, text: notes.append(kind)
    )
    run(session, None, trials)
    assert (session.told, session.finished, notes) == (4, True, ["exhausted"])


# Cut after any number of writes, a search goes on over the same archive and the same boards, and nothing shows of it.


def fails(candidate) -> bool:
    return digest(candidate.phenotype) % 5 == 0


def fate(request) -> str:
    return "model" if digest(request.structure_key) % 7 == 0 else "ok"


def run_with_cuts(spec, cuts, *, pace=1):
    """Run all strategies, killed after each of these numbers of writes and then to the end."""
    archive, boards, trials = MemoryArchive(), FakeBoards(fate), FakeTrials(fails)

    def life() -> None:
        for index in range(len(spec.strategy)):
            over = {c.id for c in archive.candidates.values() if c.over}
            before = len(trials.evaluated)
            try:
                run(make_session(spec, archive, boards, index=index), boards, trials, pace=pace)
            finally:
                assert not over & set(trials.evaluated[before:]), "evaluated again though it was over"

    for writes in cuts:
        archive.writes_left = writes
        try:
            life()
        except CutError:
            continue
    archive.writes_left = None
    life()
    return archive, boards


STRATEGIES = {
    "one": {"name": "nsga2", "evaluations": 6, "concurrency": 1},
    "two": [
        {"name": "random", "evaluations": 3, "concurrency": 1},
        {"name": "tpe", "evaluations": 3, "concurrency": 1},
    ],
}


@pytest.mark.parametrize("objectives", [["error", "latency_ms@pi"], ["error", "macs"]], ids=["boards", "no boards"])
@pytest.mark.parametrize("strategies", list(STRATEGIES))
def test_cut_at_any_write_the_archive_comes_out_as_if_undisturbed(strategies, objectives):
    spec = make_spec(strategy=STRATEGIES[strategies], objectives=objectives)
    undisturbed, _ = run_with_cuts(spec, [])
    assert {c.status for c in undisturbed.candidates.values()} == {CandidateStatus.FINISHED, CandidateStatus.FAILED}
    for writes in range(undisturbed.writes):
        resumed, boards = run_with_cuts(spec, [writes])
        assert resumed.content() == undisturbed.content(), f"cut after {writes} writes"
        assert set(boards.measured.values()) <= {1}


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 12), max_size=6))
def test_cut_again_and_again_the_archive_comes_out_as_if_undisturbed(cuts):
    spec = make_spec()
    assert run_with_cuts(spec, cuts)[0].content() == run_with_cuts(spec, [])[0].content()


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 20), min_size=1, max_size=4), pace=st.integers(1, 5))
def test_cut_with_many_in_flight_nothing_is_lost_repeated_or_left_open(cuts, pace):
    spec = make_spec(strategy={"name": "nsga2", "evaluations": 8, "concurrency": 4})
    archive, boards = run_with_cuts(spec, cuts, pace=pace)
    every = archive.list(JOB)
    assert [c.number for c in every] == list(range(1, 9))
    assert all(c.over for c in every)
    assert len({c.phenotype for c in every}) == 8
    assert set(boards.measured.values()) <= {1}


def test_a_measurement_that_no_board_could_make_before_the_cut_is_made_after_it(archive, boards, trials):
    boards.outcome = lambda request: "infra"
    candidate = evaluate(make_session(make_spec(), archive, boards), trials)
    boards.work()  # the session was killed before it saw that
    boards.outcome = lambda request: "ok"
    run(make_session(make_spec(), archive, boards), boards, trials)
    assert stored(archive, candidate).status is CandidateStatus.FINISHED
    assert trials.evaluated.count(candidate.id) == 2
    assert len(archive.candidates) == 6
