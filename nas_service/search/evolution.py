"""Nevergrad's differential evolution, driven by ask and tell.

Storn and Price 1997, as nevergrad implements it, with its multi-objective adaptation: parents come from the
Pareto front of what it was told. Of nevergrad's optimisers this is the one that bears results out of order and
candidates in flight (`EvolutionStrategy(ranker="nsga2")` ranks members that have no losses yet, and fails).

A curve is told as its most useful point (see `fitness.representative`). A failed candidate is told as worse than
everything known. Warm-start results enter while the population still has room; in a full one nevergrad picks
whom they replace in an order that changes from process to process, and sometimes one that is no longer there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nas_service.choice_space import ChoiceSpace, Point
from nas_service.search.asktell import SearchSetting
from nas_service.search.fitness import representative
from nas_service.search.ledger import Entry, Ledger

FAILED_WITHOUT_SCALE = 1e9


class EvolutionProposer:
    """Wraps one nevergrad optimiser; replaying the ledger's events brings it to the same state again."""

    draws = 6

    def __init__(self, setting: SearchSetting) -> None:
        self._space = setting.space
        self._population = max(8, min(30, round(setting.budget / 16)))
        self._optimiser: Any = None
        self._setting = setting
        self._last: Any = None
        self._asked: dict[str, Any] = {}

    def propose(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """Nevergrad's next candidate; its own generator decides, seeded once."""
        if self._optimiser is None:
            self._optimiser = _optimiser(self._space, population=self._population, seed=self._setting.seed)
        self._last = self._optimiser.ask()
        return _decoded(self._space, self._last.value)

    def redraw(self, ledger: Ledger, draws: int) -> None:
        """Take as many proposals as were taken when this ask was first answered."""
        rng = np.random.default_rng(0)
        for _ in range(draws):
            self.propose(ledger, rng)

    def asked(self, entry: Entry, ledger: Ledger) -> None:
        """Remember which nevergrad candidate this is; a point found without nevergrad has none."""
        if self._last is not None and self._space.phenotype(_decoded(self._space, self._last.value)) == entry.key:
            self._asked[entry.key] = self._last
        self._last = None

    def told(self, entry: Entry, ledger: Ledger) -> None:
        """Pass the result on."""
        loss = self._loss(entry, ledger)
        candidate = self._asked.pop(entry.key, None)
        if candidate is None:
            if entry.outcome is None or entry.outcome.failed:
                return
            if self._optimiser is None:
                self._optimiser = _optimiser(self._space, population=self._population, seed=self._setting.seed)
            if len(self._optimiser.population) >= self._optimiser.llambda:
                return
            candidate = self._optimiser.parametrization.spawn_child(new_value=_encoded(self._space, entry.x))
        self._optimiser.tell(candidate, loss[0] if len(loss) == 1 else loss)

    def _loss(self, entry: Entry, ledger: Ledger) -> list[float]:
        outcome = entry.outcome
        if outcome is None or outcome.failed:
            if not len(ledger.points):
                return [FAILED_WITHOUT_SCALE] * len(ledger.objectives)
            worst, best = ledger.points.max(axis=0), ledger.points.min(axis=0)
            return [float(w) for w in worst + np.maximum(worst - best, np.abs(worst)) + 1e-9]
        others = ledger.points[ledger.owners != ledger.told_count - 1]
        return [float(v) for v in representative(np.array(outcome.points), others)]


def _optimiser(space: ChoiceSpace, *, population: int, seed: int) -> Any:
    """A seeded differential evolution over the space's indexes: one coordinate per ordinal gene, else weights."""
    import nevergrad as ng

    genes: dict[str, Any] = {}
    for name, values in space.choices.items():
        if len(values) == 1:
            continue
        if space.is_ordinal(name) and len(values) > 2:
            genes[name] = ng.p.TransitionChoice(list(range(len(values))))
        else:
            genes[name] = ng.p.Choice(list(range(len(values))))
    # nevergrad refuses a parametrization without a variable; one that means nothing serves a space of one point
    parametrization = ng.p.Dict(**(genes or {"": ng.p.Choice([0, 1])}))
    parametrization.random_state = np.random.RandomState(seed % 2**32)
    return ng.optimizers.DifferentialEvolution(popsize=population)(parametrization)


def _decoded(space: ChoiceSpace, value: dict[str, int]) -> Point:
    return space.decode([int(value.get(name, 0)) for name in space.names])


def _encoded(space: ChoiceSpace, x: Point) -> dict[str, int]:
    indexes = dict(zip(space.names, space.encode(x), strict=True))
    movable = {name: i for name, i in indexes.items() if len(space.choices[name]) > 1}
    return movable or {"": 0}
