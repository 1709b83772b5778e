"""Warm-up and window on a clock that the test turns."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from edge_agent.measuring import Measurement, grade_window
from edge_agent.records import Latency
from edge_agent.tiers import TIERS
from edge_agent.timing import choose_batch, time_calls, warm_up
from edge_agent.verdict import ChildEnd, Verdict, judge

MS = 1_000_000


class Machine:
    """Each call takes the next of `durations_ms`; looking at the clock takes nothing."""

    def __init__(self, durations_ms: Iterable[float]) -> None:
        self._durations: Iterator[float] = iter(durations_ms)
        self.now_ns = 0

    def call(self) -> None:
        self.now_ns += int(next(self._durations) * MS)

    def clock(self) -> int:
        return self.now_ns


def test_warm_up_makes_ten_runs_and_three_tenths_of_a_second_and_keeps_the_first_apart() -> None:
    quick = Machine(itertools.chain([50.0], itertools.repeat(1.0)))
    warm = warm_up(quick.call, plan=TIERS["screen"], clock=quick.clock)
    assert (warm.cold_start_ms, warm.n, warm.median_ms, warm.steady) == (50.0, 251, 1.0, True)
    slow = Machine(itertools.repeat(100.0))
    assert warm_up(slow.call, plan=TIERS["screen"], clock=slow.clock).n == 10


def test_warm_up_of_a_hopeless_model_ends_at_its_cap() -> None:
    slow = Machine(itertools.repeat(2000.0))
    assert warm_up(slow.call, plan=TIERS["screen"], clock=slow.clock).n == 3


def test_rank_warms_up_until_two_seconds_agree() -> None:
    settling = Machine(20 * 0.99**i + 10 for i in itertools.count())
    warm = warm_up(settling.call, plan=TIERS["rank"], clock=settling.clock)
    assert warm.steady
    assert settling.now_ns > 3e9
    growing = Machine(10 * 1.01**i for i in itertools.count())
    assert not warm_up(growing.call, plan=TIERS["rank"], clock=growing.clock).steady


@pytest.mark.parametrize(
    ("tier", "each_ms", "n", "seconds"),
    [("probe", 1.0, 1000, 1.0), ("probe", 50.0, 64, 3.2), ("screen", 1.0, 6000, 6.0), ("screen", 500.0, 40, 20.0)],
)
def test_a_window_has_its_seconds_and_its_n_or_its_cap(tier: str, each_ms: float, n: int, seconds: float) -> None:
    machine = Machine(itertools.repeat(each_ms))
    buffer = np.zeros(10_000, dtype=np.int64)
    window = time_calls(machine.call, plan=TIERS[tier], buffer=buffer, clock=machine.clock)
    assert (window.n, (window.end_ns - window.start_ns) / 1e9) == (n, pytest.approx(seconds))
    assert window.times_ms == pytest.approx(np.full(n, each_ms))


def test_rank_goes_on_until_the_mean_is_known_well_enough_or_the_cap() -> None:
    rng = np.random.default_rng(0)
    calm = Machine(iter(rng.normal(10, 0.5, 100_000)))
    rough = Machine(iter(np.repeat(rng.lognormal(2, 0.8, 1000), 100)))
    buffer = np.zeros(100_000, dtype=np.int64)
    plan = TIERS["rank"]
    assert time_calls(calm.call, plan=plan, buffer=buffer, clock=calm.clock).end_ns / 1e9 == pytest.approx(20, abs=0.1)
    assert time_calls(rough.call, plan=plan, buffer=buffer, clock=rough.clock).end_ns / 1e9 == pytest.approx(60, abs=1)


def test_calls_are_batched_only_if_their_times_would_not_fit() -> None:
    assert choose_batch(0.1, plan=TIERS["screen"]) == 1
    assert choose_batch(0.001, plan=TIERS["screen"]) > 1
    machine = Machine(itertools.repeat(0.001))
    buffer = np.zeros(1000, dtype=np.int64)
    window = time_calls(machine.call, plan=TIERS["probe"], buffer=buffer, batch=1001, clock=machine.clock)
    assert window.times_ms == pytest.approx(np.full(len(window.times_ms), 0.001))
    assert window.n >= 1_000_000


def latency(**changes: float) -> Latency:
    values = dict(n=300, duration_s=20.0, mean_ms=10.0, median_ms=10.0, min_ms=9.0, max_ms=11.0, cv=0.01, warmup_n=10)
    values |= dict(mean_ci95_low_ms=9.99, mean_ci95_high_ms=10.01, cold_start_ms=30.0, drift_fraction=0.0)
    return Latency.from_dict({**values, **changes})


@pytest.mark.parametrize(
    ("tier", "changes", "status", "cause"),
    [
        ("rank", {}, "ok", None),
        ("rank", {"drift_fraction": 0.05}, "drift", "latency moved by +5.0% over the window; at most 3% is allowed"),
        ("rank", {"mean_ci95_high_ms": 10.5}, "noisy", "the mean is known to 2.5% only; 1.0% is asked for"),
        ("screen", {"drift_fraction": 0.05, "mean_ci95_high_ms": 12.0}, "ok", None),
    ],
)
def test_each_tier_asks_of_a_window_what_its_table_says(
    tier: str, changes: dict[str, float], status: str, cause: str | None
) -> None:
    measured = Measurement(verdict=Verdict(status="ok"), latency=latency(**changes))
    verdict = grade_window(measured, tier=tier)
    assert (verdict.status, verdict.cause) == (status, cause)
    assert verdict.fault == (None if status == "ok" else "board")


@pytest.mark.parametrize(
    ("end", "status", "fault", "cause"),
    [
        (
            ChildEnd(stages="IP", returncode=-9, oom_kills=1),
            "infeasible_oom",
            "model",
            "killed by the kernel for memory",
        ),
        (ChildEnd(stages="IP", returncode=-9, oom_kills=0), "agent_error", "infra", "killed by SIGKILL from outside"),
        (ChildEnd(stages="", returncode=-4), "agent_error", "board", "onnxruntime died of SIGILL on import"),
        (ChildEnd(stages="I", returncode=-4), "model_error", "model", "died of SIGILL in onnxruntime"),
        (ChildEnd(stages="IP", returncode=-15), "agent_error", "infra", "ended by SIGTERM from outside"),
        (ChildEnd(stages="IPWE", returncode=0), "agent_error", "unknown", "left with status 0 and no readable answer"),
        (ChildEnd(stages="", returncode=1, errors="No module"), "agent_error", "unknown", "status 1 .*No module"),
        (ChildEnd(stages="I", returncode=0, answer={"ok": False, "kind": "?"}), "agent_error", "unknown", "None"),
        (
            ChildEnd(stages="I", returncode=0, answer={"ok": False, "kind": "oom", "cause": "bad_alloc"}),
            "infeasible_oom",
            "model",
            "bad_alloc",
        ),
        (ChildEnd(stages="I", returncode=-9, timed_out="too late"), "infeasible_timeout", "model", "too late"),
        (ChildEnd(stages="I", returncode=-9, timed_out="late", gave_up=True), "agent_error", "infra", "late"),
    ],
)
def test_every_end_of_a_child_has_its_verdict(end: ChildEnd, status: str, fault: str, cause: str) -> None:
    verdict = judge(end)
    assert (verdict.status, verdict.fault) == (status, fault)
    assert re.search(cause, str(verdict.cause))


def test_every_tier_has_room_for_its_own_window() -> None:
    for plan in TIERS.values():
        assert plan.min_window_s <= plan.max_window_s
        assert plan.min_warmup_s <= plan.max_warmup_s
        assert dataclasses.is_dataclass(plan)
