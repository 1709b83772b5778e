"""A search session: one strategy of one job, joining what trials and boards answer.

No Ray here. The driver asks for the next candidate, reports evaluations as trials end, and lets the session look at the
boards from time to time; the searcher is told when a candidate's trial and its measurements are both there. What is in
flight is bounded by the strategy's `concurrency`, so neither evaluators nor boards wait for each other, and boards that
are slow hold the search back instead of piling up work.

Everything lies in the store before it counts: a session made anew over the same store goes on where the old one was
killed, evaluates no finished candidate again, and asks first for what was asked and not yet told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import ClassVar

from nas_service.bar import Bar
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.curve import Curve
from nas_service.evaluation_report import EvaluationReport
from nas_service.front_query import FrontCandidate
from nas_service.pair_space import PairSpace
from nas_service.search import Searcher
from nas_service.tune.agenda import Agenda
from nas_service.tune.desk import Desk
from nas_service.tune.expectation import Expectation
from nas_service.tune.flight import Flight
from nas_service.tune.memory import Known, Memory
from nas_service.tune.outage import places, unmeasured_text
from nas_service.tune.ports import Archive, Measurer
from nas_service.tune.prospects import Prospects
from nas_service.tune.raising import is_near_front
from nas_service.tune.task import Task
from nas_service.tune.thinker import Thinker
from nas_service.tune.waiting import Waiting
from nas_service.valuation import priced, told_points


class SearchSession:
    """A search session.

    Args:
        task: What is to be done.
        searcher: A new searcher; its state is loaded from the archive if there is one.
        space: The space that the searcher searches.
        archive: Where candidates are kept.
        measurer: Who measures; None if no objective or constraint names a board class.
        warm: What earlier jobs have found, for a searcher that begins.
        note: Called with a kind and a sentence when something happens that the user should know.
        clock: Unix time in seconds.
    """

    _may_predict: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        *,
        searcher: Searcher,
        space: PairSpace,
        archive: Archive,
        measurer: Measurer | None,
        warm: Sequence[Known] = (),
        note: Callable[[str, str], None] = lambda kind, text: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        spec = task.spec
        self._spec, self._job_id, self._index = spec, task.job_id, task.strategy_index
        self._strategy = spec.strategy[task.strategy_index]
        self._searcher, self._archive = searcher, archive
        self._thinker = Thinker(searcher)
        self._desk = Desk(spec, job_id=task.job_id, measurer=measurer)
        self._note, self._clock = note, clock
        self._flights: dict[str, Flight] = {}
        self._waiting = Waiting(spec, desk=self._desk, note=note, clock=clock)
        self._expectation = Expectation(spec, space=space, desk=self._desk, may_predict=self._may_predict)
        self._memory = Memory(task, space=space, archive=archive)
        self._agenda = Agenda(
            self._thinker, memory=self._memory, strategy=self._strategy.name, note=note, is_over=self._nothing_follows
        )
        self._known = self._resume(warm)
        met = any(candidate.values for candidate in self._known.values())
        self._prospects = Prospects(spec.objectives, spec.constraints, met=met)
        if measurer is not None and not self._known:
            self._foresee()

    @property
    def in_flight(self) -> int:
        """Candidates handed out and not yet told."""
        return len(self._flights)

    @property
    def told(self) -> int:
        """Candidates of this strategy that are finished or failed."""
        return sum(candidate.over for candidate in self._known.values())

    @property
    def held(self) -> list[str]:
        """The candidates in flight that wait for boards of a class that is away, by id."""
        return [f.candidate.id for f in self._flights.values() if f.held_by(self._waiting.away)]

    @property
    def finished(self) -> bool:
        """Whether the budget is told or the space has nothing more; else `unmeasured` says why the search ends."""
        return self._waiting.given_up or self.dead_end is not None or self._complete

    @property
    def dead_end(self) -> str | None:
        """Why the search would find nothing if it went on, and what to do; None as long as it may."""
        return self._prospects.dead_end

    def _nothing_follows(self) -> bool:
        """Return whether a searcher that has nothing to ask for just now never will."""
        return True

    @property
    def _complete(self) -> bool:
        return not self._flights and (self._agenda.exhausted or self.told >= self._strategy.evaluations)

    @property
    def unmeasured(self) -> str | None:
        """What waits for boards that did not come back, and what to do; None unless the search ended because of it."""
        if not self._waiting.given_up:
            return None
        return unmeasured_text(self.held, self._waiting.away, job_id=self._job_id)

    def _resume(self, warm: Sequence[Known]) -> dict[str, Candidate]:
        every = self._memory.recall(self._searcher, warm=warm)
        for candidate in every:
            if candidate.over:
                self._expectation.learn(candidate)
        return {c.phenotype: c for c in every if c.strategy_index == self._index}

    def next(self, *, wait: bool = True) -> Candidate | None:
        """Return the next candidate to evaluate, or None if there is none just now; see `finished`.

        Without `wait` the searcher thinks beside the caller, ahead of what is asked for, and there is none just now
        while it does so.
        """
        while not self._agenda.exhausted and self._places > 0 and self.dead_end is None:
            if self.told + self.in_flight >= self._strategy.evaluations:
                return None
            architecture = self._agenda.next(self._batch(), wait=wait)
            if architecture is None:
                return None
            candidate = self._memory.record(architecture)
            self._known[candidate.phenotype] = candidate
            if candidate.over:  # told in the archive just before a kill, but not yet in the searcher's saved state
                self._tell(candidate)
                continue
            flight = self._flights[candidate.id] = Flight(candidate=candidate)
            if self._is_ruled_out(flight):
                continue
            if not wait:
                self._agenda.think_ahead(self._batch())
            if candidate.status is not CandidateStatus.EVALUATED or self.wanted_exports(candidate):
                return (
                    candidate  # also one whose graphs are needed again, since no board could measure it before the cut
                )
            self._waiting.begin(flight, {})
            self._join(flight)
        return None

    def _foresee(self) -> None:
        """Say so, and end, if by what similar halves cost even the smallest pairs do not meet the constraints."""
        missed = self._expectation.smallest_miss()
        if missed is not None:
            self._note("constraint", self._prospects.foreseen(missed))

    def _is_ruled_out(self, flight: Flight) -> bool:
        """End a candidate whose halves are known to cost more than the constraints allow, before it is evaluated."""
        candidate = flight.candidate
        missed = self._expectation.miss(candidate) if candidate.status is CandidateStatus.ASKED else None
        if missed is None:
            return False
        if warning := self._prospects.missed(missed):
            self._note("constraint", warning)
        error = f"not evaluated: its halves have {missed.value:.4g} at the least, {missed.name} <= {missed.bound:g}"
        self._note("infeasible", f"{candidate.id}: {error}")
        self._finish(flight, replace(candidate, status=CandidateStatus.FAILED, error=error))
        return True

    def _batch(self) -> int:
        """Return how many candidates to ask for at once; 0 while as many are in flight as may be.

        A surrogate thinks once per ask. With several in flight the last results are missing in any case, so half of
        them are asked for together, and evaluators do not wait for a thought each.
        """
        left = self._strategy.evaluations - self.told - self.in_flight
        return min(max(1, self._strategy.concurrency // 2), self._places, left)

    @property
    def _places(self) -> int:
        return places(self._strategy.concurrency, in_flight=self.in_flight, held=len(self.held))

    def wanted_exports(self, candidate: Candidate) -> list[str]:
        """Return the halves whose graphs must be exported, because some board class has not measured or queued them.

        What failed for no fault of the model is asked for again.
        """
        return self._desk.missing(candidate)

    def bar(self, candidate: Candidate) -> Bar | None:
        """Return what ends a candidate's evaluation early; None if it is evaluated on every image in any case."""
        return self._expectation.bar(candidate, away=self._waiting.away)

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
        flight.candidate = replace(flight.candidate, measurements=self._desk.keys_by_class(flight.candidate))
        if self._spared(flight):
            return
        self._waiting.begin(flight, report.models)
        self._archive.update(flight.candidate)
        self._join(flight)

    def _end_early(self, flight: Flight) -> None:
        """Finish a candidate whose evaluation ended early: boards do not measure it, and it is told as far as known."""
        candidate = flight.candidate
        seen = f"{candidate.accuracies['n']:.0f} of {candidate.accuracies['of']:.0f} images"
        self._note("early", f"{candidate.id}: ended after {seen}, since even with luck it gains less than 1 %")
        points = self._expectation.early_points(candidate, away=self._waiting.away)
        self._finish(flight, replace(candidate, status=CandidateStatus.FINISHED, values=points))

    def _spared(self, flight: Flight) -> bool:
        """Finish a candidate that boards need not measure, by what it is believed to cost; return whether it is one."""
        points = self._expectation.points(flight.candidate, away=self._waiting.away)
        if points is None:
            return False
        self._note("predicted", f"{flight.candidate.id}: not measured, since even with luck it gains less than 1 %")
        self._finish(flight, replace(flight.candidate, status=CandidateStatus.FINISHED, values=points))
        return True

    def poll(self) -> bool:
        """Look at the boards; return whether a candidate was finished by them, or a class came or went."""
        before = self.in_flight, self._waiting.away
        for flight in self._waiting.poll(self._flights.values()):
            self._join(flight)
        if lost := self._waiting.away - before[1]:
            self._predict_held(lost)
        return (self.in_flight, self._waiting.away) != before

    def _predict_held(self, lost: Collection[str]) -> None:
        """Finish what waits for classes that have just vanished, where what it costs is foreseen well enough."""
        self._expectation.begin(lambda: self._archive.list(self._job_id))
        for flight in [flight for flight in self._flights.values() if flight.held_by(lost)]:
            self._spared(flight)

    def _join(self, flight: Flight) -> None:
        """Tell what is known of a candidate once boards have answered all that was asked of them."""
        if flight.error is not None and flight.raised:
            self._note("raised", f"{flight.candidate.id}: keeps its first figures, since {flight.error}")
            flight.take_first()
        if flight.error is not None:
            self._fail(flight, flight.error)
            return
        if flight.waiting:
            return
        assert flight.candidate.curve is not None
        whole = priced(flight.candidate, Curve.from_bytes(flight.candidate.curve), flight.boards)
        if self._raises(flight, whole):
            return
        keys = self._desk.keys_by_class(flight.candidate, raised=flight.raised)
        candidate = replace(flight.candidate, measurements=keys)
        points = told_points(whole, self._spec.objectives, self._spec.constraints)
        if warning := self._prospects.had(whole):
            self._note("constraint", warning)
        if not points:
            self._note(
                "infeasible", f"{candidate.id}: no threshold meets the constraints with every objective measured"
            )
        self._finish(flight, replace(candidate, status=CandidateStatus.FINISHED, values=points))

    def _raises(self, flight: Flight, whole: FrontCandidate) -> bool:
        """Have a candidate near the front measured again at the higher tier; return whether it now waits for that."""
        tier = self._spec.measurement.near_front
        if tier is None or flight.raised or flight.first or not whole.boards:
            return False
        if not is_near_front(whole, self._spec, self._expectation.front):
            return False
        self._note("raised", f"{flight.candidate.id}: may be on the front, so it is measured again at tier {tier}")
        flight.raise_tier()
        self._waiting.begin(flight, flight.models)
        return True

    def _fail(self, flight: Flight, error: str) -> None:
        self._note("failed", f"{flight.candidate.id}: {error}")
        self._finish(flight, replace(flight.candidate, status=CandidateStatus.FAILED, error=error))

    def trial_lost(self, candidate_id: str, error: str) -> None:
        """Record a candidate whose trial died and was not saved by retries."""
        flight = self._flights.get(candidate_id)
        if flight is not None and not flight.evaluated:
            self._fail(flight, error)

    def _finish(self, flight: Flight, candidate: Candidate) -> None:
        done = replace(candidate, finished_at=self._clock())
        self._expectation.learn(done)
        self._tell(done)
        self._archive.finish(done, self._thinker.state())
        self._known[done.phenotype] = done
        del self._flights[done.id]

    def _tell(self, candidate: Candidate) -> None:
        self._thinker.tell([(candidate.architecture, list(candidate.values) or None)])
