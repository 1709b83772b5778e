"""Which sensor this board has. A new sensor is one file and one line in SENSORS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_agent.sensors.rapl import find_rapl, package_zones
from edge_agent.sensors.sensor import EnergySensor

SENSORS: dict[str, Callable[[Path], EnergySensor | None]] = {"rapl": find_rapl}


def find_sensor(root: Path = Path("/")) -> EnergySensor | None:
    """Return the first sensor that this board has and that we may read, None if there is none."""
    for find in SENSORS.values():
        if sensor := find(root):
            return sensor
    return None


def unreadable_sensor_fix(root: Path = Path("/")) -> str | None:
    """Return the command that makes a present but forbidden sensor readable, None if there is no such sensor."""
    if package_zones(root) and find_rapl(root) is None:
        return "sudo chmod o+r /sys/class/powercap/intel-rapl:*/energy_uj"
    return None
