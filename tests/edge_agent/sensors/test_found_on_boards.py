"""On every board tree: which sensor is found, what it reads, and why the others are passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.errors import BadUsageError
from edge_agent.sensors import Place, survey
from edge_agent.sensors.integrate import trapezoid_mj
from edge_agent.sensors.options import EnergyOptions
from edge_agent.sensors.power import PowerSensor
from edge_agent.sensors.rapl import RaplSensor
from edge_agent.sensors.sensor import EnergySensor
from tests.edge_agent.boards import firmware_program, pmic_text, recorded, tree

BOARDS = [
    ("jetson-nano-jp4", "ina3221", "module", "POM_5V_IN", 1985.0),
    ("jetson-agx-xavier-jp4", "ina3221", "module", "GPU + CPU + SOC + CV + VDDRQ + SYS5V", 4428.0),
    ("jetson-orin-nano-jp6", "ina3221", "module", "VDD_IN", 4919.04),
    (
        "jetson-agx-orin-jp5",
        "ina3221",
        "module",
        "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO",
        9971.84,
    ),
    ("jetson-thor-jp7", "ina238", "board_input", "VIN", 36822.0),
    ("raspberry-pi-5", "pi-pmic", "module", "sum of 12 rails of the PMIC, by vcgencmd", 2442.043),
    ("raspberry-pi-4-ina226", "ina2xx", "board_input", "ina226, shunt 10000 uOhm", 3200.0),
    ("server-acpi", "hwmon", "wall", "power_meter", 87000.0),
]


def place_of(root: Path, name: str, **options: object) -> Place:
    program = firmware_program(root / "bin", {"get_throttled": "throttled=0x0\n", "pmic_read_adc": pmic_text()})
    return Place(root=recorded(root, name), vcgencmd=program, options=EnergyOptions(**options))  # type: ignore[arg-type]


def found_at(place: Place) -> EnergySensor:
    found = survey(place).sensor
    assert found is not None
    return found


@pytest.mark.parametrize(("board", "source", "scope", "rail", "power_mw"), BOARDS)
def test_each_boards_sensor_is_found_and_tells_its_total(
    tmp_path: Path, board: str, source: str, scope: str, rail: str, power_mw: float
) -> None:
    sensor = found_at(place_of(tmp_path, board))
    assert (sensor.source, sensor.scope, sensor.rail) == (source, scope, rail)
    assert isinstance(sensor, PowerSensor)
    assert sensor.power_mw(sensor.read()) == pytest.approx(power_mw, abs=0.01)


def test_a_laptops_package_counter_comes_before_its_battery(tmp_path: Path) -> None:
    found = survey(place_of(tmp_path, "laptop"))
    assert isinstance(found.sensor, RaplSensor)
    assert found.sensor.rail == "package-0"
    assert found.passed["power_supply"].why == "rapl comes first"


@pytest.mark.parametrize(
    ("board", "other", "why"),
    [
        ("raspberry-pi-4-ina226", "command", "no energy.json names a meter's program"),
        ("jetson-nano-jp4", "ina238", "no INA238"),
        ("jetson-orin-nano-jp6", "pi-pmic", "ina3221 comes first"),
        ("server-acpi", "rapl", "no package zone"),
        ("server-acpi", "ina3221", "only Jetsons have them"),
        ("server-acpi", "power_supply", "no power supply measures"),
    ],
)
def test_every_other_kind_says_why_it_is_not_used(tmp_path: Path, board: str, other: str, why: str) -> None:
    assert why in survey(place_of(tmp_path, board)).passed[other].why


def test_usb_c_ports_are_never_read(tmp_path: Path) -> None:
    place = place_of(tmp_path, "jetson-thor-jp7", sensor="power_supply")
    found = survey(place)
    assert found.sensor is None
    assert found.passed["power_supply"].why == ("ucsi-source-psy-2-00081 show what was negotiated, not what flows")


def test_a_battery_tells_power_only_while_it_discharges(tmp_path: Path) -> None:
    place = place_of(tmp_path, "laptop", sensor="power_supply")
    sensor = found_at(place)
    assert isinstance(sensor, PowerSensor)
    assert sensor.power_mw(sensor.read()) == pytest.approx(11.87 * 812.0)
    tree(tmp_path, {"sys/class/power_supply/BAT0/status": "Charging\n"})
    assert survey(place).sensor is None
    assert "BAT0 is Charging" in survey(place).passed["power_supply"].why


def test_a_monitor_of_unknown_scope_is_used_only_when_the_owner_says_what_it_measures(tmp_path: Path) -> None:
    unsaid = survey(place_of(tmp_path, "laptop", sensor="hwmon"))
    assert unsaid.sensor is None
    assert unsaid.passed["hwmon"].why == "what these measure is not known: amdgpu"
    assert '"device": "LABEL or NAME"' in (unsaid.passed["hwmon"].fix or "")
    named = Place(root=tmp_path, options=EnergyOptions(sensor="hwmon", device="amdgpu"))
    assert survey(named).passed["hwmon"].why == "what amdgpu measures is not said"
    said = Place(root=tmp_path, options=EnergyOptions(sensor="hwmon", device="amdgpu", scope="package"))
    assert found_at(said).scope == "package"


def test_the_owner_names_the_rails_where_the_rule_is_wrong(tmp_path: Path) -> None:
    place = place_of(tmp_path, "jetson-agx-orin-jp5", rails=("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"))
    assert found_at(place).rail == "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
    wrong = Place(root=tmp_path, options=EnergyOptions(rails=("VDD_INN",)))
    assert survey(wrong).passed["ina3221"].why.startswith("rails VDD_INN are not here; the board has VDDQ_VDD2_1V8AO,")


def test_unknown_rails_are_not_added_up(tmp_path: Path) -> None:
    tree(recorded(tmp_path, "jetson-nano-jp4"), {f"{IIO_NANO}/rail_name_0": "VDD_NEW\n"})
    passed = survey(Place(root=tmp_path)).passed["ina3221"]
    assert passed.why == "which rails are the total is not known; the board has POM_5V_CPU, POM_5V_GPU, VDD_NEW"
    assert '{"rails": [...]}' in (passed.fix or "")


IIO_NANO = "sys/devices/7000c400.i2c/i2c-6/6-0040/iio:device0"


def test_two_meters_are_one_too_many_until_one_is_named(tmp_path: Path) -> None:
    place = place_of(tmp_path, "raspberry-pi-4-ina226")
    second = "sys/class/hwmon/hwmon7"
    tree(tmp_path, {f"{second}/name": "ina219\n", f"{second}/label": "fan\n", f"{second}/power1_input": "90000\n"})
    assert survey(place).passed["ina2xx"].why == "not exactly one is meant; there are: ina226, ina219 fan"
    named = Place(root=tmp_path, options=EnergyOptions(device="fan"))
    assert found_at(named).rail == "ina219 fan"


def test_only_the_sensor_that_energy_json_names_is_tried(tmp_path: Path) -> None:
    assert list(survey(place_of(tmp_path, "jetson-thor-jp7", sensor="rapl")).passed) == ["rapl"]
    assert survey(Place(root=tmp_path, options=EnergyOptions(sensor="none"))).passed == {}
    with pytest.raises(
        BadUsageError, match=r"energy.json names sensor 'ina3222'; choose one of: none, command, ina2xx,"
    ):
        survey(Place(root=tmp_path, options=EnergyOptions(sensor="ina3222")))


def test_a_place_goes_through_json_unchanged(tmp_path: Path) -> None:
    place = Place(root=tmp_path, vcgencmd=("sh", "x"), options=EnergyOptions(command=("meter", "-s"), scope="wall"))
    assert Place.from_json(place.to_json()) == place


def test_power_becomes_energy_by_the_trapezoid_rule() -> None:
    times, powers = [0, 10**9, 3 * 10**9], [1000.0, 3000.0, 3000.0]
    assert trapezoid_mj(times, powers, start_ns=0, end_ns=3 * 10**9) == pytest.approx(2000.0 + 6000.0)
    assert trapezoid_mj(times, powers, start_ns=5 * 10**8, end_ns=2 * 10**9) == pytest.approx(1250.0 + 3000.0)
    assert trapezoid_mj(times, powers, start_ns=10**8, end_ns=2 * 10**8) == pytest.approx(130.0)
    assert trapezoid_mj(times, powers, start_ns=-1, end_ns=10) is None
