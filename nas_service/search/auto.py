"""The default: LINAS where its surrogate can be trusted, NSGA-II for the rest.

The surrogate's leave-one-out Kendall tau, for its worst objective, decides how often NSGA-II answers instead: every
other time when it orders results no better than chance does, else one time in ten, to find what it is wrong about.
"""

from __future__ import annotations

import numpy as np

from nas_service.choice_space import Point
from nas_service.search.asktell import SearchSetting, StatelessProposer
from nas_service.search.ledger import Ledger
from nas_service.search.linas import LinasProposer
from nas_service.search.nsga2 import Nsga2Proposer

TRUSTED_TAU = 0.1
SHARES = (0.1, 0.5)  # of NSGA-II, with a surrogate that is trusted and with one that is not


class AutoProposer(StatelessProposer):
    """Chooses by the surrogate's record who proposes next."""

    draws = 8

    def __init__(self, setting: SearchSetting) -> None:
        self._linas = LinasProposer(setting)
        self._nsga2 = Nsga2Proposer(setting)

    def propose(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """A proposal of LINAS or of NSGA-II; LINAS alone while there is no surrogate yet."""
        taus = self._linas.taus(ledger)
        share = 0.0 if not taus else SHARES[min(taus) < TRUSTED_TAU]
        method = self._nsga2 if rng.random() < share and ledger.asked >= self._nsga2.population else self._linas
        return method.propose(ledger, rng)
