"""A threshold with a name, and what is promised there."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from edge_agent.wire.record import Record, RecordError, check_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise(Record):
    """What an operating point promises: shares in [0, 1]; expected and worst cost by objective, such as `macs`.

    `n` images say so, None where that is not known: a drift monitor's band is the wider, the fewer there were.
    """

    accuracy: float
    escalation_rate: float
    expected_cost: dict[str, float] = dataclasses.field(default_factory=dict)
    worst_cost: dict[str, float] = dataclasses.field(default_factory=dict)
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint(Record):
    """A named threshold and its promise. Escalate when score < threshold; `never` and `always` need no number."""

    name: str
    threshold: Any
    calibration: Promise
    test: Promise | None = None

    def __post_init__(self) -> None:
        check_name(self.name, what="operating point")
        if self.threshold in ("never", "always"):
            return
        values = self.threshold if isinstance(self.threshold, (list, tuple)) else [self.threshold]
        if not values or not all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values
        ):
            raise RecordError(
                f"threshold of {self.name!r} is {self.threshold!r} but must be a finite number, one per class, "
                "'never' or 'always'"
            )
