"""Strategies side by side over one cache: nothing evaluated twice, nothing counted twice, whatever is killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from nas_service.candidate import Candidate
from nas_service.comparison import CHARGE, Comparison, Run
from nas_service.job import JobSpec, Strategy, parse_job
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from nas_service.search import make_searcher
from nas_service.server_events import JobEvent
from nas_service.tune.contest import Contest, Contestant, ContestArchive, ContestSession, Past, known_candidates
from nas_service.tune.outage import LOOK_S
from nas_service.tune.task import Task
from tests.nas_service.tune.fakes import JOB, CutError, FakeBoards, FakeTrials, MemoryArchive, run
from tests.nas_service.tune.test_thrift import LawfulBoards, UnevenTrials

SPACE = PairSpace(MICRO, channels=1, resolution=8, classes=10)
FIRST_STATE = 100


class Records(MemoryArchive):
    """An archive that keeps events too, each a write at which the process may be killed."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[JobEvent] = []

    def charge(self, run: Run, data: dict[str, Any]) -> None:
        self._write()
        self.events.append(JobEvent(id=len(self.events), kind=CHARGE, data=json.loads(json.dumps(data))))

    @property
    def comparison(self) -> Comparison:
        return Comparison.of(self.events)


def make_spec(**compare: Any) -> JobSpec:
    return parse_job({
        "kind": "compare", "name": "c", "dataset": {"name": "digits"}, "space": {"preset": "micro"},
        "supernet": {"epochs": 1}, "objectives": ["error", "macs"],
        "compare": {"strategies": ["random", "nsga2", "evolution"], "seeds": 2, "evaluations": 5, **compare},
    })  # fmt: skip


def seconds_of(candidate: Candidate) -> Mapping[str, float]:
    return {key: 2.0 for halves in candidate.measurements.values() for key in halves.values()}


def session_over(
    records: Records, spec: JobSpec, boards: FakeBoards | None = None, clock: Callable[[], float] = lambda: 0.0
) -> ContestSession:
    """A session as a driver makes one, over what was kept."""
    compare = spec.compare
    contestants = [
        Contestant(
            entrant=entrant,
            searcher=make_searcher(
                entrant.strategy, SPACE, objectives=spec.objectives, seed=entrant.seed, budget=compare.evaluations
            ),
            evaluations=compare.evaluations,
            batch=compare.batch,
        )
        for entrant in compare.entrants
    ]
    states = {e.index: records.search_state(JOB, FIRST_STATE + e.index) for e in compare.entrants}
    contest = Contest(
        contestants,
        phenotype=SPACE.phenotype,
        past=Past(
            known=known_candidates(records.list(JOB), index=0),
            comparison=records.comparison,
            states={index: state for index, state in states.items() if state},
        ),
        charge=records.charge,
        save=lambda index, state: records.save_search_state(JOB, FIRST_STATE + index, state),
        objectives=spec.objectives,
        board_seconds=seconds_of,
    )
    everybody = Strategy(name="random", evaluations=compare.total + 1, concurrency=compare.concurrency)
    return ContestSession(
        Task(spec=spec.model_copy(update={"strategy": (everybody,)}), job_id=JOB),
        searcher=contest,
        space=SPACE,
        archive=ContestArchive(records, contest),
        measurer=boards,
        clock=clock,
    )


def history(records: Records) -> dict[int, list[str]]:
    """What each entrant had evaluated, as pairs, in its order."""
    return {
        index: [records.candidates[c.candidate_id].phenotype for c in entry.charges]
        for index, entry in records.comparison.runs.items()
    }


def test_every_entrant_has_its_whole_budget_and_no_pair_is_evaluated_twice():
    records, trials = Records(), FakeTrials()
    run(session_over(records, make_spec()), None, trials)
    charged = history(records)
    assert [len(set(pairs)) for pairs in charged.values()] == [5] * 6
    assert len(trials.evaluated) == len(set(trials.evaluated)) == len({p for pairs in charged.values() for p in pairs})


def test_what_others_had_evaluated_is_charged_in_full_and_marked():
    records = Records()
    spec = make_spec(strategies=["nsga2", "tpe"], seeds=1, evaluations=5)
    run(session_over(records, spec), None, FakeTrials())
    again = Records()
    again.candidates = {key: c for key, c in records.candidates.items() if c.over}
    trials = FakeTrials()
    run(session_over(again, spec), None, trials)
    charges = [c for entry in again.comparison.runs.values() for c in entry.charges]
    assert trials.evaluated == []
    assert len(charges) == 10
    assert set(again.comparison.points) == {c.candidate_id for c in charges}


@pytest.mark.parametrize("batch", [1, 3])
def test_who_else_takes_part_and_how_many_are_in_flight_changes_nothing(batch):
    few, many = Records(), Records()
    run(session_over(few, make_spec(strategies=["random", "nsga2"], seeds=1, batch=batch, concurrency=1)),
        None, FakeTrials())  # fmt: skip
    run(
        session_over(many, make_spec(strategies=["random", "nsga2", "evolution"], seeds=2, batch=batch)),
        None,
        FakeTrials(),
    )
    first = {e.strategy: history(many)[i] for i, e in many.comparison.runs.items() if e.seed == 0}
    assert {few.comparison.runs[i].strategy: pairs for i, pairs in history(few).items()} == {
        name: first[name] for name in ("random", "nsga2")
    }


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_killed_at_any_write_it_goes_on_to_the_same_histories_and_counts_nothing_twice(batch):
    spec = make_spec(strategies=["random", "nsga2"], seeds=1, evaluations=3, batch=batch)
    whole = Records()
    run(session_over(whole, spec), None, FakeTrials())
    for cut in range(whole.writes):
        records, trials = Records(), FakeTrials()
        records.writes_left = cut
        with pytest.raises(CutError):
            run(session_over(records, spec), None, trials)
        finished = {c.id for c in records.candidates.values() if c.over}
        records.writes_left = None
        after = FakeTrials()
        run(session_over(records, spec), None, after)
        assert history(records) == history(whole)
        assert not finished & set(after.evaluated)
        assert len({(e.data["entrant"], e.data["candidate"]) for e in records.events}) == len(records.events) == 6


def test_entrants_that_all_wait_for_what_is_in_flight_ask_again_once_it_is_told():
    records, trials = Records(), FakeTrials()
    session = session_over(records, make_spec(strategies=["random", "nsga2"], seeds=1))
    for _ in range(20):
        flying = []
        while (candidate := session.next()) is not None:
            flying.append(candidate)
        for candidate in flying:
            session.evaluated(trials(candidate, session.wanted_exports(candidate)))
    assert session.finished
    assert [len(pairs) for pairs in history(records).values()] == [5, 5]


def test_no_entrant_is_told_a_predicted_cost_while_a_class_is_away():
    records, trials, now = Records(), UnevenTrials(), [0.0]
    boards = LawfulBoards(records)
    spec = make_spec(strategies=["random", "nsga2", "evolution", "tpe"], seeds=3, evaluations=8)
    spec = spec.model_copy(update={"objectives": ("error", "latency_ms@pi")})
    session = session_over(records, spec, boards, clock=lambda: now[0])
    for step in range(20):
        if step == 3:
            boards.away, boards.outcome = frozenset({"pi"}), lambda request: "silent"
        while (candidate := session.next()) is not None:
            session.evaluated(trials(candidate, session.wanted_exports(candidate)))
        boards.work()
        now[0] += LOOK_S
        session.poll()
    over = [candidate.over for candidate in records.list(JOB)]
    assert sum(over) >= 15
    assert not all(over)
    assert not any(candidate.predicted for candidate in records.list(JOB))


def test_a_failed_candidate_counts_and_has_no_points():
    records = Records()
    run(session_over(records, make_spec(seeds=1)), None, FakeTrials(fails=lambda c: c.number % 2 == 0))
    assert [len(entry.charges) for entry in records.comparison.runs.values()] == [5, 5, 5]
    assert any(points == () for points in records.comparison.points.values())


def test_boards_are_paid_once_by_each_entrant_for_a_half_whoever_had_it_measured():
    records, boards = Records(), FakeBoards()
    spec = make_spec(strategies=["random", "nsga2"], seeds=1)
    spec = spec.model_copy(update={"objectives": ("error", "latency_ms@pi")})
    run(session_over(records, spec, boards), boards, FakeTrials())
    assert max(boards.measured.values()) == 1
    for entry in records.comparison.runs.values():
        keys = {k for c in entry.charges for k in seconds_of(records.candidates[c.candidate_id])}
        assert sum(c.board_s for c in entry.charges) == 2.0 * len(keys)


def test_a_candidate_bears_the_name_of_the_strategy_that_asked_first():
    records = Records()
    run(session_over(records, make_spec(seeds=1)), None, FakeTrials())
    first = {}
    for index, entry in sorted(records.comparison.runs.items()):
        for charge in entry.charges:
            if not charge.known:
                first[charge.candidate_id] = records.comparison.runs[index].strategy
    assert {c.id: c.strategy for c in records.candidates.values()} == first
