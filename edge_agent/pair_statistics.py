"""A pair's latency from its routes' times and the routes' shares: pure functions over arrays in time order.

L = sum over r of w_r c_r, with w_r exact and only the conditional costs c_r measured: the variance of routing, which
would need tens of thousands of inputs, is not in it. The confidence interval resamples blocks of neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_agent import statistics
from edge_agent.records import RouteCost
from edge_agent.statistics import PERCENTILE_MIN_N, RawTimes, Times

Paths = npt.NDArray[np.int64]
Shares = tuple[float, float]
ROUTES = ("little", "big")
_MAX_BLOCKS = 64
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathTimes:
    """Milliseconds, in time order, of inferences through a route each: 0 the little alone, 1 the big after it."""

    times_ms: Times = field(repr=False)
    paths: Paths = field(repr=False)

    def of(self, route: int) -> Times:
        """Return the times of one route."""
        times: Times = self.times_ms[self.paths == route]
        return times

    @property
    def means(self) -> tuple[float, float]:
        """The routes' mean times."""
        return float(self.of(0).mean()), float(self.of(1).mean())


def mean_ms(runs: list[PathTimes], *, shares: Shares) -> float:
    """Return the pair's mean latency."""
    together = joined(runs)
    return sum(share * mean for share, mean in zip(shares, together.means, strict=True))


def joined(runs: list[PathTimes]) -> PathTimes:
    """Return the runs of several processes as one."""
    return PathTimes(
        times_ms=np.concatenate([run.times_ms for run in runs]), paths=np.concatenate([run.paths for run in runs])
    )


def mean_ci95(times: RawTimes, paths: Paths, *, shares: Shares, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % confidence interval of the pair's mean, in the times' unit, by 1000 resamples of blocks."""
    count = int(np.clip(len(times) // 8, 1, _MAX_BLOCKS))
    usable = len(times) - len(times) % count
    block_times, block_paths = times[:usable].reshape(count, -1), paths[:usable].reshape(count, -1)
    chosen = np.random.default_rng(seed).integers(0, count, size=(_RESAMPLES, count))
    mean, means = 0.0, np.zeros(_RESAMPLES)
    for route, share in enumerate(shares):
        mine = block_paths == route
        sums, counts = np.where(mine, block_times, 0).sum(axis=1), mine.sum(axis=1)
        means += share * sums[chosen].sum(axis=1) / np.maximum(counts[chosen].sum(axis=1), 1)
        mean += share * float(times[paths == route].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return min(float(low), mean), max(float(high), mean)


def half_width(times: RawTimes, paths: Paths, *, shares: Shares) -> float:
    """Return half the confidence interval's width as a share of the mean."""
    low, high = mean_ci95(times, paths, shares=shares)
    return (high - low) / (high + low)


def relative_times(run: PathTimes) -> Times:
    """Return each time over its route's mean, so that what is left is the board's own change."""
    relative: Times = run.times_ms / np.asarray(run.means)[run.paths]
    return relative


def summarise(runs: list[PathTimes], *, shares: Shares) -> dict[str, float | int | None]:
    """Return the pair's statistics under the names of `records.Latency`.

    Median and percentiles are those of the mixture; spread, outliers and drift are of times relative to their route.
    """
    together = joined(runs)
    values, weights = together.times_ms, _weights(together, shares)
    relative = np.concatenate([relative_times(run) for run in runs])
    low, high = mean_ci95(values, together.paths, shares=shares)
    drifts = [drift for run in runs if (drift := statistics.drift_fraction(relative_times(run))) is not None]
    return {
        "mean_ms": mean_ms(runs, shares=shares),
        "median_ms": _quantile(values, weights, 0.5),
        **{f"p{percent}_ms": _percentile(values, weights, percent) for percent in PERCENTILE_MIN_N},
        "min_ms": float(values.min()),
        "max_ms": float(values.max()),
        "cv": statistics.coefficient_of_variation(relative),
        "mean_ci95_low_ms": low,
        "mean_ci95_high_ms": high,
        "outliers": sum(statistics.outlier_count(together.of(route)) for route in (0, 1)),
        "drift_fraction": max(drifts, key=abs) if drifts else None,
    }


def route_costs(runs: list[PathTimes], *, shares: Shares) -> tuple[RouteCost, ...]:
    """Return what each route costs."""
    together = joined(runs)
    return tuple(_route_cost(together.of(route), route=route, share=share) for route, share in enumerate(shares))


def _route_cost(times_ms: Times, *, route: int, share: float) -> RouteCost:
    low, high = statistics.mean_ci95(times_ms)
    return RouteCost(
        route="big" if route else "little",
        share=share,
        n=len(times_ms),
        mean_ms=float(times_ms.mean()),
        median_ms=float(np.median(times_ms)),
        p90_ms=statistics.percentile_ms(times_ms, 90),
        p95_ms=statistics.percentile_ms(times_ms, 95),
        p99_ms=statistics.percentile_ms(times_ms, 99),
        mean_ci95_low_ms=low,
        mean_ci95_high_ms=high,
    )


def _weights(run: PathTimes, shares: Shares) -> Times:
    counts = np.bincount(run.paths, minlength=2)
    weights: Times = (np.asarray(shares) / counts)[run.paths]
    return weights


def _percentile(values: Times, weights: Times, percent: int) -> float | None:
    """Return a percentile of the mixture, None if the effective number of samples does not bound it."""
    effective_n = 1 / float((weights**2).sum())
    return _quantile(values, weights, percent / 100) if effective_n >= PERCENTILE_MIN_N[percent] else None


def _quantile(values: Times, weights: Times, share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order[min(int(np.searchsorted(reached, share - 1e-12)), len(order) - 1)]])


def minutes(run: PathTimes, *, shares: Shares, duration_s: float) -> tuple[float | None, float | None]:
    """Return the pair's mean over the first and over the last minute of a run that took `duration_s`.

    Each recorded time stands for as many inferences as any other, so that it counts by its share of the run. None
    unless the run took at least two minutes and both minutes have both routes.
    """
    passed = np.cumsum(run.times_ms)
    elapsed_s = passed * (duration_s / passed[-1])
    first, last = (
        PathTimes(times_ms=run.times_ms[part], paths=run.paths[part])
        for part in (elapsed_s <= 60, elapsed_s >= duration_s - 60)
    )
    if duration_s < 120 or any(len(np.unique(part.paths)) < len(ROUTES) for part in (first, last)):
        return None, None
    return mean_ms([first], shares=shares), mean_ms([last], shares=shares)
