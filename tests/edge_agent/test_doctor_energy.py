"""What `nas-edge doctor` says of energy and throttling, on generated board trees."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from edge_agent.doctor_energy import check_energy, check_throttling
from tests.edge_agent.boards import raspberry_pi, recorded, tree

TODAY = datetime.date(2026, 6, 30)
CALIBRATION = {"gain": 1.145, "offset_mw": 588.0, "rmse_fraction": 0.03, "reference": "meter 7", "date": "2026-06-01"}


def home_with(root: Path, options: dict[str, object]) -> Path:
    return tree(root / "home", {"energy.json": json.dumps(options)})


def test_the_sensor_is_named_with_its_rate_and_class_and_the_others_with_their_reasons(tmp_path: Path) -> None:
    check = check_energy(tmp_path, root=recorded(tmp_path, "jetson-orin-nano-jp6"))
    assert (check.state, check.fix) == ("ok", None)
    assert check.found.startswith("ina3221 (module): VDD_IN, 67 readings a second, uncertainty class c. Not used: ")
    assert "command: no energy.json names a meter's program (how: docs/board.md, energy.json); ina2xx: " in check.found
    assert "rapl: ina3221 comes first" in check.found


def test_a_pi_4_without_a_meter_is_fine_and_is_told_what_would_help(tmp_path: Path) -> None:
    check = check_energy(tmp_path, root=raspberry_pi(tmp_path))
    assert check.state == "ok"
    assert check.found.startswith("no supported sensor; results will have no energy. Tried: ")
    assert check.fix == "put an INA226 or a meter into the 5 V feed: docs/board.md, Energy"


def test_a_sensor_that_may_not_be_read_is_a_warning_with_the_udev_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    root = recorded(tmp_path, "laptop")
    (root / "sys/class/power_supply/BAT0/status").write_text("Charging\n")
    monkeypatch.setattr("edge_agent.sensors.reading.os.open", forbidden)
    check = check_energy(tmp_path, root=root)
    assert check.state == "warn"
    assert check.found.startswith("a sensor is there but not used. Tried: ")
    assert "energy_range_uj: Permission denied" in check.found
    rules = Path((check.fix or "").split("sudo cp ")[1].split(" ")[0])
    assert 'SUBSYSTEM=="powercap"' in rules.read_text()
    assert "chmod g+r" in rules.read_text()


def test_options_that_cannot_be_used_are_a_failure(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"sensor": "ina3222"})
    check = check_energy(home, root=recorded(tmp_path, "jetson-nano-jp4"))
    assert check.state == "fail"
    assert check.found.startswith("energy.json names sensor 'ina3222'; choose one of:")
    assert check.fix == f"nano {home}/energy.json"


def test_no_energy_by_wish_is_fine(tmp_path: Path) -> None:
    check = check_energy(home_with(tmp_path, {"sensor": "none"}), root=recorded(tmp_path, "jetson-nano-jp4"))
    assert (check.state, check.found) == ("ok", "no energy, as energy.json says")


@pytest.mark.parametrize(
    ("date", "state", "said"),
    [("2026-06-01", "ok", "uncertainty class b"), ("2025-06-01", "warn", "The calibration is out of date")],
)
def test_a_calibration_makes_the_class_until_it_is_too_old(tmp_path: Path, date: str, state: str, said: str) -> None:
    home = home_with(tmp_path, {"calibration": {**CALIBRATION, "date": date}})
    check = check_energy(home, root=recorded(tmp_path, "jetson-nano-jp4"), today=TODAY)
    assert check.state == state
    assert said in check.found
    assert (check.fix is None) == (state == "ok")


@pytest.mark.parametrize(
    ("bits", "state", "found", "fix"),
    [
        ("0", "ok", "none since boot", ""),
        ("50005", "warn", "now: under_voltage, throttled; since boot: under_voltage, throttled", "own supply"),
        ("80000", "warn", "now: none; since boot: soft_temperature_limit", "heat sink"),
    ],
)
def test_throttling_of_a_pi_is_told_with_what_helps(
    tmp_path: Path, bits: str, state: str, found: str, fix: str
) -> None:
    (check,) = check_throttling(raspberry_pi(tmp_path, throttled=bits))
    assert (check.state, check.found) == (state, found)
    assert fix in (check.fix or "")


def test_where_throttling_cannot_be_known_nothing_is_said(tmp_path: Path) -> None:
    assert list(check_throttling(recorded(tmp_path, "jetson-nano-jp4"))) == []


def test_a_sensor_that_cannot_be_mended_by_a_command_can_be_given_up(tmp_path: Path) -> None:
    root = recorded(tmp_path, "laptop")
    (root / "sys/class/power_supply/BAT0/power_now").write_text("broken\n")
    check = check_energy(home_with(tmp_path, {"sensor": "power_supply"}), root=root)
    assert check.state == "warn"
    assert (check.fix or "").startswith('echo \'{"sensor": "none"}\' > ')


def test_a_battery_that_charges_says_to_unplug_it(tmp_path: Path) -> None:
    root = recorded(tmp_path, "laptop")
    (root / "sys/class/power_supply/BAT0/status").write_text("Charging\n")
    check = check_energy(home_with(tmp_path, {"sensor": "power_supply"}), root=root)
    assert (check.state, "BAT0 is Charging" in check.found) == ("warn", True)
    assert (check.fix or "").startswith("unplug the charger, then: nas-edge doctor")
