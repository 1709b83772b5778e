"""Jetson's INA3221: three rails a chip, one or two chips on the module, named by label and never by number.

JetPack 4 (kernel 4.9) shows them through IIO (`rail_name_0`, `in_power0_input` in mW), JetPack 5 to 7 through hwmon
(`in1_label`, `in1_input` in mV, `curr1_input` in mA). What a module draws is one rail on most of them, a sum on AGX
Xavier and AGX Orin; rails below another rail are never added to it. All of it lies on the module: the carrier board,
its fan and drives are outside. Sources: the kernel's drivers/hwmon/ina3221.c, Documentation/hwmon/ina3221.rst, NVIDIA's
developer guide.

A mainline driver sleeps in every read until the next conversion, 6.6 ms a cycle, so that a rail's voltage and current
take up to 13 ms; only the rails of the total are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_agent.records import EnergyScope
from edge_agent.sensors.fixes import GROUP_FIX
from edge_agent.sensors.place import Place
from edge_agent.sensors.power import FilePowerSensor, volts_times_amperes_mw
from edge_agent.sensors.reading import NumberFile, kind_of, text_of
from edge_agent.sensors.sensor import EnergySensor, Passed, SensorError

# The first line whose rails are all there is the module's total.
TOTALS: tuple[tuple[str, ...], ...] = (
    ("POM_5V_IN",),  # Nano, TX1
    ("VDD_IN",),  # TX2, Xavier NX, Orin NX, Orin Nano
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"),  # AGX Orin; whether the last is in the third: open
)
_IIO = "sys/bus/i2c/drivers/ina3221x/*-00*/iio*device*"
_HWMON = "sys/bus/i2c/drivers/ina3221*/*-00*/hwmon/hwmon*"
SECONDS_A_RAIL = 0.015


@dataclass(frozen=True, slots=True, kw_only=True)
class Rail:
    """One rail: its label and the files that tell its power, either one in mW or a pair in mV and mA."""

    label: str
    files: tuple[Path, ...]


class Ina3221Sensor(FilePowerSensor):
    """The rails that make up a module's total."""

    source = "ina3221"
    scope: EnergyScope = "module"

    def __init__(self, place: Place, rails: tuple[Rail, ...]) -> None:
        """Take the rails of the total; all tell power in the same way."""
        super().__init__(place, [NumberFile(path) for rail in rails for path in rail.files])
        self.rail = " + ".join(rail.label for rail in rails)
        self.interval_s = SECONDS_A_RAIL * len(rails)
        self._power: Callable[[tuple[int, ...]], float] = sum if len(rails[0].files) == 1 else volts_times_amperes_mw

    def power_mw(self, values: tuple[int, ...]) -> float:
        """Return the total of the rails in mW."""
        return float(self._power(values))


def find_ina3221(place: Place) -> EnergySensor | Passed:
    """Return the module's total if this is a Jetson whose rails we know and may read."""
    try:
        rails = {rail.label: rail for rail in (*_hwmon_rails(place.root), *_iio_rails(place.root))}
    except OSError as error:
        fix = GROUP_FIX if kind_of(error) == "forbidden" else None
        return Passed(why=f"{error.filename}: {error.strerror}", present=True, fix=fix)
    if not rails:
        return Passed(why="no INA3221 on an I2C bus (only Jetsons have them)")
    wanted = place.options.rails or next((total for total in TOTALS if rails.keys() >= set(total)), ())
    if not wanted or (unknown := set(wanted) - rails.keys()):
        have = ", ".join(sorted(rails))
        why = f"rails {', '.join(sorted(unknown))} are not here" if wanted else "which rails are the total is not known"
        fix = f'write to energy.json in the home: {{"rails": [...]}} with some of: {have}'
        return Passed(why=f"{why}; the board has {have}", present=True, fix=fix)
    sensor = Ina3221Sensor(place, tuple(rails[label] for label in wanted))
    try:
        sensor.read()
        sensor.close()
    except SensorError as error:
        return Passed(why=str(error), present=True, fix=GROUP_FIX if error.kind == "forbidden" else None)
    return sensor


def _hwmon_rails(root: Path) -> Iterator[Rail]:
    """Yield the rails of JetPack 5 to 7; `NC` is not connected, index 7 sums shunt voltages."""
    for monitor in sorted(root.glob(_HWMON)):
        for channel in (1, 2, 3):
            label = text_of(monitor / f"in{channel}_label")
            if label and label != "NC":
                yield Rail(label=label, files=(monitor / f"in{channel}_input", monitor / f"curr{channel}_input"))


def _iio_rails(root: Path) -> Iterator[Rail]:
    """Yield the rails of JetPack 4, where even the names may be root's alone; raise OSError then."""
    for device in sorted(root.glob(_IIO)):
        for path in sorted(device.glob("rail_name_*")):
            if index := re.fullmatch(r"rail_name_(\d)", path.name):
                label = path.read_text(errors="replace").strip("\0\n ")
                if label and label != "NC":
                    yield Rail(label=label, files=(device / f"in_power{index[1]}_input",))
