"""Everything chosen for one system: thresholds and temperature on calibration, the router on validation.

A function of the outputs on those two splits alone, so that no choice can have seen a test image.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError
from workers.bench.exit_choices import ONE_SIDED, ExitChoices, freeze_exits, freeze_router
from workers.bench.scoring import RANDOM, LearnedWeights, learn, scores_of
from workers.bench.system import ExitCosts, SystemOutputs
from workers.bench.variants import easy_half, freeze_by_class, freeze_on_easy
from workers.protocol.area import normalised_area
from workers.protocol.choices import FrozenChoices, freeze
from workers.protocol.outcomes import CachedOutputs, PathCosts
from workers.protocol.record import Record
from workers.protocol.saving import BUDGET_TOLERANCE
from workers.routers import LEARNED, SCORES
from workers.routing.features import TOP
from workers.routing.temperature import fit_temperature

CALIBRATION_SEED, TEST_SEED = 0, 1  # of the random router's scores
VERSION = 2
READABLE = (1, VERSION)
SINCE_2 = ("by_class", "on_easy")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemChoices(Record):
    """A system's choices.

    Attributes:
        system: The cell's name.
        macs: Cumulative MACs of every exit.
        reference_macs: That savings are counted against.
        temperature: Of exit 0's softmax.
        routers: Of a pair: its choices under each router.
        learned: The learned router's weights; None if there was too little to learn.
        exits: Of a net with more than two exits: its choices under each router.
        validation_areas: nAUC of each router on validation; None where all routers are equal.
        router: The one of the largest nAUC there; None of static nets.
        by_class: Of a pair, under that router: its choices with a threshold for each class that the little predicts.
        on_easy: Under that router: the choices with thresholds from the easy half of calibration; None of a static net.
        version: Of this format.
    """

    system: str
    macs: tuple[float, ...]
    reference_macs: float
    temperature: float
    routers: tuple[FrozenChoices, ...] = ()
    learned: LearnedWeights | None = None
    exits: tuple[ExitChoices, ...] = ()
    validation_areas: Mapping[str, float | None]
    router: str | None
    by_class: FrozenChoices | None = None
    on_easy: FrozenChoices | ExitChoices | None = None
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-able values; format 1 lacks what it did not know, so that its digest holds."""
        values = Record.to_dict(self)
        return values if self.version > 1 else {name: v for name, v in values.items() if name not in SINCE_2}

    @property
    def sha256(self) -> str:
        """Digest of every choice."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True, allow_nan=False).encode()).hexdigest()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SystemChoices:
        """Return the choices that `to_dict` wrote; InvalidRequestError for another format."""
        if values.get("version") not in READABLE:
            raise InvalidRequestError(
                f"choices of format {values.get('version')!r} but this code reads {' and '.join(map(str, READABLE))}; "
                "use the code they are of"
            )
        learned, by_class, on_easy = values["learned"], values.get("by_class"), values.get("on_easy")
        kind = FrozenChoices if values["routers"] else ExitChoices
        return cls(
            **{
                name: values[name]
                for name in ("system", "reference_macs", "temperature", "validation_areas", "router", "version")
            },
            macs=tuple(values["macs"]),
            routers=tuple(FrozenChoices.from_dict(v) for v in values["routers"]),
            learned=None if learned is None else LearnedWeights.from_dict(learned),
            exits=tuple(ExitChoices.from_dict(v) for v in values["exits"]),
            by_class=None if by_class is None else FrozenChoices.from_dict(by_class),
            on_easy=None if on_easy is None else kind.from_dict(on_easy),
        )

    def test_scores(self, router: str, test: CachedOutputs) -> NDArray[np.floating]:
        """Return (N,) the scores of one of the frozen routers on test outputs."""
        return scores_of(router, test, temperature=self.temperature, learned=self.learned, seed=TEST_SEED)

    def frozen(self, router: str) -> FrozenChoices:
        """Return a pair's choices under a router."""
        return next(choices for choices in self.routers if choices.router == router)

    @property
    def chosen(self) -> FrozenChoices | ExitChoices | None:
        """The choices under the chosen router; None of a static net."""
        known: tuple[FrozenChoices | ExitChoices, ...] = (*self.routers, *self.exits)
        return next((choices for choices in known if choices.router == self.router), None)


def freeze_system(
    system: str, held_out: Mapping[str, SystemOutputs], *, costs: ExitCosts, budgets: Sequence[float]
) -> SystemChoices:
    """Return every choice of a system.

    Args:
        system: The cell's name.
        held_out: Outputs on `validation` and `calibration`.
        costs: Of its exits.
        budgets: Average MACs to choose thresholds for.

    Raises:
        InvalidRequestError: costs of another number of exits.
    """
    calibration, exits = held_out["calibration"], len(held_out["calibration"].logits)
    if exits != len(costs.macs):
        raise InvalidRequestError(f"{system} has {exits} exits but MACs of {len(costs.macs)}; mend its costs()")
    shared: dict[str, Any] = {
        "system": system,
        "macs": costs.macs,
        "reference_macs": costs.reference_macs,
        "temperature": fit_temperature(calibration.logits[0], calibration.labels).value,
    }
    if exits == 1 or costs.alternatives:
        return SystemChoices(**shared, validation_areas={}, router=None)
    if exits > 2:
        return _freeze_exits(shared, held_out, costs=costs, budgets=budgets)
    return _freeze_pair(shared, held_out, costs=costs, budgets=budgets)


def pair_outputs(outputs: SystemOutputs) -> CachedOutputs:
    """Return the outputs of a system of two exits as a pair's."""
    little, escalated = outputs.logits
    return CachedOutputs(little_logits=little, escalated_logits=escalated, labels=outputs.labels)


def path_costs(costs: ExitCosts, *, router: str) -> PathCosts:
    """Return what a pair's paths cost in MACs; formulas multiply nothing, a learned router once for every feature."""
    little, whole = costs.macs
    return PathCosts(
        little=little,
        tail=whole - little,
        big=costs.reference_macs,
        router=2.0 * TOP if router == LEARNED else 0.0,
    )


def cautious(budget: float, *, costs: PathCosts, n: int) -> float:
    """Return what to spend on n calibration images so that test is within 1 % of `budget`, 19 times of 20.

    A point that costs more on test does not count. The realised rate of both splits is binomial; the test split is
    taken to be no larger than the calibration split.
    """
    rate = min(max((budget - costs.least) / costs.tail, 0.0), 1.0)
    spread = costs.tail * math.sqrt(2 * rate * (1 - rate) / n)
    return min(budget, budget * (1 + BUDGET_TOLERANCE) - ONE_SIDED * spread)


def _freeze_exits(
    shared: dict[str, Any], held_out: Mapping[str, SystemOutputs], *, costs: ExitCosts, budgets: Sequence[float]
) -> SystemChoices:
    multi = freeze_exits(held_out, costs=costs, budgets=budgets)
    areas: dict[str, float | None] = {choices.router: choices.validation_area for choices in multi}
    calibration, best = held_out["calibration"], _best(areas)
    easy = calibration.part(easy_half(calibration.logits[-1], calibration.labels))
    on_easy = freeze_router(best, {**held_out, "calibration": easy}, costs=costs, budgets=())
    return SystemChoices(**shared, exits=multi, validation_areas=areas, router=best, on_easy=on_easy)


def _freeze_pair(
    shared: dict[str, Any], held_out: Mapping[str, SystemOutputs], *, costs: ExitCosts, budgets: Sequence[float]
) -> SystemChoices:
    calibration, validation = pair_outputs(held_out["calibration"]), pair_outputs(held_out["validation"])
    found = learn(calibration)
    learned = None if found is None else found[0]
    frozen, areas, scored = [], {}, {}
    for router in (*SCORES, *([LEARNED] if found else []), RANDOM):
        fixed = {"temperature": shared["temperature"], "learned": learned, "seed": CALIBRATION_SEED}
        scores = found[1] if found and router == LEARNED else scores_of(router, calibration, **fixed)
        scored[router] = scores
        paths, n = path_costs(costs, router=router), len(scores)
        choices = freeze(
            shared["system"],
            calibration=calibration.outcomes(scores),
            costs=paths,
            router=router,
            budgets=[cautious(budget, costs=paths, n=n) for budget in budgets],
            temperature=shared["temperature"],
        )
        named = (replace(choice, budget=budget) for choice, budget in zip(choices.budgets, budgets, strict=True))
        frozen.append(replace(choices, budgets=tuple(named)))
        if router != RANDOM:
            areas[router] = normalised_area(validation.outcomes(scores_of(router, validation, **fixed)))
    best = _best(areas)
    single = next(choices for choices in frozen if choices.router == best)
    return SystemChoices(
        **shared,
        routers=tuple(frozen),
        learned=learned,
        validation_areas=areas,
        router=best,
        by_class=freeze_by_class(single, calibration, scored[best]),
        on_easy=freeze_on_easy(single, calibration, scored[best]),
    )


def _best(areas: Mapping[str, float | None]) -> str:
    """Return the router of the largest area, the first of equals."""
    known = {name: -1.0 if area is None else area for name, area in areas.items()}
    return max(known, key=lambda name: known[name])
