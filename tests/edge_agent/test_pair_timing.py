"""Going through an order of steps on a clock that the test turns."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from edge_agent.pair_measuring import process_plan
from edge_agent.pair_timing import choose_stride, time_steps
from edge_agent.tiers import TIERS, TierPlan, longest_s


class Board:
    """Step k takes 1 + k ms."""

    def __init__(self) -> None:
        self.now_ns, self.done = 0, list[int]()

    def step(self, at: int) -> None:
        self.done.append(at)
        self.now_ns += (1 + at) * 1_000_000

    def clock(self) -> int:
        return self.now_ns


def plan(**changes) -> TierPlan:
    return dataclasses.replace(
        TIERS["final"], min_n=64, min_window_s=1.0, max_window_s=4.0, ci_fraction=None, **changes
    )


def timed(board: Board, plan: TierPlan, *, capacity: int = 10_000, steps: int = 4, **options):
    buffer = np.ones(capacity, dtype=np.int64)
    return time_steps(board.step, steps=steps, plan=plan, buffer=buffer, clock=board.clock, **options)


def test_every_inference_is_told_with_its_step() -> None:
    times = timed(Board(), plan())
    assert np.array_equal(times.times_ns, (1 + times.steps) * 1_000_000)
    assert times.steps[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert times.duration_s == pytest.approx(1.0, abs=0.01)


def test_a_window_lasts_until_there_are_enough_inferences() -> None:
    assert timed(Board(), plan(), steps=40).n == 64


def test_it_goes_on_until_the_interval_is_narrow_enough_and_doubles_in_between() -> None:
    widths = iter([0.1, 0.02, 0.009])
    narrow = dataclasses.replace(plan(), min_window_s=0.5, ci_fraction=0.01)
    times = timed(Board(), narrow, half_width=lambda values, steps: next(widths))
    assert times.duration_s == pytest.approx(2.0, abs=0.01)


def test_it_ends_at_its_cap_however_wide_the_interval() -> None:
    endless = dataclasses.replace(plan(), ci_fraction=0.01)
    assert timed(Board(), endless, half_width=lambda values, steps: 1.0).duration_s == pytest.approx(4.0, abs=0.01)


def test_with_a_stride_all_run_and_every_step_is_recorded_in_turn() -> None:
    board = Board()
    times = timed(board, plan(), stride=3)
    assert board.done[:7] == [0, 1, 2, 3, 0, 1, 2]
    assert times.steps[:4].tolist() == [2, 1, 0, 3]
    assert times.n == 3 * len(times.times_ns)


@pytest.mark.parametrize(("step_ms", "window_s"), [(1.0, 60.0), (0.02, 180.0), (0.05, 600.0)])
def test_the_stride_lets_a_window_fit_and_misses_no_step(step_ms: float, window_s: float) -> None:
    stride = choose_stride(step_ms, window_s=window_s, steps=4096, capacity=1 << 20)
    assert window_s * 1e3 / step_ms / stride <= 1 << 20
    assert math.gcd(stride, 4096) == 1


def test_processes_share_a_tiers_window_and_its_samples() -> None:
    share = process_plan(TIERS["final"])
    assert (share.min_window_s, share.max_window_s, share.min_n) == (20.0, 60.0, 342)
    assert share.ci_fraction == pytest.approx(0.005 * math.sqrt(3))
    assert process_plan(TIERS["sustained"]).min_window_s == 600.0


def test_the_longest_measurement_of_a_tier_covers_all_of_its_parts() -> None:
    assert longest_s("final") > 3 * 30 + 180 + 20 + 2 * 20 + 2 * 20
    assert longest_s("sustained") > 600
    assert longest_s("screen") < 60
