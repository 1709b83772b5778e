"""Uniform random search: the smallest complete proposer, and what the others must beat."""

from __future__ import annotations

import numpy as np

from nas_service.choice_space import Point
from nas_service.search.asktell import SearchSetting, StatelessProposer
from nas_service.search.ledger import Ledger


class RandomProposer(StatelessProposer):
    """Draws uniformly from the raw points."""

    draws = 256

    def __init__(self, setting: SearchSetting) -> None:
        self._space = setting.space

    def propose(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """A uniform draw, whatever the ledger says."""
        return self._space.sample(rng)
