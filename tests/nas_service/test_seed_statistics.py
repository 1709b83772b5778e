from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nas_service.errors import InvalidRequestError
from nas_service.seed_statistics import friedman_p, holm, kendall, mean_interval, ranks, wilcoxon_p


def test_one_value_has_a_mean_and_no_interval():
    only = mean_interval([0.4])
    assert (only.mean, only.low, only.high) == (0.4, None, None)


def test_two_values_span_their_whole_interval_and_the_mean_lies_between():
    found = mean_interval([0.2, 0.6])
    assert (found.low, found.mean, found.high) == pytest.approx((0.2, 0.4, 0.6))


@pytest.mark.parametrize("n", [5, 12, 40])
def test_the_interval_is_about_that_of_the_normal_theory_and_always_the_same(n):
    values = np.random.default_rng(n).normal(3.0, 1.0, n).tolist()
    found, error = mean_interval(values), np.std(values) / n**0.5
    assert found == mean_interval(values)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.12)


def test_no_values_have_no_mean():
    with pytest.raises(InvalidRequestError, match="no values to take the mean of; give at least one"):
        mean_interval([])


def test_the_highest_score_ranks_first_and_ties_share_their_mean_rank():
    assert ranks([[0.9, 0.5, 0.9, 0.1], [1.0, 1.0 + 1e-12, 1.0, 1.0]]).tolist() == [[1.5, 3, 1.5, 4], [2.5] * 4]


def test_ranks_of_columns_that_always_come_in_one_order_are_unlikely_by_chance():
    ordered = np.arange(6)[:, None] * 0.1 + np.array([3.0, 2.0, 1.0])
    assert friedman_p(ordered) < 0.005
    assert friedman_p(np.ones((6, 3))) == 1.0


def test_friedmans_p_is_that_of_the_textbook_where_its_approximation_holds():
    scores = np.random.default_rng(3).normal(0, 1, (30, 4)) + np.array([0.0, 0.1, 0.3, 0.4])
    assert friedman_p(scores) == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue, abs=0.02)


@pytest.mark.parametrize("shape", [(4, 3), (9, 2)])
def test_friedmans_test_says_nothing_of_few_seeds_or_two_strategies(shape):
    assert friedman_p(np.random.default_rng(0).random(shape)) is None


@pytest.mark.parametrize("n", [6, 9, 12])
def test_wilcoxons_p_is_that_of_the_textbook(n):
    differences = np.random.default_rng(n).normal(0.5, 1, n)
    assert wilcoxon_p(differences.tolist()) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_wilcoxons_p_of_many_differences_is_near_the_textbooks():
    differences = np.random.default_rng(1).normal(0.3, 1, 25)
    assert wilcoxon_p(differences.tolist()) == pytest.approx(stats.wilcoxon(differences).pvalue, abs=0.02)


@pytest.mark.parametrize("differences", [[1.0] * 5, [0.0] * 20, [1.0, 0.0, 2.0, 3.0, 4.0, 5.0]])
def test_wilcoxons_test_says_nothing_of_fewer_than_six_differences(differences):
    assert wilcoxon_p(differences) is None


def test_holms_correction_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_kendalls_tau_is_that_of_the_textbook_with_ties():
    rng = np.random.default_rng(2)
    before, after = rng.integers(0, 6, 15).tolist(), rng.integers(0, 6, 15).tolist()
    assert kendall(before, after).tau == pytest.approx(stats.kendalltau(before, after).statistic)


def test_five_pairs_in_perfect_order_prove_little_and_fifty_much():
    five, fifty = kendall(range(5), range(5)), kendall(range(50), range(50))
    assert (five.tau, five.high) == (1.0, 1.0)
    assert five.low < 0.2
    assert fifty.low > 0.95


def test_the_interval_of_tau_covers_the_true_one_in_about_95_of_100_draws():
    rng = np.random.default_rng(0)
    truth = 2 / np.pi * np.arcsin(0.6)
    draws = [rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 12) for _ in range(400)]
    found = [kendall(d[:, 0].tolist(), d[:, 1].tolist()) for d in draws]
    assert 0.92 <= np.mean([t.low <= truth <= t.high for t in found]) <= 1.0


@pytest.mark.parametrize(("pairs", "tau"), [(0, None), (1, None), (3, 1.0)])
def test_fewer_than_five_pairs_have_no_interval(pairs, tau):
    found = kendall(range(pairs), range(pairs))
    assert (found.tau, found.low, found.high) == (tau, None, None)


def test_columns_without_any_order_have_no_tau():
    assert kendall([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]).tau is None


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(InvalidRequestError, match="3 and 2 figures are no pairs"):
        kendall([1, 2, 3], [1, 2])
