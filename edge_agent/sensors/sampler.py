"""Sampling a sensor from a process of its own, at jittered intervals, so that it beats with nothing."""

from __future__ import annotations

import json
import random
import select
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from edge_agent.files import write_whole
from edge_agent.launch import kill_group, start_module
from edge_agent.records import Energy
from edge_agent.sensors.discovery import SENSORS
from edge_agent.sensors.sensor import EnergySensor, Sample

_JITTER = 0.5
_MAX_GAP_INTERVALS = 5.0
_MIN_COVERAGE = 0.95
_MAX_SAMPLES = 200_000


class Sampler:
    """Samples from construction until `close` or the first call of `energy`."""

    def __init__(self, sensor: EnergySensor, *, folder: Path, root: Path = Path("/")) -> None:
        """Start the sampling process; `folder` takes its file."""
        self._sensor, self._path = sensor, folder / "samples.json"
        self._samples: list[Sample] | None = None
        with (folder / "sampler-stderr").open("wb") as errors:
            arguments = [sensor.source, str(root), str(self._path)]
            self._process = start_module("edge_agent.sensors.sampler", arguments=arguments, stderr=errors)

    def power_mw(self, *, start_ns: int, end_ns: int) -> float | None:
        """Return the mean power between two moments, None if it is not known."""
        energy_mj = self._sensor.energy_mj(self._stop(), start_ns=start_ns, end_ns=end_ns)
        return None if energy_mj is None or end_ns <= start_ns else energy_mj / ((end_ns - start_ns) / 1e9)

    def energy(self, *, start_ns: int, end_ns: int, n: int, idle_power_mw: float | None = None) -> Energy | None:
        """Return the energy per inference of a window of `n` inferences, None if the samples do not cover it."""
        samples, duration_s = self._stop(), (end_ns - start_ns) / 1e9
        gross_mj = self._sensor.energy_mj(samples, start_ns=start_ns, end_ns=end_ns)
        share = coverage(samples, start_ns=start_ns, end_ns=end_ns, interval_s=self._sensor.interval_s)
        if gross_mj is None or share < _MIN_COVERAGE:
            return None
        net_mj = None if idle_power_mw is None else gross_mj - idle_power_mw * duration_s
        return Energy(
            source=self._sensor.source,
            scope=self._sensor.scope,
            gross_mj=gross_mj / n,
            net_mj=None if net_mj is None else net_mj / n,
            mean_power_mw=gross_mj / duration_s,
            idle_power_mw=idle_power_mw,
            samples=sum(start_ns <= sample.time_ns <= end_ns for sample in samples),
            coverage=share,
        )

    def close(self) -> None:
        """End the sampling process; harmless if it ended already."""
        kill_group(self._process)

    def _stop(self) -> list[Sample]:
        if self._samples is None:
            time.sleep(2 * self._sensor.interval_s)  # one more reading beyond the window's end
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(timeout=5)
                rows = json.loads(self._path.read_bytes())
            except (subprocess.TimeoutExpired, OSError, ValueError):
                rows = []
            self._samples = [Sample(row[0], tuple(row[1:])) for row in rows]
        return self._samples


def coverage(samples: list[Sample], *, start_ns: int, end_ns: int, interval_s: float) -> float:
    """Return the share of a window that lies in gaps between samples of at most five nominal intervals."""
    limit_ns, covered = _MAX_GAP_INTERVALS * interval_s * 1e9, 0
    for before, after in pairwise(samples):
        if after.time_ns - before.time_ns <= limit_ns:
            covered += max(0, min(after.time_ns, end_ns) - max(before.time_ns, start_ns))
    return covered / max(end_ns - start_ns, 1)


def sample_until_closed(sensor: EnergySensor, *, rng: random.Random) -> list[list[int]]:
    """Return rows of time and raw values, read at jittered intervals until stdin closes or the sensor goes."""
    rows: list[list[int]] = []
    while len(rows) < _MAX_SAMPLES:
        try:
            rows.append([time.perf_counter_ns(), *sensor.read()])
        except (OSError, ValueError):
            break
        pause_s = sensor.interval_s * rng.uniform(1 - _JITTER, 1 + _JITTER)
        if select.select([sys.stdin], [], [], pause_s)[0]:
            break
    return rows


def main() -> int:
    """Sample SENSOR under ROOT into FILE until stdin closes."""
    name, root, path = sys.argv[1:4]
    sensor = SENSORS[name](Path(root))
    rows = sample_until_closed(sensor, rng=random.Random()) if sensor else []
    write_whole(Path(path), json.dumps(rows).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
