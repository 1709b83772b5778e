"""INA219, INA226 and their kin in a board's feed, read through the kernel's ina2xx or ina238 driver.

Files and units as in Documentation/hwmon/ina2xx.rst and ina238.rst: power1_input in µW, update_interval in ms. The
driver computes with the shunt in `shunt_resistor` (µOhm); if that is not the real one, every figure is off by their
ratio, so it is named in the record.

On a Jetson AGX Thor the carrier board has an INA238, `VIN`, in the input of the whole board; it stands for the total.
"""

from __future__ import annotations

from pathlib import Path

from edge_agent.sensors.hwmon import HwmonPower, Monitor, checked, has_power, monitors
from edge_agent.sensors.place import Place
from edge_agent.sensors.reading import board_model, text_of
from edge_agent.sensors.sensor import EnergySensor, Passed

INA2XX = ("ina219", "ina220", "ina226", "ina228", "ina230", "ina231", "ina234", "ina237", "ina260")
INTERVAL_S = 0.005
_VIN_LABELS = ("label", "in1_label", "power1_label", "curr1_label")


class Ina2xxSensor(HwmonPower):
    """One INA2xx in the feed of a board; by its wiring, not by the board's design."""

    external = True


def find_ina2xx(place: Place) -> EnergySensor | Passed:
    """Return the meter if there is exactly one, or the one that the owner named."""
    found = [monitor for monitor in monitors(place.root) if monitor.name in INA2XX and has_power(monitor)]
    wanted = place.options.device
    chosen = [monitor for monitor in found if wanted is None or monitor.is_called(wanted)]
    if not found:
        return Passed(why="no INA2xx under /sys/class/hwmon")
    if len(chosen) != 1:
        names = ", ".join(monitor.title for monitor in found)
        fix = 'write to energy.json in the home: {"sensor": "ina2xx", "device": "LABEL or NAME"}'
        return Passed(why=f"not exactly one is meant; there are: {names}", present=True, fix=fix)
    monitor = chosen[0]
    interval_s = max(INTERVAL_S, _update_interval_s(monitor.path))
    scope = place.options.scope or "board_input"
    sensor = Ina2xxSensor(place, monitor, source="ina2xx", scope=scope, interval_s=interval_s)
    if shunt := text_of(monitor.path / "shunt_resistor"):
        sensor.rail = f"{monitor.title}, shunt {shunt} uOhm"
    return checked(sensor)


def find_ina238(place: Place) -> EnergySensor | Passed:
    """Return a Jetson carrier board's INA238 in its input, `VIN`."""
    found = [monitor for monitor in monitors(place.root) if monitor.name == "ina238" and has_power(monitor)]
    if not found:
        return Passed(why="no INA238 under /sys/class/hwmon")
    if "Jetson" not in board_model(place.root) and place.options.sensor != "ina238":
        fix = 'write to energy.json in the home: {"sensor": "ina238", "scope": "board_input"}'
        return Passed(why="there is an INA238, but this is no Jetson", present=True, fix=fix)
    inputs = [monitor for monitor in found if _is_input(monitor)] or found
    if len(inputs) != 1:
        return Passed(why=f"{len(inputs)} INA238 could be the input and none is labelled VIN", present=True)
    interval_s = max(INTERVAL_S, _update_interval_s(inputs[0].path))
    scope = place.options.scope or "board_input"
    sensor = HwmonPower(place, inputs[0], source="ina238", scope=scope, interval_s=interval_s)
    sensor.rail = "VIN" if _is_input(inputs[0]) else inputs[0].title
    return checked(sensor)


def _is_input(monitor: Monitor) -> bool:
    return any(text_of(monitor.path / name) == "VIN" for name in _VIN_LABELS)


def _update_interval_s(path: Path) -> float:
    try:
        return int(text_of(path / "update_interval") or 0) / 1e3
    except ValueError:
        return 0.0
