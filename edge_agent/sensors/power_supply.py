"""Batteries and inputs that the kernel knows as power supplies: voltage_now, current_now, power_now in µV, µA, µW.

A battery tells what the board takes only while nothing charges it, so energy is refused as soon as it is charged. USB-C
ports (`ucsi-source-psy-*`, `tcpm-source-psy-*`) are never read: they show what was negotiated and not what flows.
Source: Documentation/ABI/testing/sysfs-class-power.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edge_agent.records import EnergyScope
from edge_agent.sensors.fixes import CHARGER_FIX
from edge_agent.sensors.hwmon import checked
from edge_agent.sensors.place import Place
from edge_agent.sensors.power import PowerSensor
from edge_agent.sensors.reading import NumberFile, text_of
from edge_agent.sensors.sensor import EnergySensor, Passed, SensorError

_NEGOTIATED = ("ucsi", "tcpm")
_PLUGGED_IN = ("Charging", "Not charging", "Full")


class PowerSupplySensor(PowerSensor):
    """One supply. Gauges average over a second or so; reading them more often tells nothing more."""

    source = "power_supply"
    scope: EnergyScope = "board_input"
    interval_s = 0.5

    def __init__(self, place: Place, supply: Path) -> None:
        """Take the supply's folder, with power_now or both voltage_now and current_now."""
        super().__init__(place)
        self.rail = supply.name
        self._supply, self._is_battery = supply, text_of(supply / "type") == "Battery"
        names = ("power_now",) if (supply / "power_now").exists() else ("voltage_now", "current_now")
        self._files = [NumberFile(supply / name) for name in names]

    def read(self) -> tuple[int, ...]:
        """Return power, or voltage and current; discharging is negative with some drivers, positive with others."""
        status = text_of(self._supply / "status")
        if self._is_battery and status != "Discharging":
            why = f"{self.rail} is {status or 'of unknown status'}; only a battery that discharges alone tells the load"
            raise SensorError("implausible", f"{why}: unplug the charger")
        return tuple(abs(file.read()) for file in self._files)

    def power_mw(self, values: tuple[int, ...]) -> float:
        """Return the power in mW."""
        return values[0] / 1e3 if len(values) == 1 else values[0] * values[1] / 1e9

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def find_power_supply(place: Place) -> EnergySensor | Passed:
    """Return the one supply that measures, or the one that the owner named."""
    supplies = sorted(place.root.glob("sys/class/power_supply/*"))
    skipped = [supply.name for supply in supplies if supply.name.startswith(_NEGOTIATED)]
    found = [supply for supply in supplies if supply.name not in skipped and _measures(supply)]
    chosen = [supply for supply in found if place.options.device in (None, supply.name)]
    if len(chosen) == 1:
        sensor = PowerSupplySensor(place, chosen[0])
        sensor.scope = place.options.scope or "board_input"
        found_out = checked(sensor)
        if isinstance(found_out, Passed) and text_of(chosen[0] / "status") in _PLUGGED_IN:
            return dataclasses.replace(found_out, fix=CHARGER_FIX)
        return found_out
    if found:
        fix = 'write to energy.json in the home: {"sensor": "power_supply", "device": "NAME"}'
        names = ", ".join(supply.name for supply in found)
        return Passed(why=f"not exactly one supply is meant; there are: {names}", present=True, fix=fix)
    if skipped:
        return Passed(why=f"{', '.join(skipped)} show what was negotiated, not what flows")
    return Passed(why="no power supply measures")


def _measures(supply: Path) -> bool:
    if (supply / "power_now").exists():
        return True
    return (supply / "voltage_now").exists() and (supply / "current_now").exists()
