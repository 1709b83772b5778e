"""What every joule says of itself: class, calibration, gross and net; and when there is none, why."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import BadUsageError
from edge_agent.records import Calibration, Energy, RecordError, SensorFault
from edge_agent.sensors import Place, Sampler, survey
from edge_agent.sensors.integrate import sampling_u95
from edge_agent.sensors.options import EnergyOptions, read_options, valid_calibration
from edge_agent.sensors.sampler import uncertainty_class
from edge_agent.sensors.sampling import Readings
from edge_agent.sensors.sensor import Sample
from tests.edge_agent.boards import recorded

S = 1_000_000_000
TODAY = datetime.date(2026, 6, 30)


def calibration(*, rmse: float = 0.01, date: str = "2026-06-01", gain: float = 1.0, offset: float = 0.0) -> Calibration:
    return Calibration(gain=gain, offset_mw=offset, rmse_fraction=rmse, reference="meter 7", date=date)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Sampling processes that are not started."""
    calls: list[Any] = []
    monkeypatch.setattr("edge_agent.sensors.sampler.start_module", lambda *a, **k: calls.append((a, k)))
    return calls


def sampler_of(tmp_path: Path, readings: Readings, *, options: EnergyOptions = EnergyOptions()) -> Sampler:  # noqa: B008
    """A sampler of an INA226 whose process has left `readings`."""
    place = Place(root=recorded(tmp_path / "board", "raspberry-pi-4-ina226"), options=options)
    sensor = survey(place).sensor
    assert sensor is not None
    sampler = Sampler(sensor, folder=tmp_path, today=TODAY)
    sampler._readings = readings
    return sampler


def steady(*, power_uw: int = 3_000_000, end_s: float = 2.0) -> Readings:
    times = range(0, round(end_s * S) + 1, S // 200)
    return Readings(samples=[Sample(time, (power_uw,)) for time in times])


@pytest.mark.usefixtures("started")
def test_a_joule_says_where_it_comes_from_gross_and_net(tmp_path: Path) -> None:
    sampler = sampler_of(tmp_path, steady())
    idle_mw = sampler.power_mw(start_ns=0, end_ns=S)
    assert idle_mw == pytest.approx(3000.0)
    energy = sampler.energy(start_ns=S // 2, end_ns=2 * S, n=100, idle_power_mw=2000.0)
    assert energy is not None
    assert energy.gross_mj == pytest.approx(45.0)
    assert energy.net_mj == pytest.approx(15.0)
    assert (energy.source, energy.scope, energy.rail) == ("ina2xx", "board_input", "ina226, shunt 10000 uOhm")
    assert (energy.samples, energy.coverage, energy.uncertainty_class) == (301, 1.0, "c")
    assert (energy.sampling_u95, energy.max_gap_s) == (pytest.approx(0.0), pytest.approx(0.005))
    assert Energy.from_json(energy.to_json()) == energy


@pytest.mark.usefixtures("started")
def test_a_calibration_corrects_gross_and_idle_alike_and_goes_into_the_record(tmp_path: Path) -> None:
    options = EnergyOptions(calibration=calibration(gain=1.1, offset=200.0))
    sampler = sampler_of(tmp_path, steady(), options=options)
    assert sampler.power_mw(start_ns=0, end_ns=S) == pytest.approx(3500.0)
    energy = sampler.energy(start_ns=0, end_ns=2 * S, n=1, idle_power_mw=3500.0)
    assert energy is not None
    assert (energy.mean_power_mw, energy.net_mj) == (pytest.approx(3500.0), pytest.approx(0.0))
    assert energy.calibration == options.calibration
    assert energy.uncertainty_class == "a"


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("readings", "kind", "cause"),
    [
        (Readings(fault=("vanished", "power1_input: removed")), "vanished", "power1_input: removed"),
        (steady(end_s=1.0), "uncovered", "201 readings do not cover the window; was the machine busy or asleep?"),
        (steady(power_uw=0), "stalled", "ina226, shunt 10000 uOhm told no energy in 1.5 s"),
    ],
)
def test_no_energy_has_a_typed_reason(tmp_path: Path, readings: Readings, kind: str, cause: str) -> None:
    sampler = sampler_of(tmp_path, readings)
    assert sampler.energy(start_ns=S // 2, end_ns=2 * S, n=100) is None
    assert sampler.fault == SensorFault(source="ina2xx", kind=kind, cause=cause)  # type: ignore[arg-type]


@pytest.mark.usefixtures("started")
def test_a_hole_in_the_readings_is_not_bridged(tmp_path: Path) -> None:
    readings = steady()
    readings.samples = [sample for sample in readings.samples if not 0.6 * S < sample.time_ns < 1.2 * S]
    sampler = sampler_of(tmp_path, readings)
    assert sampler.energy(start_ns=S // 2, end_ns=2 * S, n=100) is None
    assert sampler.power_mw(start_ns=S // 2, end_ns=2 * S) is None


@pytest.mark.usefixtures("started")
def test_a_calibration_that_makes_power_negative_is_refused(tmp_path: Path) -> None:
    sampler = sampler_of(tmp_path, steady(), options=EnergyOptions(calibration=calibration(offset=-4000.0)))
    assert sampler.energy(start_ns=0, end_ns=2 * S, n=1) is None
    assert sampler.fault is not None
    assert sampler.fault.cause == "the calibration turns 3000 mW into -1000 mW"


def test_the_sampling_process_gets_the_sensor_and_its_place(tmp_path: Path, started: list[Any]) -> None:
    sampler_of(tmp_path, steady())
    (module,), keywords = started[0]
    assert module == "edge_agent.sensors.sampling"
    assert keywords["arguments"][0] == "ina2xx"
    assert json.loads(keywords["arguments"][1])["root"] == str(tmp_path / "board")


@pytest.mark.parametrize(
    ("rmse", "external", "grade"),
    [(None, True, "c"), (0.02, True, "a"), (0.02, False, "b"), (0.05, True, "b"), (0.06, True, "c")],
)
def test_classes_follow_from_calibration_and_from_where_the_sensor_is(
    rmse: float | None, external: bool, grade: str
) -> None:
    assert uncertainty_class(None if rmse is None else calibration(rmse=rmse), external=external) == grade


@pytest.mark.parametrize(
    ("date", "valid"), [("2026-06-30", True), ("2026-01-01", True), ("2025-12-31", False), ("2026-07-01", False)]
)
def test_a_calibration_holds_for_180_days(date: str, valid: bool) -> None:
    options = EnergyOptions(calibration=calibration(date=date))
    assert (valid_calibration(options, today=TODAY) is not None) == valid


def test_sampling_uncertainty_is_that_of_batch_means_and_unknown_for_few_samples() -> None:
    times = [i * S // 100 for i in range(2001)]
    square = [6000.0 if i // 7 % 2 else 2500.0 for i in range(2001)]
    found = sampling_u95(times, square, start_ns=0, end_ns=20 * S)
    assert found is not None
    assert 0.001 < found < 0.05
    assert sampling_u95(times[:50], square[:50], start_ns=0, end_ns=S // 4) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "energy.json is not JSON"),
        ('{"sensr": "rapl"}', "unknown keys 'sensr'; allowed: version, sensor, scope, device"),
        ('{"scope": "room"}', "scope is 'room' but must be one of: package, module, board_input, wall"),
        ('{"interval_s": 0}', "interval_s is 0.0 but must be 0.001 to 60"),
        ('{"version": 2}', "energy.json has version 2 but this agent reads 1; update the agent"),
    ],
)
def test_options_that_cannot_be_used_are_named_with_their_file(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "energy.json").write_text(text)
    with pytest.raises(BadUsageError) as error:
        read_options(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/energy.json cannot be used: ")
    assert said in str(error.value)
    assert str(error.value).endswith("see docs/board.md, Energy, or remove the file")


def test_options_are_read_and_their_absence_is_no_error(tmp_path: Path) -> None:
    assert read_options(tmp_path) == EnergyOptions()
    options = EnergyOptions(command=("meter",), scope="wall", calibration=calibration())
    (tmp_path / "energy.json").write_text(options.to_json())
    assert read_options(tmp_path) == options


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"gain": 0.0}, "gain is 0.0 and rmse_fraction 0.01 but must be above 0 and 0 to 1"),
        ({"rmse_fraction": 1.5}, "gain is 1.0 and rmse_fraction 1.5 but must be"),
        ({"date": "last week"}, "date is 'last week' but must be a day such as 2026-01-31"),
    ],
)
def test_a_calibration_that_is_none_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match=said):
        Calibration.from_dict({**calibration().to_dict(), **changed})
