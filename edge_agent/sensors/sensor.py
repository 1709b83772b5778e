"""What the agent asks of an energy sensor, what a sampling run leaves behind, and what can be wrong with either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_agent.errors import EdgeError
from edge_agent.records import EnergyScope, SensorFaultKind
from edge_agent.sensors.place import Place


class SensorError(EdgeError):
    """A sensor that cannot be read now; `kind` says in which way."""

    def __init__(self, kind: SensorFaultKind, text: str) -> None:
        """Keep the kind beside the text."""
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading: time on CLOCK_MONOTONIC in ns (the clock of time.perf_counter_ns) and the sensor's raw values."""

    time_ns: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Why a kind of sensor is not used here, and the command that would change that, if there is one.

    `present` is true if there is a sensor of this kind, so that a person may want to know.
    """

    why: str
    present: bool = False
    fix: str | None = None


class EnergySensor(Protocol):
    """A source of readings, found at `place`.

    Attributes:
        source: Its name in SENSORS and in every record.
        scope: What lies behind it.
        rail: What is read, in the words of the board.
        interval_s: How often it is worth reading.
        external: Whether it is a meter outside the board's own circuits.
        counts: Whether it counts energy; others tell power, which must be sampled often to be known.
    """

    source: str
    scope: EnergyScope
    rail: str
    interval_s: float
    external: bool
    counts: bool
    place: Place

    def read(self) -> tuple[int, ...]:
        """Return the raw values now; raise SensorError if there are none."""
        ...

    def energy_mj(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float | None:
        """Return the energy between two moments in mJ, None if the samples do not enclose them."""
        ...

    def close(self) -> None:
        """Close what `read` opened."""
        ...


Finder = Callable[[Place], "EnergySensor | Passed"]
