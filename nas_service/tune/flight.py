"""A candidate between being handed out and being told."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.records import Half
from nas_service.candidate import Candidate
from nas_service.front_query import HalfCost


@dataclass(slots=True)
class Flight:
    """A candidate in flight; what it is `waiting` for must be there by `give_up_at`, in the session's clock.

    Attributes:
        candidate: As far as it is known.
        waiting: Measurement key -> (board class, half) of what boards have not answered.
        models: Its exported graphs by half, in case a measurement must be asked for anew.
        give_up_at: Unix seconds.
        boards: What boards have answered.
        evaluated: Whether its trial is over.
        error: Why it cannot be measured.
        raised: Whether it is measured again, at the tier of candidates near the front.
        first: What boards had answered before that.
    """

    candidate: Candidate
    waiting: dict[str, tuple[str, Half]] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    give_up_at: float = math.inf
    boards: dict[str, dict[Half, HalfCost]] = field(default_factory=dict)
    evaluated: bool = False
    error: str | None = None
    raised: bool = False
    first: dict[str, dict[Half, HalfCost]] = field(default_factory=dict)

    def held_by(self, away: Collection[str]) -> bool:
        """Return whether it waits for a board class that is away."""
        return any(board_class in away for board_class, _ in self.waiting.values())

    def missing(self) -> str:
        """Return what it waits for, in words."""
        return " and ".join(f"{half} on {board_class}" for board_class, half in self.waiting.values())

    def raise_tier(self) -> None:
        """Put what boards have answered aside, to be measured again."""
        self.raised, self.first, self.boards = True, self.boards, {}

    def take_first(self) -> None:
        """Go back to what boards had answered before it was to be measured again."""
        self.raised, self.boards, self.error = False, self.first, None
        self.waiting.clear()
