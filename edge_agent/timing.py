"""Warm-up and the timed window: how a callable is timed. Knows nothing of onnxruntime; the clock is an argument."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.statistics import Times, mean_ci95
from edge_agent.tiers import TierPlan

CAPACITY = 1 << 19
_STEADY_WINDOW_S = 1.0

Clock = Callable[[], int]
Call = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """What the warm-up showed: the first call alone, how many calls, and how long a warm call takes."""

    cold_start_ms: float
    n: int
    median_ms: float
    steady: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The timed window: nanoseconds in time order, each of `batch` calls between two looks at the clock."""

    times_ns: npt.NDArray[np.int64]
    batch: int
    start_ns: int
    end_ns: int

    @property
    def n(self) -> int:
        """How many calls were timed."""
        return len(self.times_ns) * self.batch

    @property
    def times_ms(self) -> Times:
        """Milliseconds per call; made on demand, so that the copy is not taken for the model's memory."""
        times_ms: Times = self.times_ns / (1e6 * self.batch)
        return times_ms


def warm_up(call: Call, *, plan: TierPlan, clock: Clock = time.perf_counter_ns) -> Warmup:
    """Call until warm (see TierPlan) and say how that went."""
    begin = clock()
    call()
    cold_ns = clock() - begin
    window: list[int] = []
    medians: list[float] = []
    count, window_begin = 1, clock()
    while True:
        before = clock()
        call()
        after = clock()
        window.append(after - before)
        count += 1
        if after - window_begin >= _STEADY_WINDOW_S * 1e9:
            medians.append(float(np.median(window)))
            window, window_begin = [], after
        elapsed_s = (after - begin) / 1e9
        enough = count >= plan.warmup_n and elapsed_s >= plan.min_warmup_s
        steady = plan.steady_fraction is None or _is_steady(medians, plan.steady_fraction)
        if (enough and steady) or elapsed_s >= plan.max_warmup_s:
            median_ns = float(np.median(window)) if window else medians[-1]
            return Warmup(cold_start_ms=cold_ns / 1e6, n=count, median_ms=median_ns / 1e6, steady=enough and steady)


def _is_steady(medians: list[float], fraction: float) -> bool:
    return len(medians) >= 2 and abs(medians[-1] - medians[-2]) < fraction * medians[-2]


def choose_batch(median_ms: float, *, plan: TierPlan, capacity: int = CAPACITY) -> int:
    """Return how many calls to put between two looks at the clock: 1, unless so many times would not fit in memory."""
    window_s = plan.min_window_s if plan.ci_fraction is None else plan.max_window_s
    expected = 1.2 * window_s * 1e3 / max(median_ms, 1e-6)
    return max(1, math.ceil(expected / capacity))


def time_calls(
    call: Call,
    *,
    plan: TierPlan,
    buffer: npt.NDArray[np.int64],
    batch: int = 1,
    clock: Clock = time.perf_counter_ns,
) -> Window:
    """Time calls until the plan's window is full or its confidence interval narrow enough.

    Args:
        call: One inference.
        plan: When to end.
        buffer: Where times go, int64, shape (capacity,); made by the caller before memory is measured.
        batch: Calls between two looks at the clock.
        clock: Nanoseconds, monotonic.
    """
    target_s, filled = plan.min_window_s, 0
    start = clock()
    while True:
        filled, end = _fill(
            call, buffer=buffer, filled=filled, start=start, target_s=target_s, plan=plan, batch=batch, clock=clock
        )
        full = filled == len(buffer) or (end - start) / 1e9 >= plan.max_window_s
        if full or plan.ci_fraction is None or _ci_half_width(buffer[:filled]) <= plan.ci_fraction:
            return Window(times_ns=buffer[:filled], batch=batch, start_ns=start, end_ns=end)
        target_s = min(2 * target_s, plan.max_window_s)


def _ci_half_width(times: npt.NDArray[np.int64]) -> float:
    low, high = mean_ci95(times)
    return (high - low) / 2 / float(times.mean())


def _fill(
    call: Call,
    *,
    buffer: npt.NDArray[np.int64],
    filled: int,
    start: int,
    target_s: float,
    plan: TierPlan,
    batch: int,
    clock: Clock,
) -> tuple[int, int]:
    target_end, hard_end = start + int(target_s * 1e9), start + int(plan.max_window_s * 1e9)
    rest, capacity = range(batch - 1), len(buffer)
    min_values = math.ceil(plan.min_n / batch)
    while True:
        before = clock()
        call()
        for _ in rest:
            call()
        after = clock()
        buffer[filled] = after - before
        filled += 1
        if filled == capacity or after >= hard_end or (after >= target_end and filled >= min_values):
            return filled, after
