"""Finding a point that nobody asked for yet, and knowing when there is none.

Every proposer may repeat itself; in a small or a heavily folded space it must. The way from cheap to complete:
mutate what was proposed, draw uniformly, look at all one-gene neighbours of what is known, then list the space.
Spaces of more than `LISTED` raw points are not listed: there, `EXTRA_DRAWS` uniform draws without a new
phenotype, and no new neighbour, count as the end.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nas_service.choice_space import ChoiceSpace, Point
from nas_service.search.ledger import Ledger

MUTATIONS = 64
DRAWS = 256
EXTRA_DRAWS = 5_000
NEIGHBOURS = 20_000
CATALOGUED = 20_000
LISTED = 300_000


class Freshness:
    """Tells new feasible points of a space from old ones, and finds one if there is one.

    What it remembers only saves work: every answer follows from the ledger and the generator alone.
    """

    def __init__(self, space: ChoiceSpace) -> None:
        self._space = space
        self._feasible: dict[str, bool] = {}
        self._catalogue: dict[str, Point] | None = None
        self._listing: Iterator[Point] = space.enumerate()
        self._ahead: tuple[str, Point] | None = None
        self._exhausted_at: int | None = None

    def new(self, x: Point, ledger: Ledger) -> tuple[str, Point] | None:
        """The phenotype and folded point of x if it is feasible and not in the ledger, else None."""
        key, point = self._space.resolve(x)
        if key in ledger:
            return None
        return (key, point) if self.allowed(key, point) else None

    def allowed(self, key: str, point: Point) -> bool:
        """Whether the folded point meets the constraints; asked once per phenotype."""
        if key not in self._feasible:
            self._feasible[key] = self._space.is_feasible(point)
        return self._feasible[key]

    def find(self, ledger: Ledger, rng: np.random.Generator, *, near: Point | None) -> Point | None:
        """A new feasible point, close to `near` if that is easy; None when the space is used up."""
        return self._drawn(ledger, rng, near) or self._remaining(ledger, rng)

    def record_end(self, ledger: Ledger) -> None:
        """Remember that nothing new was found beyond what the ledger holds now."""
        self._exhausted_at = len(ledger)

    def is_exhausted(self, ledger: Ledger) -> bool:
        """Whether the end was recorded and nothing was heard of since."""
        return self._exhausted_at == len(ledger)

    def _drawn(self, ledger: Ledger, rng: np.random.Generator, near: Point | None) -> Point | None:
        here = near
        for attempt in range((MUTATIONS if near else 0) + DRAWS):
            if here is not None and attempt < MUTATIONS:
                here = self._space.mutate(here if attempt % 8 else near or here, rng)
                found = self.new(here, ledger)
            else:
                found = self.new(self._space.sample(rng), ledger)
            if found:
                return found[1]
        return None

    def _remaining(self, ledger: Ledger, rng: np.random.Generator) -> Point | None:
        if self._space.size <= CATALOGUED:
            left = [point for key, point in self._all().items() if key not in ledger]
            return left[int(rng.integers(len(left)))] if left else None
        for _ in range(EXTRA_DRAWS):
            if found := self.new(self._space.sample(rng), ledger):
                return found[1]
        return self._beside(ledger) or (self._listed(ledger) if self._space.size <= LISTED else None)

    def _all(self) -> dict[str, Point]:
        """Every feasible phenotype with its point."""
        if self._catalogue is None:
            resolved = dict(self._space.resolve(x) for x in self._space.enumerate())
            self._catalogue = {key: x for key, x in resolved.items() if self.allowed(key, x)}
        return self._catalogue

    def _beside(self, ledger: Ledger) -> Point | None:
        looked = 0
        for entry in ledger.entries:
            for x in self._space.neighbours(entry.x):
                if found := self.new(x, ledger):
                    return found[1]
                looked += 1
                if looked >= NEIGHBOURS:
                    return None
        return None

    def _listed(self, ledger: Ledger) -> Point | None:
        """The first new point in listing order; what lies before the cursor is known or forbidden for good."""
        if self._ahead and self._ahead[0] not in ledger:
            return self._ahead[1]
        for x in self._listing:
            if found := self.new(x, ledger):
                self._ahead = found
                return found[1]
        return None
