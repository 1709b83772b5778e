"""What a session expects of candidates before boards have measured them, and so what need not be measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from nas_service.bar import Bar
from nas_service.candidate import Candidate
from nas_service.curve import Curve
from nas_service.job import JobSpec
from nas_service.objective import Objective
from nas_service.pair_space import PairSpace
from nas_service.tune.desk import Desk
from nas_service.tune.patience import Patience
from nas_service.tune.prospects import Shortfall, broken_bound, foreseen_shortfall
from nas_service.tune.thrift import Costs, Thrift
from nas_service.valuation import Point, priced, told_points


class Expectation:
    """Joins what boards have answered, what is predicted from it, and the front so far.

    Costs are predicted if the job says which candidates to measure, and while a board class is away. In what follows,
    `away` are the classes of which no board is there.

    Args:
        spec: The job.
        space: Decodes architectures.
        desk: Knows what boards have answered.
        may_predict: Whether costs may be predicted at all.
    """

    def __init__(self, spec: JobSpec, *, space: PairSpace, desk: Desk, may_predict: bool = True) -> None:
        self._spec, self._space, self._desk, self._may_predict = spec, space, desk, may_predict
        self._patience = Patience(spec)
        self._thrift: Thrift | None = None
        if may_predict and spec.measurement.only is not None and desk.has_boards:
            self._thrift = self._taught()

    @property
    def front(self) -> list[list[float]]:
        """The points had that no other dominates, in the order of the objectives."""
        return self._patience.front

    def learn(self, candidate: Candidate) -> None:
        """Take in what boards have answered about a candidate's halves, whoever asked, and what was told of it."""
        self._patience.had(candidate)
        if self._thrift is not None:
            self._thrift.learn(candidate, self._desk.costs(candidate))

    def begin(self, known: Callable[[], Sequence[Candidate]]) -> None:
        """Predict from now on, because a class is away; `known` gives the job's candidates if they must be learned."""
        if self._thrift is None and self._may_predict:
            self._thrift = self._taught(known())

    def smallest_miss(self) -> Shortfall | None:
        """Return which bound even the smallest pairs are believed to miss; None if one may meet all, or none is."""
        bounds = self._bounds()
        return foreseen_shortfall(self._thrift or self._taught(), self._space, bounds) if bounds else None

    def miss(self, candidate: Candidate) -> Shortfall | None:
        """Return which bound on boards the halves of a candidate are known to miss; None if it may meet all."""
        bounds = self._bounds()
        return broken_bound(candidate.id, bounds, self._desk.costs(candidate)) if bounds else None

    def bar(self, candidate: Candidate, *, away: Collection[str]) -> Bar | None:
        """Return what ends a candidate's evaluation early; None if it is evaluated on every image in any case."""
        return self._patience.bar(candidate, self._least(candidate, away))

    def early_points(self, candidate: Candidate, *, away: Collection[str]) -> tuple[Point, ...]:
        """Return the points of a candidate whose evaluation ended early, at the least that it may cost."""
        assert candidate.curve is not None
        whole = priced(candidate, Curve.from_bytes(candidate.curve), self._least(candidate, away))
        return told_points(whole, self._spec.objectives, self._spec.constraints)

    def points(self, candidate: Candidate, *, away: Collection[str]) -> tuple[Point, ...] | None:
        """Return the points that an evaluated candidate is believed to have; None if boards are to measure it."""
        if self._thrift is None or not self._predicts(away):
            return None
        self.learn(candidate)
        return self._thrift.believed(candidate, self.front)

    def _least(self, candidate: Candidate, away: Collection[str]) -> Costs:
        if self._thrift is not None and self._predicts(away):
            return self._thrift.least(candidate)
        return self._desk.costs(candidate)

    def _predicts(self, away: Collection[str]) -> bool:
        return self._may_predict and (self._spec.measurement.only is not None or bool(away))

    def _bounds(self) -> Mapping[Objective, float]:
        return {one: bound for one, bound in self._spec.parsed_constraints().items() if one.measured}

    def _taught(self, known: Sequence[Candidate] = ()) -> Thrift:
        thrift = Thrift(self._spec, space=self._space)
        self._desk.teach(thrift, known)
        return thrift
