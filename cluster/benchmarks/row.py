"""One line of a benchmark's table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas_service.errors import InvalidRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a benchmark measured.

    Attributes:
        name: Its key, such as `L8`.
        figure: What is measured, in words.
        value: The figure.
        must: What it must reach.
        aim: What it should reach, None if nothing more is wanted.
        least: Whether larger is better.
        detail: How it was measured and what lies beside it.
    """

    name: str
    figure: str
    value: float
    must: float
    aim: float | None = None
    least: bool = False
    detail: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InvalidRequestError(f"benchmark {self.name} measured {self.value}; run it again on an idle machine")

    @property
    def verdict(self) -> str:
        """Return `aim`, `must` or `short`: the best that the value reaches."""
        for word, bound in (("aim", self.aim), ("must", self.must)):
            if bound is not None and (self.value >= bound if self.least else self.value <= bound):
                return word
        return "short"

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON-able data, verdict included."""
        return {
            "name": self.name,
            "figure": self.figure,
            "value": self.value,
            "must": self.must,
            "aim": self.aim,
            "verdict": self.verdict,
            "detail": self.detail,
        }


Benchmark = Callable[[], list[Row]]
