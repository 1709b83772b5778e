"""RAPL: the energy counters of x86 packages under /sys/class/powercap. A counter that wraps and is often root-only."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from edge_agent.sensors.sensor import Sample, Scope


class RaplSensor:
    """The sum of all package zones. Polled often enough that no counter wraps twice between two readings."""

    source = "rapl"
    scope: Scope = "package"
    interval_s = 0.05

    def __init__(self, zones: list[Path]) -> None:
        """Take the package zones; each has energy_uj and max_energy_range_uj."""
        self._counters = [zone / "energy_uj" for zone in zones]
        self._ranges_uj = [int((zone / "max_energy_range_uj").read_text()) for zone in zones]

    def read(self) -> tuple[int, ...]:
        """Return each zone's counter in µJ."""
        return tuple(int(path.read_text()) for path in self._counters)

    def energy_mj(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float | None:
        """Return the energy between two moments in mJ, by interpolation of the unwrapped counters."""
        times = [sample.time_ns for sample in samples]
        if not samples or times[0] > start_ns or times[-1] < end_ns:
            return None
        totals_uj = [0.0]
        for before, after in pairwise(samples):
            steps = zip(before.values, after.values, self._ranges_uj, strict=True)
            totals_uj.append(totals_uj[-1] + sum(a - b if a >= b else a - b + limit for b, a, limit in steps))
        return (_at(end_ns, times, totals_uj) - _at(start_ns, times, totals_uj)) / 1000


def find_rapl(root: Path) -> RaplSensor | None:
    """Return the sensor if this machine has RAPL package zones that we may read."""
    zones = [zone for zone in package_zones(root) if _readable(zone)]
    return RaplSensor(zones) if zones else None


def package_zones(root: Path) -> list[Path]:
    """Return the package zones, readable or not."""
    zones = sorted(root.glob("sys/class/powercap/intel-rapl:*"))
    return [zone for zone in zones if _name(zone).startswith("package")]


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text().strip()
    except OSError:
        return ""


def _readable(zone: Path) -> bool:
    try:
        int((zone / "energy_uj").read_text())
        int((zone / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return False
    return True


def _at(moment_ns: int, times: list[int], totals_uj: list[float]) -> float:
    for (t0, t1), (e0, e1) in zip(pairwise(times), pairwise(totals_uj), strict=True):
        if t0 <= moment_ns <= t1:
            return e0 + (e1 - e0) * (moment_ns - t0) / max(t1 - t0, 1)
    return totals_uj[-1]
