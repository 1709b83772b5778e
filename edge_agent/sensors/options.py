"""energy.json in the board's home: what a person knows of the board's meter and the agent cannot find out."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import BadUsageError
from edge_agent.records import Calibration, EnergyScope, Record, RecordError

FILE_NAME = "energy.json"
CALIBRATION_DAYS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyOptions(Record):
    """The content of energy.json; all of it may be left out.

    Attributes:
        sensor: Use this kind of sensor only; None for the first that is found, `none` for no energy at all.
        scope: What lies behind a meter that cannot know (INA2xx, hwmon, power_supply, command).
        device: Which of several: a hwmon `label` or `name`, or a power_supply's name.
        rails: The Jetson rails that make up the total, where the agent's own rule is wrong.
        command: A program that prints readings of an external meter: see command_meter.py.
        interval_s: How often that meter reads.
        calibration: How the sensor's power becomes true power.
    """

    version: int = 1
    sensor: str | None = None
    scope: EnergyScope | None = None
    device: str | None = None
    rails: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    interval_s: float = 1.0
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.version != 1:
            raise RecordError(f"energy.json has version {self.version} but this agent reads 1; update the agent")
        if not 0.001 <= self.interval_s <= 60:
            raise RecordError(f"interval_s is {self.interval_s} but must be 0.001 to 60")


def read_options(home: Path) -> EnergyOptions:
    """Return the options in a home's energy.json, the defaults if there is no such file.

    Raises:
        BadUsageError: If the file is there and cannot be used.
    """
    path = home / FILE_NAME
    try:
        return EnergyOptions.from_json(path.read_bytes(), where=FILE_NAME)
    except FileNotFoundError:
        return EnergyOptions()
    except (OSError, RecordError) as error:
        raise BadUsageError(f"{path} cannot be used: {error}; see docs/board.md, Energy, or remove the file") from None


def calibration_age_days(calibration: Calibration, *, today: datetime.date) -> int:
    """Return how many days ago a calibration was made."""
    return (today - datetime.date.fromisoformat(calibration.date)).days


def valid_calibration(options: EnergyOptions, *, today: datetime.date) -> Calibration | None:
    """Return the calibration if there is one and it is at most 180 days old."""
    found = options.calibration
    if found is None or not 0 <= calibration_age_days(found, today=today) <= CALIBRATION_DAYS:
        return None
    return found
