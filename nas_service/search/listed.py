"""A searcher whose points are known beforehand: what a search during training found, to be evaluated as candidates."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nas_service.choice_space import ChoiceSpace, Point
from nas_service.errors import InvalidRequestError
from nas_service.search.searcher import Told

STATE_VERSION = 1


class ListedSearcher:
    """Asks for each of `points` once, in their order; see `nas_service.search.searcher.Searcher` for the promise.

    Args:
        points: Of `space`; those of one phenotype are asked once.
        space: The space.
    """

    def __init__(self, points: Sequence[Mapping[str, Any]], *, space: ChoiceSpace) -> None:
        self._space = space
        self._points = {space.phenotype(point): space.fold(point) for point in points}
        self._told: set[str] = set()
        self._open: deque[str] = deque(self._points)

    def ask(self, count: int) -> list[Point]:
        """Return up to `count` points that were not asked before; after loading, those in flight come again."""
        fresh: list[Point] = []
        while self._open and len(fresh) < count:
            key = self._open.popleft()
            if key not in self._told:
                fresh.append(dict(self._points[key]))
        return fresh

    def tell(self, results: Iterable[tuple[Mapping[str, Any], Told]]) -> None:
        """Remember that these points are known; InvalidRequestError for a point outside the space."""
        self._told |= {self._space.phenotype(point) for point, _ in results}

    def state_dict(self) -> dict[str, Any]:
        """Return the points and which of them are told, JSON-able."""
        return {"version": STATE_VERSION, "points": list(self._points), "told": sorted(self._told)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the searcher that gave this state; InvalidRequestError if it had other points."""
        if state.get("version") != STATE_VERSION or state.get("points") != list(self._points):
            raise InvalidRequestError(
                "the state belongs to another list of points; train the supernet again, or start the job anew"
            )
        self._told = set(state["told"])
        self._open = deque(key for key in self._points if key not in self._told)
