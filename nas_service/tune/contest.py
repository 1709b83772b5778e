"""Several strategies that search at the same time, over one cache of evaluations.

To the session that drives it a contest is one searcher: it hands out what no strategy has had evaluated yet, and what
comes back is charged to every strategy that asked for it. Each strategy asks for a batch and is told of all of it at
once, in the order in which it asked: whoever else takes part, and whatever is killed, it goes the same way.

Before a strategy's batch is evaluated its state is kept, and every charge is kept before the strategy learns of it. So
a contest made anew over what was kept asks first for what was not told, and finds what is known already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from nas_service.candidate import Candidate, Proposal
from nas_service.choice_space import Point
from nas_service.comparison import Charge, Comparison, Points, Run, charge_data
from nas_service.job_compare import Entrant
from nas_service.search.searcher import Searcher, Told
from nas_service.tune.ports import Archive
from nas_service.tune.session import SearchSession

KeepCharge = Callable[[Run, dict[str, Any]], None]


@dataclass(slots=True, kw_only=True)
class Contestant:
    """One entrant at work.

    Attributes:
        entrant: Which.
        searcher: Its own.
        evaluations: How many it may ask for.
        batch: How many it asks for at once.
        told: How many it was told of.
        open: What it asked for and was not told of, by phenotype, in order.
        unsought: Those of them that were not looked for in the cache yet.
        asking_s: What it took to ask for the open ones.
        exhausted: Whether the space has nothing more for it.
        paid: Measurements that its budget has paid for.
    """

    entrant: Entrant
    searcher: Searcher
    evaluations: int
    batch: int
    told: int = 0
    open: dict[str, Point] = field(default_factory=dict)
    unsought: list[str] = field(default_factory=list)
    asking_s: float = 0.0
    exhausted: bool = False
    paid: set[str] = field(default_factory=set)

    @property
    def through(self) -> bool:
        """Whether it has nothing left to ask for or to be told of."""
        return not self.open and (self.exhausted or self.told >= self.evaluations)

    @property
    def run(self) -> Run:
        """What its charges belong to."""
        return Run(index=self.entrant.index, strategy=self.entrant.strategy, seed=self.entrant.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a contest's last driver left.

    Attributes:
        known: What is over already, by phenotype.
        comparison: What was charged.
        states: What was kept of entrants, by index.
    """

    known: Mapping[str, Candidate] = field(default_factory=dict)
    comparison: Comparison = field(default_factory=Comparison)
    states: Mapping[int, dict[str, Any]] = field(default_factory=dict)


class Contest:
    """A searcher that is several; see `nas_service.search.searcher.Searcher`.

    Args:
        contestants: Who takes part, none told of anything yet.
        phenotype: The key by which two points are one candidate.
        past: What the last driver left.
        charge: Keeps a charge.
        save: Keeps the state of the entrant with this index.
        objectives: What points are told in.
        board_seconds: What boards took for each of a candidate's measurements, by measurement key.
    """

    def __init__(
        self,
        contestants: Sequence[Contestant],
        *,
        phenotype: Callable[[Mapping[str, Any]], str],
        past: Past,
        charge: KeepCharge,
        save: Callable[[int, dict[str, Any]], None],
        objectives: Sequence[str],
        board_seconds: Callable[[Candidate], Mapping[str, float]] = lambda candidate: {},
    ) -> None:
        self._contestants, self._phenotype, self._objectives = list(contestants), phenotype, tuple(objectives)
        self._known, self._flying = dict(past.known), dict[str, str]()
        self._charge, self._save, self._board_seconds = charge, save, board_seconds
        self._charged = {
            index: {c.candidate_id for c in run.charges} for index, run in past.comparison.runs.items() if run.charges
        }
        self._pointed = set(past.comparison.points)
        self._turn = 0
        by_id = {candidate.id: candidate for candidate in self._known.values()}
        for contestant in self._contestants:
            index = contestant.entrant.index
            if (state := past.states.get(index)) is not None:
                contestant.searcher.load_state_dict(state["searcher"])
                contestant.told = int(state["told"])
            for key in self._charged.get(index, set()) & by_id.keys():
                contestant.paid |= self._board_seconds(by_id[key]).keys()

    @property
    def finished(self) -> bool:
        """Whether every entrant has spent its budget or the space."""
        return all(contestant.through for contestant in self._contestants)

    @property
    def told(self) -> int:
        """Evaluations told so far, those that several share counted for each."""
        return sum(contestant.told for contestant in self._contestants)

    def asker(self, phenotype: str) -> str:
        """Return the strategy that asked first for what is being evaluated."""
        return self._flying.get(phenotype, self._contestants[0].entrant.strategy)

    def ask(self, count: int) -> list[Point]:
        """Return up to `count` points that nobody had evaluated, from the entrants in turn; none while all wait."""
        fresh: list[Point] = []
        waited = 0
        while len(fresh) < count and waited < len(self._contestants):
            contestant = self._contestants[self._turn]
            self._turn = (self._turn + 1) % len(self._contestants)
            point = self._unknown(contestant)
            waited = 0 if point is not None else waited + 1
            if point is not None:
                fresh.append(point)
        return fresh

    def _unknown(self, contestant: Contestant) -> Point | None:
        """Return a point of one entrant that must be evaluated; None if it waits for others, or is through."""
        while not contestant.through:
            if not contestant.open and not self._ask(contestant):
                return None
            while contestant.unsought:
                key = contestant.unsought.pop(0)
                if key not in self._known and key not in self._flying:
                    self._flying[key] = contestant.entrant.strategy
                    return contestant.open[key]
            if not self._settle(contestant):
                return None
        return None

    def _ask(self, contestant: Contestant) -> bool:
        started = time.perf_counter()
        points = contestant.searcher.ask(min(contestant.batch, contestant.evaluations - contestant.told))
        contestant.asking_s = time.perf_counter() - started
        contestant.open = {self._phenotype(point): point for point in points}
        contestant.unsought = list(contestant.open)
        contestant.exhausted = not points
        if points:
            self._keep(contestant)
        return bool(points)

    def _settle(self, contestant: Contestant) -> bool:
        """Charge and tell an entrant's batch if all of it is known; return whether it was."""
        if not contestant.open or any(key not in self._known for key in contestant.open):
            return False
        results: list[tuple[Point, Told]] = []
        for key, point in contestant.open.items():
            candidate = self._known[key]
            self._count(contestant, candidate)
            results.append((point, list(candidate.values) or None))
        contestant.searcher.tell(results)
        contestant.told += len(results)
        contestant.open = {}
        self._keep(contestant)
        return True

    def _count(self, contestant: Contestant, candidate: Candidate) -> None:
        charged = self._charged.setdefault(contestant.entrant.index, set())
        if candidate.id in charged:  # kept just before a kill, and not yet told
            return
        boards = self._board_seconds(candidate)
        charge = Charge(
            candidate_id=candidate.id,
            seconds=candidate.seconds.get("total", 0.0),
            asking_s=contestant.asking_s / len(contestant.open),
            board_s=sum(seconds for key, seconds in boards.items() if key not in contestant.paid),
            known=candidate.id in self._pointed,
        )
        points: Points | None = None
        if candidate.id not in self._pointed:
            points = tuple(tuple(float(point[name]) for name in self._objectives) for point in candidate.values)
        self._charge(contestant.run, charge_data(contestant.run, charge, points))
        charged.add(candidate.id)
        self._pointed.add(candidate.id)
        contestant.paid |= boards.keys()

    def _keep(self, contestant: Contestant) -> None:
        state = {"searcher": contestant.searcher.state_dict(), "told": contestant.told}
        self._save(contestant.entrant.index, state)

    def over(self, key: str, candidate: Candidate) -> None:
        """Take in a candidate that is finished or failed, once it is kept."""
        self._known[key] = candidate
        self._flying.pop(key, None)
        for contestant in self._contestants:
            if key in contestant.open and not contestant.unsought:
                self._settle(contestant)

    def tell(self, results: Iterable[tuple[Mapping[str, Any], Told]]) -> None:
        """Nothing: entrants are told when the archive has the candidate; see `over`."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: each entrant's state is kept by itself."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing: entrants' states were given to the constructor."""


class ContestArchive:
    """The store's candidates as a contest's session uses them.

    Args:
        archive: The store's own.
        contest: Hears of what is over, after it is kept.
        place: Under which strategy index the archive has this contest's candidates; its session always says 0.
        mark: Put before phenotypes: candidates of other weights are others.
    """

    def __init__(self, archive: Archive, contest: Contest, *, place: int = 0, mark: str = "") -> None:
        self._archive, self._contest, self._place, self._mark = archive, contest, place, mark

    def asked(self, job_id: str, strategy_index: int, strategy: str, proposals: Sequence[Proposal]) -> list[Candidate]:
        """Keep proposals under the name of the strategy that asked first."""
        kept: list[Candidate] = []
        for proposal in proposals:
            marked = proposal._replace(phenotype=self._mark + proposal.phenotype)
            asker = self._contest.asker(proposal.phenotype)
            kept += self._archive.asked(job_id, self._place, asker, [marked])
        return kept

    def update(self, candidate: Candidate) -> None:
        """Keep what is newly known."""
        self._archive.update(candidate)

    def finish(self, candidate: Candidate, searcher_state: dict[str, Any] | None) -> None:
        """Keep what is over, then let the contest charge it."""
        self._archive.finish(candidate, searcher_state)
        self._contest.over(candidate.phenotype.removeprefix(self._mark), candidate)

    def list(self, job_id: str, *, with_curves: bool = False) -> list[Candidate]:
        """Return this contest's candidates, as its session's own."""
        every = self._archive.list(job_id, with_curves=with_curves)
        return [replace(c, strategy_index=0) for c in every if c.strategy_index == self._place]

    def save_search_state(self, job_id: str, strategy_index: int, state: dict[str, Any]) -> None:
        """Nothing: a contest has no state beside its entrants'."""

    def search_state(self, job_id: str, strategy_index: int) -> dict[str, Any] | None:
        """Return that the session knows what there is to know, so that it warms nobody up."""
        return {}


def known_candidates(candidates: Iterable[Candidate], *, index: int, mark: str = "") -> dict[str, Candidate]:
    """Return what is over of one session's candidates, by unmarked phenotype."""
    return {c.phenotype.removeprefix(mark): c for c in candidates if c.strategy_index == index and c.over}


class ContestSession(SearchSession):
    """A session whose searcher is a contest: that nothing is to be asked for just now is not the end."""

    _may_predict: ClassVar[bool] = False  # what one entrant would be spared hangs on what others had measured

    @property
    def contest(self) -> Contest:
        """Who takes part."""
        assert isinstance(self._searcher, Contest)
        return self._searcher

    def next(self, *, wait: bool = True) -> Candidate | None:
        """Return the next candidate to evaluate, None while every entrant waits; entrants think before it returns.

        Whose turn it is hangs on what came before, so nobody thinks ahead.
        """
        return super().next()

    def _nothing_follows(self) -> bool:
        """Return whether every entrant is through; else those that wait will ask again."""
        return self.contest.finished

    def _batch(self) -> int:
        """Return 1: whose turn it is hangs on what the last candidate was charged."""
        return 1

    @property
    def _complete(self) -> bool:
        """Whether every entrant is through and nothing is in flight."""
        return not self._flights and self.contest.finished
