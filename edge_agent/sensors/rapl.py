"""RAPL: the energy counters of x86 packages under /sys/class/powercap. A counter that wraps and is often root-only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_agent.records import EnergyScope
from edge_agent.sensors.fixes import GROUP_FIX
from edge_agent.sensors.integrate import counter_mj
from edge_agent.sensors.place import Place
from edge_agent.sensors.reading import NumberFile, read_once, text_of
from edge_agent.sensors.sensor import EnergySensor, Passed, Sample, SensorError


class RaplSensor:
    """The sum of all package zones. Polled often enough that no counter wraps twice between two readings."""

    source = "rapl"
    scope: EnergyScope = "package"
    interval_s = 0.05
    external = False
    counts = True

    def __init__(self, place: Place, zones: Sequence[Path]) -> None:
        """Take the package zones; each has energy_uj and max_energy_range_uj."""
        self.place = place
        self.rail = " + ".join(text_of(zone / "name") or zone.name for zone in zones)
        self._files = [NumberFile(zone / "energy_uj") for zone in zones]
        self._ranges_uj = [read_once(zone / "max_energy_range_uj") for zone in zones]

    def read(self) -> tuple[int, ...]:
        """Return each zone's counter in µJ."""
        values = tuple(file.read() for file in self._files)
        for file, value, limit in zip(self._files, values, self._ranges_uj, strict=True):
            if not 0 <= value <= limit:
                raise SensorError("implausible", f"{file.path} holds {value} but must be 0 to {limit}")
        return values

    def energy_mj(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float | None:
        """Return the energy between two moments in mJ, by interpolation of the unwrapped counters."""
        times, values = [sample.time_ns for sample in samples], [sample.values for sample in samples]
        return counter_mj(times, values, ranges_uj=self._ranges_uj, start_ns=start_ns, end_ns=end_ns)

    def close(self) -> None:
        """Close the counters."""
        for file in self._files:
            file.close()


def find_rapl(place: Place) -> EnergySensor | Passed:
    """Return the sensor if this machine has RAPL package zones that we may read."""
    zones = package_zones(place.root)
    if not zones:
        return Passed(why="no package zone under /sys/class/powercap (not x86, or hidden from a container)")
    try:
        sensor = RaplSensor(place, zones)
        sensor.read()
        sensor.close()
    except SensorError as error:
        return Passed(why=str(error), present=True, fix=GROUP_FIX if error.kind == "forbidden" else None)
    return sensor


def package_zones(root: Path) -> list[Path]:
    """Return the package zones, readable or not."""
    zones = sorted(root.glob("sys/class/powercap/intel-rapl:*"))
    return [zone for zone in zones if (text_of(zone / "name") or "").startswith("package")]
