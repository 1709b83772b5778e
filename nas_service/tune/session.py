"""A search session: one strategy of one job, joining what trials and boards answer.

No Ray here. The driver asks for the next candidate, reports evaluations as trials end, and lets the session look at the
boards from time to time; the searcher is told when a candidate's trial and its measurements are both there. What is in
flight is bounded by the strategy's `concurrency`, so neither evaluators nor boards wait for each other, and boards that
are slow hold the search back instead of piling up work.

Everything lies in the store before it counts: a session made anew over the same store goes on where the old one was
killed, evaluates no finished candidate again, and asks first for what was asked and not yet told.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edge_agent.records import Half
from nas_service.bar import Bar
from nas_service.candidate import Candidate, CandidateStatus, Proposal
from nas_service.curve import Curve
from nas_service.evaluation_report import EvaluationReport
from nas_service.front_query import HalfCost
from nas_service.measurement import RequestState, RequestStatus
from nas_service.pair_space import PairSpace
from nas_service.search import Searcher
from nas_service.tune.desk import Desk
from nas_service.tune.patience import Patience
from nas_service.tune.ports import Archive, Measurer
from nas_service.tune.task import Task
from nas_service.tune.thinker import Thinker
from nas_service.tune.thrift import Costs, Thrift
from nas_service.valuation import Point, half_cost, priced, told_points


@dataclass(slots=True)
class _Flight:
    """A candidate in flight; what it is `waiting` for must be there by `give_up_at`, in the session's clock."""

    candidate: Candidate
    waiting: dict[str, tuple[str, Half]] = field(default_factory=dict)
    give_up_at: float = math.inf
    boards: dict[str, dict[Half, HalfCost]] = field(default_factory=dict)
    evaluated: bool = False


class SearchSession:
    """A search session.

    Args:
        task: What is to be done.
        searcher: A new searcher; its state is loaded from the archive if there is one.
        space: The space that the searcher searches.
        archive: Where candidates are kept.
        measurer: Who measures; None if no objective or constraint names a board class.
        note: Called with a kind and a sentence when something happens that the user should know.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        task: Task,
        *,
        searcher: Searcher,
        space: PairSpace,
        archive: Archive,
        measurer: Measurer | None,
        note: Callable[[str, str], None] = lambda kind, text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        spec = task.spec
        self._spec, self._job_id, self._index = spec, task.job_id, task.strategy_index
        self._strategy = spec.strategy[task.strategy_index]
        self._searcher, self._space, self._archive = searcher, space, archive
        self._thinker = Thinker(searcher)
        self._desk = Desk(spec, job_id=task.job_id, measurer=measurer)
        self._note, self._clock = note, clock
        self._flights: dict[str, _Flight] = {}
        self._asked: deque[dict[str, Any]] = deque()  # by the searcher, and not yet handed out
        self._exhausted = False
        self._thrift: Thrift | None = None
        if spec.measurement.only is not None and measurer is not None:
            self._thrift = Thrift(spec, space=space)
            self._thrift.learn_table(measurer)
        self._patience = Patience(spec)
        self._known = self._resume()

    @property
    def in_flight(self) -> int:
        """Candidates handed out and not yet told."""
        return len(self._flights)

    @property
    def told(self) -> int:
        """Candidates of this strategy that are finished or failed."""
        return sum(candidate.over for candidate in self._known.values())

    @property
    def finished(self) -> bool:
        """Whether every evaluation of the budget is told, or the space has nothing more."""
        return not self._flights and (self._exhausted or self.told >= self._strategy.evaluations)

    def _resume(self) -> dict[str, Candidate]:
        every = self._archive.list(self._job_id)
        state = self._archive.search_state(self._job_id, self._index)
        if state is not None:
            self._searcher.load_state_dict(state)
        mine = {c.phenotype: c for c in every if c.strategy_index == self._index}
        others = [c for c in every if c.strategy_index != self._index and c.over]
        for candidate in every:
            if candidate.over:
                self._learn(candidate)
        if others and state is None:
            self._searcher.tell([(c.architecture, list(c.values) or None) for c in others])
        return mine

    def next(self, *, wait: bool = True) -> Candidate | None:
        """Return the next candidate to evaluate, or None if there is none just now; see `finished`.

        Without `wait` the searcher thinks beside the caller, ahead of what is asked for, and there is none just now
        while it does so.
        """
        while not self._exhausted and self.in_flight < self._strategy.concurrency:
            if self.told + self.in_flight >= self._strategy.evaluations:
                return None
            if not self._asked and not self._ask(wait=wait):
                return None
            candidate = self._record(self._asked.popleft())
            if candidate.over:  # told in the archive just before a kill, but not yet in the searcher's saved state
                self._tell(candidate)
                continue
            flight = self._flights[candidate.id] = _Flight(candidate=candidate)
            if not wait and not self._asked and self._batch() > 0:
                self._thinker.begin(self._batch())
            if candidate.status is not CandidateStatus.EVALUATED or self.wanted_exports(candidate):
                return (
                    candidate  # also one whose graphs are needed again, since no board could measure it before the cut
                )
            self._measure(flight, {})
            self._join(flight)
        return None

    def _ask(self, *, wait: bool) -> bool:
        """Ask the searcher; return whether it had an answer."""
        points = self._thinker.take(max(1, self._batch()), wait=wait)
        if points is None:
            return False
        # The state first: cut in between, the searcher asks for the pairs again. The other way round, a pair that it
        # does not remember could stay in the archive for ever.
        self._keep_state()
        self._asked.extend(points)
        if not points:
            self._exhausted = True
            self._note("exhausted", f"{self._strategy.name}: no pair is left that was not asked for before")
        return bool(points)

    def _keep_state(self) -> None:
        if (state := self._thinker.state()) is not None:
            self._archive.save_search_state(self._job_id, self._index, state)

    def _batch(self) -> int:
        """Return how many candidates to ask for at once; 0 while as many are in flight as may be.

        A surrogate thinks once per ask. With several in flight the last results are missing in any case, so half of
        them are asked for together, and evaluators do not wait for a thought each.
        """
        left = self._strategy.evaluations - self.told - self.in_flight
        room = min(self._strategy.concurrency - self.in_flight, left)
        return min(max(1, self._strategy.concurrency // 2), room)

    def _record(self, architecture: dict[str, Any]) -> Candidate:
        plan = self._space.plan(architecture)
        proposal = Proposal(
            architecture=architecture,
            phenotype=self._space.phenotype(architecture),
            costs=plan.costs(),
            structures=plan.structures(self._spec.router),
        )
        [candidate] = self._archive.asked(self._job_id, self._index, self._strategy.name, [proposal])
        self._known[candidate.phenotype] = candidate
        return candidate

    def wanted_exports(self, candidate: Candidate) -> list[str]:
        """Return the halves whose graphs must be exported, because some board class has not measured or queued them.

        What failed for no fault of the model is asked for again.
        """
        return self._desk.missing(candidate)

    def bar(self, candidate: Candidate) -> Bar | None:
        """Return what ends a candidate's evaluation early; None if it is evaluated on every image in any case."""
        return self._patience.bar(candidate, self._least_costs(candidate))

    def evaluated(self, report: EvaluationReport) -> None:
        """Take in a trial's report: ask for the measurements, or finish what needs none or failed."""
        flight = self._flights.get(report.candidate_id)
        if flight is None or flight.evaluated:
            return
        if report.status == "failed":
            self._fail(flight, report.error or "failed without a reason")
            return
        flight.candidate = replace(
            flight.candidate,
            status=CandidateStatus.EVALUATED,
            accuracies=report.accuracies,
            curve=report.curve,
            split_hashes=report.split_hashes,
            seconds=report.seconds,
        )
        if flight.candidate.partial:
            self._end_early(flight)
            return
        keys = self._desk.keys(flight.candidate)
        flight.candidate = replace(flight.candidate, measurements=_by_class(keys))
        if self._spared(flight):
            return
        self._measure(flight, report.models)
        self._archive.update(flight.candidate)
        self._join(flight)

    def _end_early(self, flight: _Flight) -> None:
        """Finish a candidate whose evaluation ended early: boards do not measure it, and it is told as far as known."""
        candidate = flight.candidate
        seen = f"{candidate.accuracies['n']:.0f} of {candidate.accuracies['of']:.0f} images"
        self._note("early", f"{candidate.id}: ended after {seen}, since even with luck it gains less than 1 %")
        points = self._points(candidate, self._least_costs(candidate))
        self._finish(flight, replace(candidate, status=CandidateStatus.FINISHED, values=points))

    def _least_costs(self, candidate: Candidate) -> Costs:
        return self._desk.costs(candidate) if self._thrift is None else self._thrift.least(candidate)

    def _spared(self, flight: _Flight) -> bool:
        """Finish a candidate that boards need not measure, by what it is believed to cost; return whether it is one."""
        if self._thrift is None:
            return False
        self._learn(flight.candidate)
        points = self._thrift.believed(flight.candidate, self._patience.front)
        if points is None:
            return False
        self._note("predicted", f"{flight.candidate.id}: not measured, since even with luck it gains less than 1 %")
        self._finish(flight, replace(flight.candidate, status=CandidateStatus.FINISHED, values=points))
        return True

    def _learn(self, candidate: Candidate) -> None:
        """Take in what boards have answered about a candidate's halves, whoever asked, and what was told of it."""
        self._patience.had(candidate)
        if self._thrift is not None:
            self._thrift.learn(candidate, self._desk.costs(candidate))

    def _measure(self, flight: _Flight, models: Mapping[str, Any]) -> None:
        """Ask for the measurements of an evaluated candidate.

        After a resume there are no models at hand, but the requests are in the gateway's store: the request is made
        before the candidate is recorded as evaluated.
        """
        flight.evaluated = True
        flight.waiting = self._desk.keys(flight.candidate)
        flight.give_up_at = self._clock() + self._spec.measurement.timeout_s
        self._desk.request(flight.candidate, models)

    def poll(self) -> bool:
        """Look at the boards' answers; return whether a candidate was finished by them."""
        flights = [f for f in self._flights.values() if f.evaluated and f.waiting]
        if not flights:
            return False
        states = self._desk.poll(sorted({key for flight in flights for key in flight.waiting}))
        before = self.in_flight
        for flight in flights:
            self._collect(flight, states)
        return self.in_flight < before

    def _collect(self, flight: _Flight, states: Mapping[str, RequestState]) -> None:
        for key, (board_class, half) in list(flight.waiting.items()):
            state = states.get(key)
            if state is None or not state.is_final:
                continue
            if state.state is RequestStatus.FAILED or state.result is None:
                self._fail(flight, f"{half} could not be measured on {board_class}: {state.cause}")
                return
            flight.boards.setdefault(board_class, {})[half] = half_cost(state.result)
            del flight.waiting[key]
        if flight.waiting and self._clock() >= flight.give_up_at:
            missing = " and ".join(f"{half} on {board_class}" for board_class, half in flight.waiting.values())
            self._fail(
                flight,
                f"no board measured its {missing} within {self._spec.measurement.timeout_s:g} s; see what the boards "
                "do with `nas board ls`, or raise measurement.timeout_s",
            )
            return
        self._join(flight)

    def _join(self, flight: _Flight) -> None:
        if flight.waiting or flight.candidate.id not in self._flights:
            return
        candidate = flight.candidate
        points = self._points(candidate, flight.boards)
        if not points:
            self._note(
                "infeasible", f"{candidate.id}: no threshold meets the constraints with every objective measured"
            )
        self._finish(flight, replace(candidate, status=CandidateStatus.FINISHED, values=points))

    def _points(self, candidate: Candidate, boards: Costs) -> tuple[Point, ...]:
        assert candidate.curve is not None
        whole = priced(candidate, Curve.from_bytes(candidate.curve), boards)
        return told_points(whole, self._spec.objectives, self._spec.constraints)

    def _fail(self, flight: _Flight, error: str) -> None:
        self._note("failed", f"{flight.candidate.id}: {error}")
        self._finish(flight, replace(flight.candidate, status=CandidateStatus.FAILED, error=error))

    def trial_lost(self, candidate_id: str, error: str) -> None:
        """Record a candidate whose trial died and was not saved by retries."""
        flight = self._flights.get(candidate_id)
        if flight is not None and not flight.evaluated:
            self._fail(flight, error)

    def _finish(self, flight: _Flight, candidate: Candidate) -> None:
        done = replace(candidate, finished_at=self._clock())
        self._learn(done)
        self._tell(done)
        self._archive.finish(done, self._thinker.state())
        self._known[done.phenotype] = done
        del self._flights[done.id]

    def _tell(self, candidate: Candidate) -> None:
        self._thinker.tell([(candidate.architecture, list(candidate.values) or None)])


def _by_class(keys: Mapping[str, tuple[str, Half]]) -> dict[str, dict[str, str]]:
    """Return board class -> half -> measurement key."""
    grouped: dict[str, dict[str, str]] = {}
    for key, (board_class, half) in keys.items():
        grouped.setdefault(board_class, {})[half] = key
    return grouped
