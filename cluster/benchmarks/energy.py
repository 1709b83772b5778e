"""E4: how far sampling misses the energy of a load that repeats, for each sensor's own way of being read.

The load is a square wave of 2.5 and 6 W, as of a model that runs again and again, with periods of 10 to 100 ms and any
phase, over the 20 s of tier `rank`. The agent's own sampling loop reads generated sensors on the benchmark's clock, so
that no other process disturbs it and 20 s take none; what they answer, and how long that takes, is what the chips' data
sheets and drivers say. The energy is the agent's own integral. No hardware is involved.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cluster.benchmarks.row import Row
from edge_agent.sensors.ina2xx import INTERVAL_S
from edge_agent.sensors.ina3221 import SECONDS_A_RAIL
from edge_agent.sensors.integrate import counter_mj, trapezoid_mj
from edge_agent.sensors.pi_pmic import MAILBOX_INTERVAL_S
from edge_agent.sensors.rapl import RaplSensor
from edge_agent.sensors.sampling import sample

LOW_MW, HIGH_MW = 2500.0, 6000.0
PERIODS_S = (0.010, 0.100)
WINDOW_S = 20.0
TRIALS = 200
_VOLT_MV = 5000
_CONVERSION_S = 0.0011  # of an INA3221's voltage or current
_CYCLE_S = 6 * _CONVERSION_S


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareWave:
    """Power over time in mW: high for the first half of each period."""

    period_s: float
    phase: float

    def energy_mj(self, end_s: float) -> float:
        """Return the exact energy from 0 to a moment."""
        cycles = end_s / self.period_s + self.phase
        return self._until(cycles) - self._until(self.phase)

    def _until(self, cycles: float) -> float:
        whole, part = divmod(cycles, 1.0)
        high = 0.5 * whole + min(part, 0.5)
        return self.period_s * (HIGH_MW * high + LOW_MW * (cycles - high))

    def mean_mw(self, start_s: float, end_s: float) -> float:
        """Return the mean power between two moments."""
        return (self.energy_mj(end_s) - self.energy_mj(start_s)) / (end_s - start_s)


class Clock:
    """The benchmark's own time."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now_s = 0.0

    def __call__(self) -> int:
        """Return the time in ns."""
        return round(self.now_s * 1e9)


Read = Callable[[SquareWave, Clock], int]


def read_ina3221(load: SquareWave, clock: Clock) -> int:
    """Return mW of a rail: each file sleeps until a cycle of 6.6 ms ends, a sixth of which saw the current."""
    clock.now_s = (clock.now_s // _CYCLE_S + 2) * _CYCLE_S  # voltage, then current
    current_ma = round(load.mean_mw(clock.now_s - _CONVERSION_S, clock.now_s) / _VOLT_MV * 1000 / 8) * 8
    return round(current_ma * _VOLT_MV / 1000)


def read_four_rails(load: SquareWave, clock: Clock) -> int:
    """Return mW of an AGX Orin's four rails, read one after the other, here each with a quarter of the power."""
    return round(sum(read_ina3221(load, clock) for _ in range(4)) / 4)


def read_pmic(load: SquareWave, clock: Clock) -> int:
    """Return mW as the firmware's ADC sees it at a moment, after 1 ms in the mailbox."""
    clock.now_s += 0.001
    return round(load.mean_mw(clock.now_s - 5e-4, clock.now_s - 5e-4 + 2e-5))


def read_ina226(load: SquareWave, clock: Clock) -> int:
    """Return mW of the last whole average of 4 readings of 588 µs, voltage and current in turn."""
    clock.now_s += 0.0003
    end_s = clock.now_s // 0.0047 * 0.0047
    return round(load.mean_mw(end_s - 0.0047, end_s)) if end_s > 0 else round(load.mean_mw(0.0, 0.0047))


def read_rapl(load: SquareWave, clock: Clock) -> int:
    """Return µJ of a counter that the package moves on every millisecond."""
    clock.now_s += 0.00003
    return round(load.energy_mj(clock.now_s // 0.001 * 0.001) * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of sensor: its name, how it is read and how often, and whether it counts energy."""

    name: str
    read: Read
    interval_s: float
    counts: bool = False


KINDS = (
    Kind(name="ina3221", read=read_ina3221, interval_s=SECONDS_A_RAIL),
    Kind(name="ina3221 with four rails", read=read_four_rails, interval_s=4 * SECONDS_A_RAIL),
    Kind(name="pi-pmic", read=read_pmic, interval_s=MAILBOX_INTERVAL_S),
    Kind(name="ina226", read=read_ina226, interval_s=INTERVAL_S),
    Kind(name="rapl", read=read_rapl, interval_s=RaplSensor.interval_s, counts=True),
)


class Generated:
    """A generated sensor, for the agent's loop to read."""

    def __init__(self, kind: Kind, *, load: SquareWave, clock: Clock) -> None:
        """Take how it is read, and of what."""
        self.interval_s = kind.interval_s
        self._read, self._load, self._clock = kind.read, load, clock

    def read(self) -> tuple[int, ...]:
        """Return the value now, the clock moved on by what reading takes."""
        return (self._read(self._load, self._clock),)


def integration_error(kind: Kind, load: SquareWave, *, seed: int, window_s: float = WINDOW_S) -> float:
    """Return by which share of the true energy the agent's integral of one window is off."""
    clock = Clock()
    start_s, end_s = 0.5, 0.5 + window_s

    def wait(pause_s: float) -> bool:
        clock.now_s += pause_s
        return clock.now_s > end_s + 0.5

    readings = sample(Generated(kind, load=load, clock=clock), rng=random.Random(seed), wait=wait, clock=clock)
    times, values = [one.time_ns for one in readings.samples], [one.values for one in readings.samples]
    window = {"start_ns": round(start_s * 1e9), "end_ns": round(end_s * 1e9)}
    if kind.counts:
        energy_mj = counter_mj(times, values, ranges_uj=[1 << 60], **window)
    else:
        energy_mj = trapezoid_mj(times, [float(power) for (power,) in values], **window)
    assert energy_mj is not None
    true_mj = load.energy_mj(end_s) - load.energy_mj(start_s)
    return abs(energy_mj - true_mj) / true_mj


def errors(kind: Kind, *, trials: int = TRIALS, window_s: float = WINDOW_S) -> list[float]:
    """Return the errors over loads of random period and phase; the same at every call."""
    rng = random.Random(4)
    loads = [SquareWave(period_s=rng.uniform(*PERIODS_S), phase=rng.random()) for _ in range(trials)]
    return [integration_error(kind, load, seed=seed, window_s=window_s) for seed, load in enumerate(loads)]


def integration(trials: int = TRIALS) -> list[Row]:
    """E4: the 95th percentile of the integration's error, a row for each kind of sensor."""
    return [_row(kind, trials=trials) for kind in KINDS]


def _row(kind: Kind, *, trials: int) -> Row:
    found = errors(kind, trials=trials)
    detail = (
        f"{kind.name}, {1 / kind.interval_s:.0f} jittered readings a second; {len(found)} square waves of 2.5 and 6 W, "
        f"periods 10 to 100 ms, {WINDOW_S:.0f} s; median {np.median(found):.2%}, worst {max(found):.2%}; generated"
    )
    value = float(np.percentile(found, 95))
    return Row(name="E4", figure="energy missed by sampling, p95", value=value, must=0.03, aim=0.02, detail=detail)
