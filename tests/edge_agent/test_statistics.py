from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.statistics import drift_fraction, mean_ci95, outlier_count, percentile_ms, summarise


@pytest.mark.parametrize(("percent", "n"), [(90, 64), (95, 130), (99, 662)])
def test_a_percentile_is_given_only_from_the_n_that_bounds_it(percent: int, n: int) -> None:
    times = np.random.default_rng(0).exponential(size=n)
    assert percentile_ms(times[:-1], percent) is None
    value = percentile_ms(times, percent)
    assert value is not None
    assert (times <= value).mean() >= percent / 100


def test_an_interval_of_independent_times_is_that_of_the_textbook() -> None:
    times = np.random.default_rng(0).normal(10.0, 1.0, size=6400)
    low, high = mean_ci95(times)
    assert (high - low) / 2 == pytest.approx(1.96 / 80, rel=0.25)


def test_correlated_neighbours_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.normal(10.0, 1.0, size=64), 100)
    shuffled = rng.permutation(slow)
    width, narrow = (np.subtract(*mean_ci95(times)[::-1]) for times in (slow, shuffled))
    assert width > 5 * narrow


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = sum(low <= 10.0 <= high for low, high in (mean_ci95(rng.normal(10, 1, 400)) for _ in range(200)))
    assert 176 <= hits <= 199


def test_drift_is_the_growth_over_the_window_as_a_share() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 2000)
    assert drift_fraction(10 + np.linspace(0, 0.5, 2000) + noise) == pytest.approx(0.049, abs=0.005)
    assert drift_fraction(10 + noise) == pytest.approx(0.0, abs=0.003)
    assert drift_fraction(np.ones(31)) is None


def test_one_hiccup_is_no_drift_and_stays_in_the_figures() -> None:
    times = np.full(1000, 2.0)
    times[-1] = 50.0
    assert drift_fraction(times) == pytest.approx(0.0, abs=1e-9)
    assert outlier_count(times) == 1
    assert summarise(times)["max_ms"] == 50.0
    assert summarise(times)["mean_ms"] == pytest.approx(2.048)


def test_batched_times_say_nothing_of_single_inferences() -> None:
    summary = summarise(np.full(1000, 0.01), single=False)
    assert (summary["p90_ms"], summary["p95_ms"], summary["p99_ms"]) == (None, None, None)


@given(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=300))
def test_figures_keep_their_order(values: list[float]) -> None:
    times = np.array(values)
    s = {name: value for name, value in summarise(times).items() if value is not None}
    assert s["min_ms"] <= s["median_ms"] <= s["max_ms"]
    assert s["mean_ci95_low_ms"] <= s["mean_ms"] <= s["mean_ci95_high_ms"]
    assert s["cv"] >= 0


def test_no_time_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="no inference was timed; give at least one time"):
        summarise(np.array([]))
