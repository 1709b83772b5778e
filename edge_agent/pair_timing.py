"""Timing a pair: a prepared order of steps, gone through again and again, each inference timed for itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_agent.tiers import TierPlan
from edge_agent.timing import Clock

CAPACITY = 1 << 21

Step = Callable[[int], object]
HalfWidth = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepTimes:
    """Nanoseconds of the recorded steps in time order, and which steps of the order these were."""

    times_ns: npt.NDArray[np.int64] = field(repr=False)
    steps: npt.NDArray[np.int64] = field(repr=False)
    n: int
    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        """How long the window was."""
        return (self.end_ns - self.start_ns) / 1e9


def choose_stride(step_ms: float, *, window_s: float, steps: int, capacity: int = CAPACITY) -> int:
    """Return of how many inferences one is recorded: 1, unless their times would not fit into the buffer.

    It shares no divisor with the number of steps, so that in time every step is recorded.
    """
    stride = max(1, math.ceil(1.2 * window_s * 1e3 / max(step_ms, 1e-6) / capacity))
    while math.gcd(stride, steps) != 1:
        stride += 1
    return stride


def time_steps(
    step: Step,
    *,
    steps: int,
    plan: TierPlan,
    buffer: npt.NDArray[np.int64],
    stride: int = 1,
    half_width: HalfWidth | None = None,
    clock: Clock = time.perf_counter_ns,
) -> StepTimes:
    """Go through steps 0 to `steps` - 1 over and over until the plan's window is full or its target is reached.

    Args:
        step: Does one inference.
        steps: Length of the order.
        plan: When to end; `min_n` counts recorded inferences.
        buffer: Where times go, int64, shape (capacity,); made by the caller before memory is measured.
        stride: Of how many inferences one is recorded.
        half_width: From times and their steps, the confidence interval's, as a share; None: only the window counts.
        clock: Nanoseconds, monotonic.
    """
    target_s, filled = plan.min_window_s, 0
    start = clock()
    while True:
        filled, end = _fill(
            step,
            steps=steps,
            plan=plan,
            buffer=buffer,
            filled=filled,
            stride=stride,
            start=start,
            target_s=target_s,
            clock=clock,
        )
        recorded = (np.arange(1, filled + 1) * stride - 1) % steps
        full = filled == len(buffer) or (end - start) / 1e9 >= plan.max_window_s
        reached = plan.ci_fraction is None or half_width is None
        if full or reached or (half_width and half_width(buffer[:filled], recorded) <= (plan.ci_fraction or 0.0)):
            times = buffer[:filled].copy()
            return StepTimes(times_ns=times, steps=recorded, n=filled * stride, start_ns=start, end_ns=end)
        target_s = min(2 * target_s, plan.max_window_s)


def _fill(
    step: Step,
    *,
    steps: int,
    plan: TierPlan,
    buffer: npt.NDArray[np.int64],
    filled: int,
    stride: int,
    start: int,
    target_s: float,
    clock: Clock,
) -> tuple[int, int]:
    target_end, hard_end = start + int(target_s * 1e9), start + int(plan.max_window_s * 1e9)
    capacity, rest, at = len(buffer), range(stride - 1), filled * stride % steps
    while True:
        for _ in rest:
            step(at)
            at = (at + 1) % steps
        before = clock()
        step(at)
        after = clock()
        at = (at + 1) % steps
        buffer[filled] = after - before
        filled += 1
        if filled == capacity or after >= hard_end or (after >= target_end and filled >= plan.min_n):
            return filled, after
