"""A pair's latency from the routes' times: exact shares, mixtures, intervals, drift apart from routing."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent import pair_statistics
from edge_agent.pair_statistics import PathTimes


def run(
    *, little: float = 1.0, big: float = 5.0, n: int = 4000, share: float = 0.5, noise: float = 0.02, seed: int = 0
):
    rng = np.random.default_rng(seed)
    paths = (rng.random(n) < share).astype(np.int64)
    times = np.where(paths, big, little) * rng.normal(1.0, noise, n)
    return PathTimes(times_ms=times, paths=paths)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.1, 1.4), (0.5, 3.0), (1.0, 5.0)])
def test_the_mean_is_that_of_the_exact_shares_whatever_was_run_how_often(share: float, expected: float) -> None:
    mean = pair_statistics.mean_ms([run(share=0.3)], shares=(1 - share, share))
    assert mean == pytest.approx(expected, rel=0.005)


def test_a_few_inputs_of_each_route_say_more_than_a_thousand_drawn_ones() -> None:
    few = [pair_statistics.mean_ms([run(n=64, seed=s, noise=0.03)], shares=(0.7, 0.3)) for s in range(200)]
    drawn = [run(n=1000, share=0.3, seed=s, noise=0.03).times_ms.mean() for s in range(200)]
    assert np.std(few) < np.std(drawn) / 2


def test_the_interval_holds_the_truth_in_about_95_of_100_runs() -> None:
    hits = 0
    for seed in range(60):
        sample = run(n=1024, seed=seed, noise=0.1)
        low, high = pair_statistics.mean_ci95(sample.times_ms, sample.paths, shares=(0.8, 0.2))
        hits += low <= 1.8 <= high
    assert 51 <= hits <= 60


def test_median_and_percentiles_are_those_of_the_mixture() -> None:
    summary = pair_statistics.summarise([run(share=0.5, noise=0.0)], shares=(0.93, 0.07))
    assert (summary["median_ms"], summary["p90_ms"], summary["p95_ms"]) == (1.0, 1.0, 5.0)
    assert (summary["min_ms"], summary["max_ms"]) == (1.0, 5.0)


def test_percentiles_that_so_few_inferences_do_not_bound_are_left_out() -> None:
    summary = pair_statistics.summarise([run(n=120)], shares=(0.9, 0.1))
    assert summary["p90_ms"] is not None
    assert summary["p95_ms"] is None
    assert summary["p99_ms"] is None


def test_routing_is_neither_spread_nor_drift_nor_outlier() -> None:
    sample = run(noise=0.0)
    ordered = PathTimes(times_ms=np.sort(sample.times_ms), paths=np.sort(sample.paths))  # all bigs come last
    summary = pair_statistics.summarise([ordered], shares=(0.9, 0.1))
    assert (summary["cv"], summary["outliers"]) == (pytest.approx(0.0), 0)
    assert summary["drift_fraction"] == pytest.approx(0.0, abs=1e-9)


def test_a_board_that_slows_down_is_drift_whatever_the_routes() -> None:
    sample = run(noise=0.0)
    slower = PathTimes(times_ms=sample.times_ms * np.linspace(1.0, 1.1, 4000), paths=sample.paths)
    drift = pair_statistics.summarise([run(), slower], shares=(0.5, 0.5))["drift_fraction"]
    assert drift == pytest.approx(0.094, abs=0.01)


def test_outliers_are_counted_against_their_own_route_and_kept() -> None:
    sample = run(noise=0.0)
    sample.times_ms[np.flatnonzero(sample.paths == 0)[:3]] = 4.0  # an ordinary time for the big, not for the little
    summary = pair_statistics.summarise([sample], shares=(0.5, 0.5))
    assert summary["outliers"] == 3
    assert summary["mean_ms"] > 3.0


def test_each_route_has_its_own_figures() -> None:
    little, big = pair_statistics.route_costs([run(), run(seed=1)], shares=(0.9, 0.1))
    assert (little.route, little.share, big.route, big.share) == ("little", 0.9, "big", 0.1)
    assert little.n + big.n == 8000
    assert little.mean_ci95_low_ms <= little.mean_ms <= little.mean_ci95_high_ms
    assert (little.median_ms, big.median_ms) == (pytest.approx(1.0, rel=0.01), pytest.approx(5.0, rel=0.01))


def test_the_first_and_the_last_minute_are_told_of_a_long_run_only() -> None:
    long = run(little=10.0, big=50.0, n=8000, noise=0.0)
    heated = PathTimes(
        times_ms=np.where(np.cumsum(long.times_ms) > 100_000, 2.0, 1.0) * long.times_ms, paths=long.paths
    )
    seconds = heated.times_ms.sum() / 1e3
    ends = pair_statistics.minutes(heated, shares=(0.5, 0.5), duration_s=seconds)
    assert ends == (pytest.approx(30.0), pytest.approx(60.0))
    assert pair_statistics.minutes(run(), shares=(0.5, 0.5), duration_s=119.0) == (None, None)


@pytest.mark.parametrize("stride", [1, 3, 7, 101])
def test_minutes_are_those_of_the_run_however_few_of_its_inferences_were_recorded(stride: int) -> None:
    paths = np.arange(60_000) % 2
    times_ms = np.where(paths, 12.0, 4.0)
    times_ms[np.cumsum(times_ms) > 100_000] *= 1.5
    recorded = PathTimes(times_ms=times_ms[stride - 1 :: stride], paths=paths[stride - 1 :: stride])
    ends = pair_statistics.minutes(recorded, shares=(0.5, 0.5), duration_s=times_ms.sum() / 1e3)
    assert ends == (pytest.approx(8.0), pytest.approx(12.0))


def test_minutes_that_lack_a_route_are_unknown() -> None:
    slow = PathTimes(times_ms=np.full(20, 20_000.0), paths=np.array([0] * 10 + [1] * 10))
    assert pair_statistics.minutes(slow, shares=(0.5, 0.5), duration_s=400.0) == (None, None)
