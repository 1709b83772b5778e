"""What all sensors that tell power have in common: raw values become milliwatts, samples become energy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from edge_agent.records import EnergyScope
from edge_agent.sensors.integrate import trapezoid_mj
from edge_agent.sensors.place import Place
from edge_agent.sensors.reading import NumberFile
from edge_agent.sensors.sensor import Sample, SensorError


class PowerSensor(ABC):
    """A sensor whose raw values, one or more a reading, together say a power."""

    source: str
    scope: EnergyScope = "board_input"
    rail: str
    interval_s: float
    external = False
    counts = False

    def __init__(self, place: Place) -> None:
        """Remember where the sensor was found."""
        self.place = place

    @abstractmethod
    def read(self) -> tuple[int, ...]:
        """Return the raw values now; raise SensorError if there are none."""

    @abstractmethod
    def power_mw(self, values: tuple[int, ...]) -> float:
        """Return the power that raw values stand for, in mW."""

    @abstractmethod
    def close(self) -> None:
        """Close what `read` opened."""

    def energy_mj(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float | None:
        """Return the energy between two moments in mJ, None if the samples do not enclose them."""
        times = [sample.time_ns for sample in samples]
        powers = [self.power_mw(sample.values) for sample in samples]
        return trapezoid_mj(times, powers, start_ns=start_ns, end_ns=end_ns)


class FilePowerSensor(PowerSensor):
    """A power sensor whose raw values are numbers in files."""

    def __init__(self, place: Place, files: Sequence[NumberFile]) -> None:
        """Take the files, in the order in which they are read."""
        super().__init__(place)
        self._files = files

    def read(self) -> tuple[int, ...]:
        """Return each file's number; a negative one is refused, since boards do not give power back."""
        values = tuple(file.read() for file in self._files)
        for file, value in zip(self._files, values, strict=True):
            if value < 0:
                raise SensorError("implausible", f"{file.path} holds {value} but must not be negative")
        return values

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def volts_times_amperes_mw(values: tuple[int, ...]) -> float:
    """Return the power of neighbouring pairs of mV and mA."""
    return sum(mv * ma for mv, ma in zip(values[::2], values[1::2], strict=True)) / 1e3
