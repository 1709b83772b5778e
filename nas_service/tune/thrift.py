"""Which candidates of a search boards need not measure: those that cannot reach the front even with luck."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from edge_agent.records import Half
from nas_service.candidate import PREDICTED, Candidate
from nas_service.chosen_pairs import table_pairs
from nas_service.cost_predictor import Quality
from nas_service.curve import Curve
from nas_service.foresight import Foreseen, Foresight
from nas_service.front_query import HALVES, HalfCost
from nas_service.half import HalfStructure, halves_of
from nas_service.job import JobSpec
from nas_service.measurement import RequestStatus, measurement_key
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from nas_service.promise import can_touch
from nas_service.tune.ports import Measurer
from nas_service.valuation import Point, half_cost, priced, told_points

Costs = Mapping[str, Mapping[Half, HalfCost]]
"""Cost by half by board class."""


class Thrift:
    """Learns what halves cost on each class, and says what a candidate that is not worth measuring is believed to cost.

    Args:
        spec: The job.
        space: Decodes architectures.
    """

    def __init__(self, spec: JobSpec, *, space: PairSpace) -> None:
        self._spec, self._space = spec, space
        self._foresight = {c: Foresight(quantities=_needed(spec, c)) for c in spec.board_classes()}

    def qualities(self) -> dict[str, dict[str, Quality]]:
        """Return how well each quantity is predicted, by board class."""
        return {board_class: foresight.qualities for board_class, foresight in self._foresight.items()}

    def learn_table(self, measurer: Measurer) -> None:
        """Take in what boards have measured of the pairs that `nas board table` chooses."""
        spec = self._spec
        found: dict[str, tuple[str, str, HalfStructure]] = {}
        for plan in table_pairs(self._space):
            structures, halves = plan.structures(spec.router), halves_of(plan)
            for board_class, half in itertools.product(self._foresight, HALVES):
                key = measurement_key(
                    structures[half],
                    tier=spec.measurement.tier,
                    board_class=board_class,
                    settings=measurer.settings(board_class),
                    half=half,
                )
                found[key] = board_class, structures[half], halves[half]
        states = measurer.poll(list(found))
        for key, (board_class, structure_key, structure) in found.items():
            state = states.get(key)
            if state is not None and state.state is RequestStatus.DONE and state.result is not None:
                self._foresight[board_class].learn(structure_key, structure, half_cost(state.result))

    def learn(self, candidate: Candidate, costs: Costs) -> None:
        """Take in what halves of a candidate were measured to cost."""
        structures = halves_of(self._space.plan(candidate.architecture))
        for board_class, measured in costs.items():
            for half in HALVES:
                if half in measured:
                    key = candidate.structures[half]
                    self._foresight[board_class].learn(key, structures[half], measured[half])

    def least(self, candidate: Candidate) -> Costs:
        """Return what a candidate's halves cost, or at the least may cost, as far as that is known well enough."""
        return self.least_of(self._space.plan(candidate.architecture))

    def least_of(self, plan: PairPlan) -> Costs:
        """Return the same of a pair that need not be a candidate."""
        keys, structures = plan.structures(self._spec.router), halves_of(plan)
        costs: dict[str, dict[Half, HalfCost]] = {}
        for board_class, foresight in self._foresight.items():
            for half in HALVES:
                belief = foresight.foresee(keys[half], structures[half])
                if belief is not None:
                    costs.setdefault(board_class, {})[half] = belief.least
        return costs

    def believed(self, candidate: Candidate, front: Sequence[Sequence[float]]) -> tuple[Point, ...] | None:
        """Return the points that an evaluated candidate is believed to have, or None if boards are to measure it.

        Boards are to measure it if they must, since no prediction is good enough; if that costs nothing, since both
        halves are known; or if it may reach the front. What cannot is told as predicted, and marked as such.
        """
        structures = halves_of(self._space.plan(candidate.architecture))
        beliefs: dict[str, dict[Half, Foreseen]] = {}
        for board_class, foresight in self._foresight.items():
            found = {half: foresight.foresee(candidate.structures[half], structures[half]) for half in HALVES}
            if any(belief is None for belief in found.values()):
                return None
            beliefs[board_class] = {half: belief for half, belief in found.items() if belief is not None}
        if all(belief.measured for found in beliefs.values() for belief in found.values()):
            return None
        least = {c: {h: b.least for h, b in found.items()} for c, found in beliefs.items()}
        lucky = self._points(candidate, least)
        if lucky and can_touch(self._rows(lucky), front):
            return None
        expected = {c: {h: b.cost for h, b in found.items()} for c, found in beliefs.items()}
        guessed = [c for c, found in beliefs.items() if not all(b.measured for b in found.values())]
        return tuple({**point, PREDICTED: " ".join(guessed)} for point in self._points(candidate, expected))

    def _rows(self, points: Iterable[Point]) -> list[list[float]]:
        return [[float(point[name]) for name in self._spec.objectives] for point in points]

    def _points(self, candidate: Candidate, costs: Costs) -> tuple[Point, ...]:
        assert candidate.curve is not None
        whole = priced(candidate, Curve.from_bytes(candidate.curve), costs)
        return told_points(whole, self._spec.objectives, self._spec.constraints)


def _needed(spec: JobSpec, board_class: str) -> set[str]:
    """Return the quantities of halves that the job's objectives and constraints on a class are made of."""
    named = (*spec.parsed_objectives(), *spec.parsed_constraints())
    return {one.name.removeprefix("worst_") for one in named if one.board_class == board_class}
