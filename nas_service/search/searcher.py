"""What every searcher is to the code that drives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from nas_service.choice_space import Point

Told: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
"""A value as it is told: one mapping of objectives, a curve of them, or None for a candidate that failed."""


class Searcher(Protocol):
    """Chooses what to evaluate next from what was found so far. Values in, values out; never any I/O."""

    def ask(self, count: int) -> list[Point]:
        """Up to `count` new points; fewer, then none, when the space is used up."""

    def tell(self, results: Iterable[tuple[Mapping[str, Any], Told]]) -> None:
        """Take results of any points, asked for or not, in any order."""

    def state_dict(self) -> dict[str, Any]:
        """Everything the searcher knows, as JSON-serialisable values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state` was taken."""
