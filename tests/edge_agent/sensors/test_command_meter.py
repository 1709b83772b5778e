"""External meters: programs that print readings, and how they fail."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edge_agent.records import Energy
from edge_agent.sensors import Place, Sampler, survey
from edge_agent.sensors.command_meter import CommandMeter, parse
from edge_agent.sensors.options import EnergyOptions
from edge_agent.sensors.sensor import Sample, SensorError

S = 1_000_000_000


def meter(script: str, *, interval_s: float = 0.05) -> Place:
    return Place(options=EnergyOptions(command=("/bin/sh", "-c", script), interval_s=interval_s))


def test_a_meter_comes_before_every_sensor_on_board_and_measures_the_wall() -> None:
    found = survey(meter("while echo power_mw 4512.5; do sleep 0.02; done")).sensor
    assert isinstance(found, CommandMeter)
    assert (found.scope, found.external, found.rail) == ("wall", True, "sh")
    assert found.read() == (0, 4_512_500)
    found.close()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 3", "sh ended"),
        ("echo 12 W; sleep 5", "a reading is '12 W' but must be `power_mw NUMBER` or `energy_mj NUMBER`"),
        ("echo power_mw -3; sleep 5", "a reading is 'power_mw -3' but must be"),
        ("echo power_mw nan; sleep 5", "a reading is 'power_mw nan' but must be"),
        ("while printf xxxxxxxxxxxxxxxxxxxx; do :; done", "printed a line of over 200 bytes"),
    ],
)
def test_a_meter_that_does_not_answer_is_passed_over_with_its_reason(script: str, why: str) -> None:
    passed = survey(meter(script)).passed["command"]
    assert why in passed.why
    assert "run it by hand: /bin/sh" in (passed.fix or "")


def test_a_meter_that_is_silent_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.sensors.command_meter._FIRST_LINE_S", 0.1)
    assert survey(meter("sleep 9", interval_s=0.01)).passed["command"].why == "sh printed no reading for 0.15 s"


def test_a_program_that_is_not_there_is_named() -> None:
    place = Place(options=EnergyOptions(command=("/no/meter",)))
    assert survey(place).passed["command"].why == "/no/meter: No such file or directory"


def test_the_newest_of_several_readings_counts() -> None:
    found = CommandMeter(meter(r"printf 'power_mw 1\npower_mw 2\npower_mw 3\npower_m'; sleep 9"))
    assert found.read() == (0, 3000)
    found.close()


def test_closing_ends_the_program() -> None:
    found = CommandMeter(meter("while echo power_mw $$; do sleep 0.02; done"))
    group = found.read()[1] // 1000
    found.close()
    assert not Path(f"/proc/{group}").exists()


def test_totals_become_energy_by_their_difference_and_powers_by_their_area() -> None:
    found = CommandMeter(meter("true"))
    totals = [Sample(i * S, (1, 2_000_000 * i)) for i in range(4)]
    powers = [Sample(i * S, (0, 2_000_000)) for i in range(4)]
    assert found.energy_mj(totals, start_ns=S, end_ns=3 * S) == pytest.approx(4000.0)
    assert found.energy_mj(powers, start_ns=S, end_ns=3 * S) == pytest.approx(4000.0)
    assert found.energy_mj([*totals[:2], *powers[2:]], start_ns=S, end_ns=3 * S) is None
    assert found.energy_mj(totals[::-1], start_ns=S, end_ns=3 * S) is None


def test_a_line_that_is_no_reading_has_its_kind() -> None:
    with pytest.raises(SensorError, match="a reading is 'hello' but must be") as error:
        parse(b"hello")
    assert error.value.kind == "not_a_number"


def sampled(folder: Path, *, start_s: float) -> Energy | None:
    sampler = Sampler(CommandMeter(meter("while echo power_mw 3000; do sleep 0.02; done")), folder=folder)
    time.sleep(start_s)
    start = time.perf_counter_ns()
    time.sleep(0.4)
    energy = sampler.energy(start_ns=start, end_ns=time.perf_counter_ns(), n=10)
    sampler.close()
    return energy


@pytest.mark.slow
def test_a_sampled_meter_gives_energy(tmp_path: Path) -> None:
    # A busy machine starts the sampler late: then it says None.
    tries = (sampled(tmp_path, start_s=start_s) for start_s in (0.7, 2.0, 4.0, 8.0))
    energy = next(energy for energy in tries if energy is not None)
    assert energy.mean_power_mw == pytest.approx(3000.0)
    assert energy.gross_mj == pytest.approx(120.0, rel=0.25)
    assert (energy.source, energy.scope, energy.rail, energy.uncertainty_class) == ("command", "wall", "sh", "c")
