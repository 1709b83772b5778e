"""Raspberry Pi 5's power chip: twelve rails with a current and a voltage each, told by the firmware.

`pmic_read_adc` prints lines such as `VDD_CORE_A current(7)=0.750A` and `VDD_CORE_V volt(15)=0.8795V`; the numbers in
brackets do not pair them, their names do. Power is the sum of the products. EXT5V and BATT have a voltage only. What
hangs on the 5 V rail (USB, HATs, NVMe, the fan) and the converters' losses are outside: the scope is `module`.
"""

from __future__ import annotations

import fcntl
import re

from edge_agent.records import EnergyScope
from edge_agent.sensors.firmware import Command, Firmware, Ioctl, open_firmware
from edge_agent.sensors.fixes import VIDEO_FIX
from edge_agent.sensors.place import Place
from edge_agent.sensors.power import PowerSensor
from edge_agent.sensors.reading import board_model
from edge_agent.sensors.sensor import EnergySensor, Passed, SensorError

RAILS = (
    "3V7_WL_SW",
    "3V3_SYS",
    "1V8_SYS",
    "DDR_VDD2",
    "DDR_VDDQ",
    "1V1_SYS",
    "0V8_SW",
    "VDD_CORE",
    "3V3_DAC",
    "3V3_ADC",
    "0V8_AON",
    "HDMI",
)
_MODELS = ("Raspberry Pi 5", "Raspberry Pi Compute Module 5", "Raspberry Pi 500")
_LINE = re.compile(r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)
MAILBOX_INTERVAL_S = 0.0167
COMMAND_INTERVAL_S = 0.1


class PiPmicSensor(PowerSensor):
    """The sum of the power chip's rails, in µW."""

    source = "pi-pmic"
    scope: EnergyScope = "module"

    def __init__(self, place: Place, firmware: Firmware) -> None:
        """Take the way to the firmware; the program is asked less often than the mailbox."""
        super().__init__(place)
        by_command = isinstance(firmware, Command)
        self.rail = f"sum of {len(RAILS)} rails of the PMIC, by {'vcgencmd' if by_command else 'mailbox'}"
        self.interval_s = COMMAND_INTERVAL_S if by_command else MAILBOX_INTERVAL_S
        self._firmware = firmware

    def read(self) -> tuple[int, ...]:
        """Return the power of all rails in µW."""
        return (total_uw(self._firmware.ask("pmic_read_adc")),)

    def power_mw(self, values: tuple[int, ...]) -> float:
        """Return the power in mW."""
        return values[0] / 1e3

    def close(self) -> None:
        """Close the way to the firmware."""
        self._firmware.close()


def find_pi_pmic(place: Place, *, ioctl: Ioctl = fcntl.ioctl) -> EnergySensor | Passed:
    """Return the sensor on a Raspberry Pi 5, 500 or Compute Module 5."""
    model = board_model(place.root)
    if not model.startswith(_MODELS):
        if model.startswith("Raspberry Pi"):
            fix = "put an INA226 or a meter into the 5 V feed: docs/board.md, Energy"
            return Passed(why=f"{model} has no power sensor on board; only the 5, 500 and CM5 do", fix=fix)
        return Passed(why="this is no Raspberry Pi 5")
    try:
        firmware = open_firmware(place.root, vcgencmd=place.vcgencmd, ioctl=ioctl)
        sensor = PiPmicSensor(place, firmware)
        sensor.read()
        sensor.close()
    except SensorError as error:
        return Passed(why=str(error), present=True, fix=VIDEO_FIX if error.kind == "forbidden" else None)
    return sensor


def total_uw(text: str) -> int:
    """Return the sum over the rails in µW of what `pmic_read_adc` printed.

    Raises:
        SensorError: If a rail lacks its current or voltage.
    """
    values = {f"{name}_{kind}": float(number) for name, kind, number in _LINE.findall(text)}
    missing = [f"{rail}_{kind}" for rail in RAILS for kind in "AV" if f"{rail}_{kind}" not in values]
    if missing:
        got = " ".join(text.split())[:80] or "nothing"
        raise SensorError("not_a_number", f"pmic_read_adc lacks {', '.join(missing[:3])}; it said: {got}")
    return round(1e6 * sum(values[f"{rail}_A"] * values[f"{rail}_V"] for rail in RAILS))
