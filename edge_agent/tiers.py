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
    ),
}
