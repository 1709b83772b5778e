"""Sensors that vanish, are forbidden or answer with text: each a fault with its kind and cause, never a figure."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.sensors import Place, Sampler, sampling, survey
from edge_agent.sensors.hwmon import HwmonEnergy, find_hwmon
from edge_agent.sensors.options import EnergyOptions
from edge_agent.sensors.reading import NumberFile
from edge_agent.sensors.sampling import Readings
from edge_agent.sensors.sensor import Sample, SensorError
from tests.edge_agent.boards import rapl, recorded, tree

S = 1_000_000_000


@pytest.fixture
def file(tmp_path: Path) -> Iterator[NumberFile]:
    (tmp_path / "power1_input").write_text("3200000\n")
    number = NumberFile(tmp_path / "power1_input")
    assert number.read() == 3_200_000
    yield number
    number.close()


def test_a_file_stays_open_and_says_what_is_new(file: NumberFile) -> None:
    with file.path.open("r+") as kernel:
        kernel.write("41\n\0\0\0\0\0".replace("\0", " "))
    assert file.read() == 41


def test_a_file_that_is_removed_has_vanished_and_may_come_back(file: NumberFile) -> None:
    file.path.unlink()
    with pytest.raises(SensorError, match=r"power1_input: removed") as error:
        file.read()
    assert error.value.kind == "vanished"
    with pytest.raises(SensorError, match=r"power1_input: No such file"):
        file.read()
    file.path.write_text("7\n")
    assert file.read() == 7


@pytest.mark.parametrize("text", ["n/a\n", "", "3.5\n", "12 mW\n"])
def test_text_is_no_number(file: NumberFile, text: str) -> None:
    file.path.write_text(text)
    with pytest.raises(SensorError, match="but must hold a number") as error:
        file.read()
    assert error.value.kind == "not_a_number"


def forbidden(*_: object, **__: object) -> int:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("board", "source"), [("jetson-orin-nano-jp6", "ina3221"), ("raspberry-pi-4-ina226", "ina2xx"), ("laptop", "rapl")]
)
def test_a_forbidden_sensor_is_present_and_its_fix_is_a_group_and_not_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str, source: str
) -> None:
    place = Place(root=recorded(tmp_path, board), options=EnergyOptions(sensor=source))
    with monkeypatch.context() as patch:
        patch.setattr("edge_agent.sensors.reading.os.open", forbidden)
        passed = survey(place).passed[source]
    assert passed.present
    assert "Permission denied" in passed.why
    assert "usermod -aG nas-power $USER" in (passed.fix or "")
    assert survey(place).sensor is not None


@pytest.mark.parametrize(
    ("board", "path"),
    [
        ("jetson-orin-nano-jp6", "sys/class/hwmon/hwmon1/curr1_input"),
        ("jetson-thor-jp7", "sys/class/hwmon/hwmon5/power1_input"),
        ("raspberry-pi-4-ina226", "sys/class/hwmon/hwmon2/power1_input"),
        ("laptop", "sys/class/powercap/intel-rapl:0/energy_uj"),
        ("server-acpi", "sys/class/hwmon/hwmon0/power1_average"),
    ],
)
@pytest.mark.parametrize(("text", "kind"), [("n/a\n", "not_a_number"), ("-5\n", "implausible")])
def test_nonsense_from_any_board_is_a_fault(tmp_path: Path, board: str, path: str, text: str, kind: str) -> None:
    sensor = survey(Place(root=recorded(tmp_path, board))).sensor
    assert sensor is not None
    (tmp_path / path).write_text(text)
    with pytest.raises(SensorError, match=Path(path).name) as error:
        sensor.read()
    assert error.value.kind == kind
    sensor.close()


class Script:
    """A sensor that says what it is told to, a reading a second."""

    interval_s = 1.0

    def __init__(self, *readings: int | SensorError) -> None:
        self._readings = list(readings)

    def read(self) -> tuple[int, ...]:
        reading = self._readings.pop(0)
        if isinstance(reading, SensorError):
            raise reading
        return (reading,)


def sampled(*readings: int | SensorError) -> Readings:
    now_ns, left = 0, len(readings)

    def wait(pause_s: float) -> bool:
        nonlocal now_ns, left
        now_ns, left = now_ns + round(pause_s * S), left - 1
        return left == 0

    return sampling.sample(Script(*readings), rng=random.Random(0), wait=wait, clock=lambda: now_ns)


def gone() -> SensorError:
    return SensorError("vanished", "it went")


def test_one_bad_reading_costs_its_own_moment_only() -> None:
    readings = sampled(1, gone(), 2, 3)
    assert [sample.values for sample in readings.samples] == [(1,), (2,), (3,)]
    assert (readings.failures, readings.fault) == (1, None)


def test_a_sensor_that_goes_is_given_up_after_three_seconds_with_its_first_reason() -> None:
    readings = sampled(1, 2, gone(), SensorError("failing", "later"), *[gone()] * 20)
    assert len(readings.samples) == 2
    assert readings.fault == ("vanished", "it went")
    assert readings.failures < 8


def test_a_sensor_that_is_gone_from_the_start_says_so() -> None:
    assert sampled(*[gone()] * 20).fault == ("vanished", "it went")


def test_readings_go_to_the_parent_unchanged() -> None:
    readings = Readings(samples=[Sample(5, (1, 2))], fault=("vanished", "it went"), failures=3)
    assert Readings.from_json(readings.to_json()) == readings


@pytest.mark.slow
def test_a_sampling_process_that_dies_is_a_fault_with_its_last_words(tmp_path: Path) -> None:
    sensor = survey(Place(root=recorded(tmp_path / "board", "server-acpi"))).sensor
    assert sensor is not None
    sensor.source = "no-such-sensor"
    sampler = Sampler(sensor, folder=tmp_path)
    assert sampler.energy(start_ns=0, end_ns=S, n=1) is None
    sampler.close()
    assert sampler.fault is not None
    assert sampler.fault.kind == "failing"
    assert sampler.fault.cause.startswith("the sampling process left no readings: ")
    assert "no-such-sensor" in sampler.fault.cause


def test_a_counter_that_runs_backwards_is_not_a_counter(tmp_path: Path) -> None:
    files = {"name": "meter\n", "energy1_input": "1000\n"}
    tree(tmp_path / "sys/class/hwmon/hwmon0", files)
    found = find_hwmon(Place(root=tmp_path, options=EnergyOptions(device="meter", scope="wall")))
    assert isinstance(found, HwmonEnergy)
    rising, falling = [Sample(0, (0,)), Sample(S, (5000,))], [Sample(0, (5000,)), Sample(S, (0,))]
    assert found.energy_mj(rising, start_ns=0, end_ns=S) == pytest.approx(5.0)
    assert found.energy_mj(falling, start_ns=0, end_ns=S) is None


def test_a_counter_beyond_its_range_is_implausible(tmp_path: Path) -> None:
    sensor = survey(Place(root=rapl(tmp_path, packages=(10,), range_uj=1000))).sensor
    assert sensor is not None
    os.truncate(tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj", 0)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("1001\n")
    with pytest.raises(SensorError, match="holds 1001 but must be 0 to 1000"):
        sensor.read()
    sensor.close()
