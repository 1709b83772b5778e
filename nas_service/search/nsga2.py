"""NSGA-II for curves, one candidate at a time.

Deb, Pratap, Agarwal, Meyarivan: "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEC 6(2),
2002. Intended departures:

* steady state: there is no generation to wait for; the parents are the best candidates told so far, so results
  may come in any order and failures leave no hole;
* a candidate is a curve: it stands in the layer of its best point, and ties within a layer go to the larger
  exclusive hypervolume (Beume et al. 2007) instead of the crowding distance, which is not defined for curves;
* discrete genes: uniform crossover, and a mutation that moves numeric genes to adjacent values half of the time;
* no phenotype is evaluated twice.
"""

from __future__ import annotations

import numpy as np

from nas_service.choice_space import Point
from nas_service.ranking import best_candidates
from nas_service.search.asktell import SearchSetting, StatelessProposer
from nas_service.search.ledger import Ledger

CROSSOVER_RATE = 0.9


class Nsga2Proposer(StatelessProposer):
    """Binary tournaments over the best told candidates, uniform crossover, mutation."""

    def __init__(self, setting: SearchSetting) -> None:
        self._space = setting.space
        self.population = max(8, min(40, round(setting.budget / 6)))
        self._parents: list[Point] = []
        self._known = 0

    def propose(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """A random point for the first `population` candidates, then a child of two good ones."""
        if ledger.asked < self.population or not ledger.told_count:
            return self._space.sample(rng)
        parents = self._ranked(ledger)
        child = _tournament(parents, rng)
        if rng.random() < CROSSOVER_RATE:
            child = self._space.crossover(child, _tournament(parents, rng), rng)
        return self._space.mutate(child, rng)

    def _ranked(self, ledger: Ledger) -> list[Point]:
        """The population, best first; kept until the next result."""
        if self._known != ledger.told_count:
            told = ledger.told
            best = best_candidates(ledger.points, ledger.owners, limit=self.population)
            self._parents = [told[candidate].x for _, _, candidate in best]
            self._known = ledger.told_count
        return self._parents


def _tournament(ranked: list[Point], rng: np.random.Generator) -> Point:
    """The better of two drawn from a list that is sorted best first."""
    return ranked[int(rng.integers(len(ranked), size=2).min())]
