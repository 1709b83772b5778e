"""What the agent asks of an energy sensor, and what a sampling run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Scope = Literal["package", "module", "board_input", "wall"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: time on CLOCK_MONOTONIC in ns (the clock of time.perf_counter_ns) and the sensor's raw values."""

    time_ns: int
    values: tuple[int, ...]


class EnergySensor(Protocol):
    """A source of energy readings. `interval_s` is how often it is worth reading."""

    source: str
    scope: Scope
    interval_s: float

    def read(self) -> tuple[int, ...]:
        """Return the raw values now; raise OSError if the sensor is gone."""
        ...

    def energy_mj(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float | None:
        """Return the energy between two moments in mJ, None if the samples do not enclose them."""
        ...
