"""Which sensor this board has, and why the others are not used. A new sensor is one file and one line in SENSORS."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.errors import BadUsageError
from edge_agent.sensors.command_meter import find_command_meter
from edge_agent.sensors.hwmon import find_hwmon
from edge_agent.sensors.ina2xx import find_ina2xx, find_ina238
from edge_agent.sensors.ina3221 import find_ina3221
from edge_agent.sensors.pi_pmic import find_pi_pmic
from edge_agent.sensors.place import Place
from edge_agent.sensors.power_supply import find_power_supply
from edge_agent.sensors.rapl import find_rapl
from edge_agent.sensors.sensor import EnergySensor, Finder, Passed

HERE = Place()

# In this order: what the owner named, then what measures more of the board, and better.
SENSORS: dict[str, Finder] = {
    "command": find_command_meter,
    "ina2xx": find_ina2xx,
    "ina238": find_ina238,
    "ina3221": find_ina3221,
    "pi-pmic": find_pi_pmic,
    "rapl": find_rapl,
    "power_supply": find_power_supply,
    "hwmon": find_hwmon,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a board offers: the sensor that is used, and for each other kind why not, in the order of SENSORS."""

    sensor: EnergySensor | None
    passed: dict[str, Passed]


def survey(place: Place = HERE) -> Survey:
    """Look for every kind of sensor.

    Raises:
        BadUsageError: If energy.json names a kind that does not exist.
    """
    used: EnergySensor | None = None
    passed: dict[str, Passed] = {}
    for name, find in _wanted(place).items():
        if used is not None:
            passed[name] = Passed(why=f"{used.source} comes first")
        elif isinstance(found := find(place), Passed):
            passed[name] = found
        else:
            used = found
    return Survey(sensor=used, passed=passed)


def find_sensor(place: Place = HERE) -> EnergySensor | None:
    """Return the first sensor that this board has and that we may read, None if there is none."""
    return survey(place).sensor


def find_again(source: str, place: Place) -> EnergySensor | Passed:
    """Return the sensor of one kind, as `find_sensor` found it earlier or in another process."""
    return SENSORS[source](place)


def _wanted(place: Place) -> dict[str, Finder]:
    name = place.options.sensor
    if name is None:
        return SENSORS
    if name == "none":
        return {}
    if name not in SENSORS:
        raise BadUsageError(f"energy.json names sensor {name!r}; choose one of: none, {', '.join(SENSORS)}")
    return {name: SENSORS[name]}
