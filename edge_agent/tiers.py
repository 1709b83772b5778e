"""How long and how well each tier measures: the protocol's figures as data."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.records import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPlan:
    """When warm-up and timing of one tier end, and what it asks of the board.

    Timing ends when `min_n` inferences and `min_window_s` are both reached and the confidence interval's half-width is
    at most `ci_fraction` of the mean (if the tier has such a target); in any case at `max_window_s`. Warm-up ends after
    `warmup_n` runs and `min_warmup_s`, and, if `steady_fraction` is given, once the medians of two neighbouring windows
    of 1 s differ by less than that; in any case at `max_warmup_s`.

    A pair measured whole shares `min_n` and the window among `processes` fresh processes, then replays its stream in
    natural order for `replay_s`, and runs each route alone for `energy_s` where energy is read. `sentinel`: whether a
    fixed model is timed before and after each measurement, or only once in `SENTINEL_EVERY_S`. `cool_start`: whether
    the board cools down first.
    """

    min_n: int
    min_window_s: float
    max_window_s: float
    ci_fraction: float | None
    warmup_n: int
    min_warmup_s: float
    max_warmup_s: float
    steady_fraction: float | None
    idle_baseline_s: float
    max_drift_fraction: float | None
    processes: int = 1
    replay_s: float = 0.0
    energy_s: float = 0.0
    sentinel: bool = False
    cool_start: bool = False


WHOLE_TIERS: frozenset[Tier] = frozenset({"final", "sustained"})  # from here on a pair is measured whole
SENTINEL_EVERY_S = 600.0
COOLING_LIMIT_S = 300.0  # that a board may take to cool down
_PROCESS_S = 10.0

TIERS: dict[Tier, TierPlan] = {
    "probe": TierPlan(
        min_n=64,
        min_window_s=1.0,
        max_window_s=20.0,
        ci_fraction=None,
        warmup_n=10,
        min_warmup_s=0.3,
        max_warmup_s=5.0,
        steady_fraction=None,
        idle_baseline_s=0.0,
        max_drift_fraction=None,
    ),
    "screen": TierPlan(
        min_n=64,
        min_window_s=6.0,
        max_window_s=20.0,
        ci_fraction=None,
        warmup_n=10,
        min_warmup_s=0.3,
        max_warmup_s=5.0,
        steady_fraction=None,
        idle_baseline_s=0.0,
        max_drift_fraction=None,
    ),
    "rank": TierPlan(
        min_n=256,
        min_window_s=20.0,
        max_window_s=60.0,
        ci_fraction=0.01,
        warmup_n=10,
        min_warmup_s=3.0,
        max_warmup_s=30.0,
        steady_fraction=0.02,
        idle_baseline_s=10.0,
        max_drift_fraction=0.03,
        sentinel=True,
        cool_start=True,
    ),
    "final": TierPlan(
        min_n=1024,
        min_window_s=60.0,
        max_window_s=180.0,
        ci_fraction=0.005,
        warmup_n=10,
        min_warmup_s=3.0,
        max_warmup_s=30.0,
        steady_fraction=0.02,
        idle_baseline_s=20.0,
        max_drift_fraction=0.03,
        processes=3,
        replay_s=20.0,
        energy_s=20.0,
        sentinel=True,
        cool_start=True,
    ),
    "sustained": TierPlan(
        min_n=1024,
        min_window_s=600.0,
        max_window_s=600.0,
        ci_fraction=None,
        warmup_n=10,
        min_warmup_s=3.0,
        max_warmup_s=30.0,
        steady_fraction=0.02,
        idle_baseline_s=20.0,
        max_drift_fraction=None,
        replay_s=20.0,
        energy_s=20.0,
        sentinel=True,
        cool_start=True,
    ),
}

SENTINEL_PLAN = TierPlan(
    min_n=64,
    min_window_s=2.0,
    max_window_s=4.0,
    ci_fraction=None,
    warmup_n=10,
    min_warmup_s=0.3,
    max_warmup_s=2.0,
    steady_fraction=None,
    idle_baseline_s=0.0,
    max_drift_fraction=None,
)


def longest_s(tier: Tier) -> float:
    """Return how long a measurement at this tier may take once its models load at once: what its lease must last."""
    plan = TIERS[tier]
    sentinel_s = SENTINEL_PLAN.max_warmup_s + SENTINEL_PLAN.max_window_s + _PROCESS_S
    return (
        plan.processes * (_PROCESS_S + plan.max_warmup_s)
        + plan.max_window_s
        + plan.replay_s
        + 2 * (plan.energy_s + plan.idle_baseline_s)
        + (2 if plan.sentinel else 1) * sentinel_s
        + (COOLING_LIMIT_S if plan.cool_start else 0.0)
    )
