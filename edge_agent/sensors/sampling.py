"""The process that reads a sensor: `python -m edge_agent.sensors.sampling SOURCE PLACE FILE`, until stdin closes.

Readings come at jittered intervals, half to one and a half times the nominal, so that they beat with no load that
repeats; what each says is filed under the middle of the time that reading it took, since some drivers sleep in it.
"""

from __future__ import annotations

import json
import os
import random
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edge_agent.files import write_whole
from edge_agent.records import SensorFaultKind
from edge_agent.sensors.discovery import find_again
from edge_agent.sensors.place import Place
from edge_agent.sensors.sensor import Passed, Sample, SensorError

JITTER = 0.5
MAX_GAP_INTERVALS = 5.0
_MAX_SAMPLES = 500_000
_MAX_SILENCE_S = 3.0


class Readable(Protocol):
    """The half of an EnergySensor that sampling needs."""

    interval_s: float

    def read(self) -> tuple[int, ...]:
        """Return the raw values now; raise SensorError if there are none."""
        ...


@dataclass(slots=True, kw_only=True)
class Readings:
    """What sampling left: samples, how many readings failed, and the first fault (kind, cause) that tore a gap."""

    samples: list[Sample] = field(default_factory=list)
    fault: tuple[SensorFaultKind, str] | None = None
    failures: int = 0

    def to_json(self) -> bytes:
        """Return the readings for the parent."""
        rows = [[sample.time_ns, *sample.values] for sample in self.samples]
        return json.dumps({"rows": rows, "fault": self.fault, "failures": self.failures}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Readings:
        """Return what `to_json` wrote; raise ValueError, KeyError or TypeError for anything else."""
        data: dict[str, Any] = json.loads(text)
        samples = [Sample(row[0], tuple(row[1:])) for row in data["rows"]]
        fault = data["fault"]
        return cls(samples=samples, fault=None if fault is None else (fault[0], fault[1]), failures=data["failures"])


def wait_for_close(pause_s: float) -> bool:
    """Wait, and return whether stdin was closed meanwhile."""
    return bool(select.select([sys.stdin], [], [], pause_s)[0])


def sample(
    sensor: Readable,
    *,
    rng: random.Random,
    wait: Callable[[float], bool] = wait_for_close,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> Readings:
    """Return what a sensor said until `wait` says that it is enough, or the sensor was silent for 3 s.

    One bad reading costs its own moment only: the next one is tried in turn.

    Args:
        sensor: What to read, every `interval_s` on average.
        rng: The jitter.
        wait: Pauses for some seconds and returns whether to stop.
        clock: Nanoseconds, monotonic.
    """
    readings, fault = Readings(), None
    due = last_good = clock()
    while len(readings.samples) < _MAX_SAMPLES:
        before = clock()
        try:
            values = sensor.read()
        except SensorError as error:
            readings.failures += 1
            fault = fault or (error.kind, str(error))
            if before - last_good > _MAX_SILENCE_S * 1e9:
                break
        else:
            last_good = after = clock()
            readings.samples.append(Sample((before + after) // 2, values))
            if _is_gap(readings.samples, sensor.interval_s):
                readings.fault = readings.fault or fault
            fault = None
        now = clock()
        due = max(due + int(sensor.interval_s * rng.uniform(1 - JITTER, 1 + JITTER) * 1e9), now)
        if wait((due - now) / 1e9):
            break
    readings.fault = readings.fault or fault
    return readings


def _is_gap(samples: list[Sample], interval_s: float) -> bool:
    """Return whether the newest sample came too late to bridge to the one before; a fault between is worth keeping."""
    return len(samples) < 2 or samples[-1].time_ns - samples[-2].time_ns > MAX_GAP_INTERVALS * interval_s * 1e9


def _move_aside() -> None:
    """Leave the first cores to the model: sample on the last one that we may use."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[-1:])


def main() -> int:
    """Sample the sensor SOURCE at PLACE into FILE until stdin closes."""
    source, place, path = sys.argv[1:4]
    _move_aside()
    sensor = find_again(source, Place.from_json(place))
    if isinstance(sensor, Passed):
        readings = Readings(fault=("vanished", sensor.why))
    else:
        try:
            readings = sample(sensor, rng=random.Random())
        finally:
            sensor.close()
    write_whole(Path(path), readings.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
