"""The parent's side of sampling: starts the process, ends it, and turns what it left into energy or a fault."""

from __future__ import annotations

import datetime
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Literal

from edge_agent.files import read_tail
from edge_agent.launch import kill_group, start_module
from edge_agent.records import Calibration, Energy, SensorFault, SensorFaultKind
from edge_agent.sensors.integrate import sampling_u95
from edge_agent.sensors.options import valid_calibration
from edge_agent.sensors.power import PowerSensor
from edge_agent.sensors.sampling import MAX_GAP_INTERVALS, Readings
from edge_agent.sensors.sensor import EnergySensor, Sample

_MIN_COVERAGE = 0.95
_CLASS_A, _CLASS_B = 0.02, 0.05
_NO_CALIBRATION = Calibration(rmse_fraction=0.0, reference="none", date="2000-01-01")


class Sampler:
    """Samples from construction until `close` or the first call of `energy` or `power_mw`.

    `fault` says, after `energy` returned None, why.
    """

    def __init__(self, sensor: EnergySensor, *, folder: Path, today: datetime.date | None = None) -> None:
        """Start the sampling process at the sensor's place; `folder` takes its files."""
        self.fault: SensorFault | None = None
        self._sensor, self._folder = sensor, folder
        self._calibration = valid_calibration(sensor.place.options, today=today or datetime.date.today())
        self._readings: Readings | None = None
        with (folder / "sampler-stderr").open("wb") as errors:
            arguments = [sensor.source, sensor.place.to_json(), str(folder / "samples.json")]
            self._process = start_module("edge_agent.sensors.sampling", arguments=arguments, stderr=errors)

    def power_mw(self, *, start_ns: int, end_ns: int) -> float | None:
        """Return the mean power between two moments, calibrated; None if it is not known."""
        samples = self._stop().samples
        gross_mj = self._sensor.energy_mj(samples, start_ns=start_ns, end_ns=end_ns)
        if gross_mj is None or end_ns <= start_ns or not self._covers(samples, start_ns=start_ns, end_ns=end_ns):
            return None
        return self._corrected(gross_mj / ((end_ns - start_ns) / 1e9))

    def energy(self, *, start_ns: int, end_ns: int, n: int, idle_power_mw: float | None = None) -> Energy | None:
        """Return the energy per inference of a window of `n` inferences; None, and a `fault`, if it is not known."""
        readings, duration_s = self._stop(), (end_ns - start_ns) / 1e9
        samples = readings.samples
        raw_mj = self._sensor.energy_mj(samples, start_ns=start_ns, end_ns=end_ns)
        if raw_mj is None or not self._covers(samples, start_ns=start_ns, end_ns=end_ns):
            self._blame(*_reason(readings))
            return None
        if raw_mj <= 0:
            self._blame("stalled", f"{self._sensor.rail} told no energy in {duration_s:.1f} s")
            return None
        power_mw = self._corrected(raw_mj / duration_s)
        if power_mw <= 0:
            self._blame("implausible", f"the calibration turns {raw_mj / duration_s:.0f} mW into {power_mw:.0f} mW")
            return None
        net_mw = None if idle_power_mw is None else power_mw - idle_power_mw
        within = [sample for sample in samples if start_ns <= sample.time_ns <= end_ns]
        return Energy(
            source=self._sensor.source,
            scope=self._sensor.scope,
            gross_mj=power_mw * duration_s / n,
            net_mj=None if net_mw is None else net_mw * duration_s / n,
            mean_power_mw=power_mw,
            idle_power_mw=idle_power_mw,
            samples=len(within),
            coverage=self._coverage(samples, start_ns=start_ns, end_ns=end_ns),
            uncertainty_class=uncertainty_class(self._calibration, external=self._sensor.external),
            rail=self._sensor.rail,
            calibration=self._calibration,
            sampling_u95=self._sampling_u95(samples, start_ns=start_ns, end_ns=end_ns),
            max_gap_s=max(((b.time_ns - a.time_ns) / 1e9 for a, b in pairwise(within)), default=None),
        )

    def close(self) -> None:
        """End the sampling process and what it started; harmless if it ended already."""
        kill_group(self._process)

    def _corrected(self, power_mw: float) -> float:
        found = self._calibration or _NO_CALIBRATION
        return found.gain * power_mw + found.offset_mw

    def _covers(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> bool:
        return self._coverage(samples, start_ns=start_ns, end_ns=end_ns) >= _MIN_COVERAGE

    def _coverage(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float:
        return coverage(samples, start_ns=start_ns, end_ns=end_ns, interval_s=self._sensor.interval_s)

    def _sampling_u95(self, samples: list[Sample], *, start_ns: int, end_ns: int) -> float | None:
        if not isinstance(self._sensor, PowerSensor):
            return None
        times = [sample.time_ns for sample in samples]
        powers = [self._sensor.power_mw(sample.values) for sample in samples]
        return sampling_u95(times, powers, start_ns=start_ns, end_ns=end_ns)

    def _blame(self, kind: SensorFaultKind, cause: str) -> None:
        self.fault = SensorFault(source=self._sensor.source, kind=kind, cause=cause)

    def _stop(self) -> Readings:
        if self._readings is None:
            time.sleep(2 * self._sensor.interval_s)  # one more reading beyond the window's end
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(timeout=5 + 2 * self._sensor.interval_s)
                self._readings = Readings.from_json((self._folder / "samples.json").read_bytes())
            except (subprocess.TimeoutExpired, OSError, ValueError, KeyError, TypeError):
                said = read_tail(self._folder / "sampler-stderr") or "and said nothing"
                self._readings = Readings(fault=("failing", f"the sampling process left no readings: {said}"))
        return self._readings


def uncertainty_class(calibration: Calibration | None, *, external: bool) -> Literal["a", "b", "c"]:
    """Return a for an external meter known to 2 %, b for any sensor calibrated to 5 %, else c."""
    if calibration is None or calibration.rmse_fraction > _CLASS_B:
        return "c"
    return "a" if external and calibration.rmse_fraction <= _CLASS_A else "b"


def coverage(samples: list[Sample], *, start_ns: int, end_ns: int, interval_s: float) -> float:
    """Return the share of a window that lies in gaps between samples of at most five nominal intervals."""
    limit_ns, covered = MAX_GAP_INTERVALS * interval_s * 1e9, 0
    for before, after in pairwise(samples):
        if after.time_ns - before.time_ns <= limit_ns:
            covered += max(0, min(after.time_ns, end_ns) - max(before.time_ns, start_ns))
    return covered / max(end_ns - start_ns, 1)


def _reason(readings: Readings) -> tuple[SensorFaultKind, str]:
    if readings.fault is not None:
        return readings.fault
    return "uncovered", f"{len(readings.samples)} readings do not cover the window; was the machine busy or asleep?"
