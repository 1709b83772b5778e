"""Statistics of single-inference times: pure functions over an array, in time order, of milliseconds.

Neighbouring inferences are correlated, so the mean's confidence interval resamples blocks, not inferences. Outliers are
counted and never removed. A percentile is given only if n bounds it: the table is the smallest n for which the largest
value is an upper bound at 99 % confidence (the MLPerf LoadGen rule: 64 for p90).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
RawTimes = npt.NDArray[np.float64] | npt.NDArray[np.int64]

PERCENTILE_MIN_N = {90: 64, 95: 130, 99: 662}
_MAX_BLOCKS = 64
_RESAMPLES = 1000
_OUTLIER_MEDIANS = 3.0


def percentile_ms(times_ms: Times, percent: int) -> float | None:
    """Return a percentile (90, 95 or 99), or None below the n that bounds it."""
    if len(times_ms) < PERCENTILE_MIN_N[percent]:
        return None
    return float(np.percentile(times_ms, percent, method="higher"))


def block_means(times_ms: RawTimes) -> Times:
    """Return the means of at most 64 equal blocks of neighbours (at least two a block where n allows)."""
    count = int(np.clip(len(times_ms) // 2, 1, _MAX_BLOCKS))
    usable = len(times_ms) - len(times_ms) % count
    blocks: Times = times_ms[:usable].reshape(count, -1).mean(axis=1)
    return blocks


def mean_ci95(times_ms: RawTimes, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean by a block bootstrap with 1000 resamples, in the times' unit."""
    blocks = block_means(times_ms)
    rng = np.random.default_rng(seed)
    means = blocks[rng.integers(0, len(blocks), size=(_RESAMPLES, len(blocks)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    mean = float(times_ms.mean())
    return min(float(low), mean), max(float(high), mean)


def drift_fraction(times_ms: Times) -> float | None:
    """Return how much the time grew over the window as a share of the median (Theil-Sen), None for n < 32."""
    if len(times_ms) < 32:
        return None
    blocks = block_means(times_ms)
    first, second = np.triu_indices(len(blocks), k=1)
    slope = float(np.median((blocks[second] - blocks[first]) / (second - first)))
    return slope * (len(blocks) - 1) / float(np.median(times_ms))


def outlier_count(times_ms: Times) -> int:
    """Return how many inferences took more than three medians."""
    return int((times_ms > _OUTLIER_MEDIANS * np.median(times_ms)).sum())


def coefficient_of_variation(times_ms: Times) -> float:
    """Return standard deviation over mean, 0 for a single value."""
    return float(times_ms.std(ddof=1) / times_ms.mean()) if len(times_ms) > 1 else 0.0


def summarise(times_ms: Times, *, single: bool = True) -> dict[str, float | int | None]:
    """Return the statistics under the names of `records.Latency`.

    Args:
        times_ms: Milliseconds per inference in time order, shape (n,), n >= 1.
        single: False if each value is a mean over a batch of calls; percentiles and outliers of single inferences are
            then unknown.

    Raises:
        ValueError: If there is no value.
    """
    if len(times_ms) == 0:
        raise ValueError("no inference was timed; give at least one time")
    low, high = mean_ci95(times_ms)
    return {
        "mean_ms": float(times_ms.mean()),
        "median_ms": float(np.median(times_ms)),
        "p90_ms": percentile_ms(times_ms, 90) if single else None,
        "p95_ms": percentile_ms(times_ms, 95) if single else None,
        "p99_ms": percentile_ms(times_ms, 99) if single else None,
        "min_ms": float(times_ms.min()),
        "max_ms": float(times_ms.max()),
        "cv": coefficient_of_variation(times_ms),
        "mean_ci95_low_ms": low,
        "mean_ci95_high_ms": high,
        "outliers": outlier_count(times_ms) if single else 0,
        "drift_fraction": drift_fraction(times_ms),
    }
