from __future__ import annotations

import os
import random
import re
import threading
import time
from pathlib import Path

import pytest

from edge_agent.measuring import Supervision, measure_file
from edge_agent.records import Energy, RuntimeSettings
from edge_agent.sensors import Place, Sampler, find_sensor, sampling
from edge_agent.sensors.options import EnergyOptions
from edge_agent.sensors.rapl import RaplSensor, find_rapl
from edge_agent.sensors.sampler import coverage
from edge_agent.sensors.sensor import Sample
from tests.edge_agent.boards import rapl, raspberry_pi

S = 1_000_000_000


def sensor(root: Path, *, packages: tuple[int, ...] = (0,), range_uj: int = 1_000_000) -> RaplSensor:
    found = find_rapl(Place(root=rapl(root, packages=packages, range_uj=range_uj)))
    assert isinstance(found, RaplSensor)
    return found


def test_rapl_reads_the_packages_and_not_their_parts(tmp_path: Path) -> None:
    assert sensor(tmp_path, packages=(11, 22)).read() == (11, 22)


def test_a_board_without_a_sensor_has_none(tmp_path: Path) -> None:
    assert find_sensor(Place(root=raspberry_pi(tmp_path))) is None


def test_energy_is_the_difference_of_the_counter_between_two_moments(tmp_path: Path) -> None:
    samples = [Sample(i * S, (i * 10_000,)) for i in range(6)]
    assert sensor(tmp_path).energy_mj(samples, start_ns=S, end_ns=4 * S) == pytest.approx(30.0)
    assert sensor(tmp_path).energy_mj(samples, start_ns=S + S // 2, end_ns=2 * S) == pytest.approx(5.0)


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    values = [(i * 300_000) % 1_000_000 for i in range(12)]
    samples = [Sample(i * S, (value,)) for i, value in enumerate(values)]
    assert sensor(tmp_path).energy_mj(samples, start_ns=0, end_ns=11 * S) == pytest.approx(11 * 300.0)


def test_each_package_wraps_on_its_own(tmp_path: Path) -> None:
    samples = [Sample(0, (990_000, 100)), Sample(S, (10_000, 200))]
    both = sensor(tmp_path, packages=(0, 0))
    assert both.energy_mj(samples, start_ns=0, end_ns=S) == pytest.approx(20.1)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (1, 6), (9, 10)])
def test_energy_outside_the_samples_is_unknown(tmp_path: Path, start: int, end: int) -> None:
    samples = [Sample(i * S, (i,)) for i in range(5)]
    assert sensor(tmp_path).energy_mj(samples, start_ns=start * S, end_ns=end * S) is None
    assert sensor(tmp_path).energy_mj([], start_ns=0, end_ns=S) is None


def test_coverage_counts_only_gaps_of_up_to_five_intervals() -> None:
    samples = [Sample(int(t * S), (0,)) for t in (0, 1, 2, 8, 9, 10)]
    assert coverage(samples, start_ns=0, end_ns=10 * S, interval_s=1.0) == pytest.approx(0.4)
    assert coverage(samples, start_ns=0, end_ns=2 * S, interval_s=1.0) == pytest.approx(1.0)


class Meter:
    """A machine that draws constant power: a thread counts up its RAPL file, wrapping."""

    def __init__(self, root: Path, *, power_mw: float, range_uj: int) -> None:
        rapl(root, packages=(0,), range_uj=range_uj)
        self._fd = os.open(root / "sys/class/powercap/intel-rapl:0/energy_uj", os.O_WRONLY)
        self._rate, self._range = power_mw / 1e6, range_uj  # µJ per ns
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._fd)

    def _count(self) -> None:
        while not self._stop.wait(0.001):
            counter = int(time.perf_counter_ns() * self._rate) % self._range
            os.pwrite(self._fd, b"%020d\n" % counter, 0)  # in place, as a kernel would answer


def sampled_energy(root: Path, *, start_s: float) -> Energy | None:
    found = find_sensor(Place(root=root))
    assert found is not None
    sampler = Sampler(found, folder=root)
    time.sleep(start_s)
    start = time.perf_counter_ns()
    time.sleep(1.2)
    energy = sampler.energy(start_ns=start, end_ns=time.perf_counter_ns(), n=12, idle_power_mw=1000.0)
    sampler.close()
    return energy


def test_sampling_a_constant_load_gives_its_power_across_wraps(tmp_path: Path) -> None:
    with Meter(tmp_path, power_mw=5000.0, range_uj=5_000_000):
        # A busy machine starts or stalls the sampler late: then it says None.
        tries = (sampled_energy(tmp_path, start_s=start_s) for start_s in (0.7, 2.0, 4.0, 8.0))
        energy = next((energy for energy in tries if energy is not None), None)
    assert energy is not None
    assert energy.mean_power_mw == pytest.approx(5000.0, rel=0.1)
    assert energy.gross_mj * 12 == pytest.approx(6000.0, rel=0.1)
    assert energy.net_mj == pytest.approx(energy.gross_mj * 0.8, rel=0.1)
    assert (energy.source, energy.scope) == ("rapl", "package")
    assert energy.samples >= 10


def test_a_measurement_with_a_sensor_has_energy_and_without_has_none(tmp_path: Path, model_path: Path) -> None:
    with Meter(tmp_path, power_mw=5000.0, range_uj=50_000_000):
        tries = (
            measure_file(
                model_path,
                tier="probe",
                settings=RuntimeSettings(),
                work=tmp_path,
                sensor=find_sensor(Place(root=tmp_path)),
            )
            for _ in range(4)
        )
        measured = next(measured for measured in tries if measured.energy is not None)
    assert measured.energy is not None
    assert measured.latency is not None
    assert measured.energy.gross_mj == pytest.approx(5000.0 * measured.latency.mean_ms / 1e3, rel=0.1)
    assert measure_file(model_path, tier="probe", settings=RuntimeSettings(), work=tmp_path).energy is None


def test_a_sensor_that_vanishes_gives_no_energy_and_no_error(tmp_path: Path) -> None:
    rapl(tmp_path)
    found = find_sensor(Place(root=tmp_path))
    assert found is not None
    sampler = Sampler(found, folder=tmp_path)
    start = time.perf_counter_ns()
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("n/a")
    assert sampler.energy(start_ns=start, end_ns=start + S // 10, n=1) is None
    sampler.close()
    assert sampler.fault is not None
    assert sampler.fault.kind in ("not_a_number", "vanished")
    assert "energy_uj" in sampler.fault.cause


def test_sampling_intervals_are_jittered_by_half(tmp_path: Path) -> None:
    now_ns, pauses = 0, []

    def wait(pause_s: float) -> bool:
        nonlocal now_ns
        now_ns += round(pause_s * S)
        pauses.append(pause_s)
        return len(pauses) == 500

    readings = sampling.sample(sensor(tmp_path), rng=random.Random(0), wait=wait, clock=lambda: now_ns)
    assert len(readings.samples) == 500
    assert 0.025 <= min(pauses) < 0.026
    assert 0.074 < max(pauses) <= 0.075


def test_sampling_that_falls_behind_goes_on_at_once(tmp_path: Path) -> None:
    now_ns, pauses = 0, []

    def clock() -> int:  # every look at it takes longer than an interval
        nonlocal now_ns
        now_ns += S // 10
        return now_ns

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        return len(pauses) == 20

    assert len(sampling.sample(sensor(tmp_path), rng=random.Random(0), wait=wait, clock=clock).samples) == 20
    assert set(pauses) == {0.0}  # select() refuses to wait for less


@pytest.mark.slow
def test_a_measurement_whose_sensor_vanishes_keeps_its_latency_and_says_why_it_has_no_energy(
    tmp_path: Path, model_path: Path
) -> None:
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    rapl(tmp_path)
    supervision = Supervision(before_timing=counter.unlink)
    measured = measure_file(
        model_path,
        tier="probe",
        settings=RuntimeSettings(),
        work=tmp_path,
        sensor=find_sensor(Place(root=tmp_path)),
        supervision=supervision,
    )
    assert (measured.verdict.status, measured.energy) == ("ok", None)
    assert measured.latency is not None
    assert measured.sensor_fault is not None
    assert (measured.sensor_fault.source, measured.sensor_fault.kind) == ("rapl", "vanished")


def test_the_examples_of_energy_json_in_the_docs_are_accepted() -> None:
    text = (Path(__file__).parent.parent.parent / "docs/board.md").read_text()
    examples = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    options = [EnergyOptions.from_json(example) for example in examples]
    assert [bool(option.command) for option in options] == [True, False]
    assert options[1].calibration is not None
