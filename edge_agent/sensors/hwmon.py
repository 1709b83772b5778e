"""Monitors under /sys/class/hwmon: found by name and label, since their numbers change from boot to boot.

Units as in the kernel's Documentation/hwmon/sysfs-interface.rst: power in µW, energy in µJ, voltage in mV, current in
mA. A monitor says how much, and not what flows through it; so beside chips that are known, this takes only what the
owner names in energy.json, with its scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from edge_agent.records import EnergyScope
from edge_agent.sensors.fixes import GROUP_FIX
from edge_agent.sensors.integrate import counter_mj
from edge_agent.sensors.place import Place
from edge_agent.sensors.power import FilePowerSensor, volts_times_amperes_mw
from edge_agent.sensors.reading import NumberFile, text_of
from edge_agent.sensors.sensor import EnergySensor, Passed, Sample, SensorError

KNOWN_SCOPES: dict[str, EnergyScope] = {"power_meter": "wall"}  # ACPI's meter of what the whole machine takes in
_MAX_COUNTER_UJ = 1 << 64
_POWER_FILES = ("power1_input", "power1_average")


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """One hwmon device: its driver's name, and the label that the device tree gives it, if any."""

    path: Path
    name: str
    label: str | None

    @property
    def title(self) -> str:
        """Return how people call it."""
        return f"{self.name} {self.label}" if self.label else self.name

    def is_called(self, wanted: str) -> bool:
        """Return whether `wanted` is its name or its label."""
        return wanted in (self.name, self.label)


class HwmonPower(FilePowerSensor):
    """A monitor that tells power, or voltage and current."""

    def __init__(self, place: Place, monitor: Monitor, *, source: str, scope: EnergyScope, interval_s: float) -> None:
        """Take a monitor of which `has_power` is true."""
        self._file = next((name for name in _POWER_FILES if (monitor.path / name).exists()), None)
        names = [self._file] if self._file else ["in1_input", "curr1_input"]
        super().__init__(place, [NumberFile(monitor.path / name) for name in names])
        self.source, self.scope, self.rail, self.interval_s = source, scope, monitor.title, interval_s

    def power_mw(self, values: tuple[int, ...]) -> float:
        """Return the power in mW."""
        return values[0] / 1e3 if self._file else volts_times_amperes_mw(values)


class HwmonEnergy:
    """A monitor that counts energy in µJ."""

    interval_s = 0.05
    external = False
    counts = True

    def __init__(self, place: Place, monitor: Monitor, *, source: str, scope: EnergyScope) -> None:
        """Take a monitor that has energy1_input."""
        self.place, self.source, self.scope, self.rail = place, source, scope, monitor.title
        self._file = NumberFile(monitor.path / "energy1_input")

    def read(self) -> tuple[int, ...]:
        """Return the counter in µJ."""
        return (self._file.read(),)

    def energy_mj(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float | None:
        """Return the energy between two moments in mJ; a counter that fell was set back and tells nothing."""
        times, values = [sample.time_ns for sample in samples], [sample.values for sample in samples]
        if any(after < before for before, after in pairwise(values)):
            return None
        return counter_mj(times, values, ranges_uj=[_MAX_COUNTER_UJ], start_ns=start_ns, end_ns=end_ns)

    def close(self) -> None:
        """Close the counter."""
        self._file.close()


def find_hwmon(place: Place) -> EnergySensor | Passed:
    """Return the monitor that the owner named, or one whose scope is known from its kind."""
    found = [monitor for monitor in monitors(place.root) if has_power(monitor)]
    wanted = place.options.device
    if wanted is None:
        chosen = [monitor for monitor in found if monitor.name in KNOWN_SCOPES]
    else:
        chosen = [monitor for monitor in found if monitor.is_called(wanted)]
    if len(chosen) != 1:
        return _nothing_chosen(found, wanted)
    scope = place.options.scope or KNOWN_SCOPES.get(chosen[0].name)
    if scope is None:
        fix = f'write to energy.json in the home: {{"device": "{wanted}", "scope": "board_input"}}'
        return Passed(why=f"what {wanted} measures is not said", present=True, fix=fix)
    if (chosen[0].path / "energy1_input").exists():
        return checked(HwmonEnergy(place, chosen[0], source="hwmon", scope=scope))
    interval_s = max(0.01, _average_interval_s(chosen[0].path))
    return checked(HwmonPower(place, chosen[0], source="hwmon", scope=scope, interval_s=interval_s))


def monitors(root: Path) -> Iterator[Monitor]:
    """Yield the hwmon devices that have a name."""
    for path in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if name := text_of(path / "name"):
            yield Monitor(path=path, name=name, label=text_of(path / "label"))


def has_power(monitor: Monitor) -> bool:
    """Return whether a monitor tells energy, power, or a voltage and a current."""
    if any((monitor.path / name).exists() for name in (*_POWER_FILES, "energy1_input")):
        return True
    return all((monitor.path / name).exists() for name in ("in1_input", "curr1_input"))


def checked(sensor: EnergySensor) -> EnergySensor | Passed:
    """Return a sensor if it can be read, else why not and what would help."""
    try:
        sensor.read()
        sensor.close()
    except SensorError as error:
        return Passed(why=str(error), present=True, fix=GROUP_FIX if error.kind == "forbidden" else None)
    return sensor


def _nothing_chosen(found: list[Monitor], wanted: str | None) -> Passed:
    if not found:
        return Passed(why="no monitor under /sys/class/hwmon tells power")
    names = ", ".join(monitor.title for monitor in found)
    fix = 'write to energy.json in the home: {"device": "LABEL or NAME", "scope": "board_input"}'
    if wanted is None:
        return Passed(why=f"what these measure is not known: {names}", present=True, fix=fix)
    return Passed(why=f"not exactly one monitor is called {wanted!r}; there are: {names}", present=True, fix=fix)


def _average_interval_s(path: Path) -> float:
    try:
        return int(text_of(path / "power1_average_interval") or 0) / 1e3
    except ValueError:
        return 0.0
