from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import COSTS, cached, latent, outcomes
from workers.protocol.outcomes import CachedOutputs, PathCosts
from workers.protocol.record import Record, plain


def test_outcomes_route_as_the_curve_says():
    made = latent(200, seed=0)
    for index in (0, 7, 150, -1):
        threshold = made.curve.thresholds[index]
        assert made.escalates(threshold).sum() == made.curve.escalated[index]
        assert made.correct(threshold).sum() == made.curve.correct[index]


def test_float32_scores_are_compared_in_float64_as_the_boards_runtime_does():
    scores = np.array([0.1, 0.3], dtype=np.float32)
    made = CachedOutputs(little_logits=np.eye(2), escalated_logits=np.eye(2), labels=np.array([0, 1])).outcomes(scores)
    assert made.escalates(float(scores[0])).tolist() == [False, False]
    assert made.escalates(0.1 + 1e-7).tolist() == [True, False]


@pytest.mark.parametrize(
    ("rate", "cost"), [(0.0, 10.0), (0.3, 37.0), (1.0, 100.0)]
)  # EVALUATION 2: C = mL + mG + rho * (mB - phi * mL)
def test_expected_cost_is_little_plus_rate_times_tail(rate, cost):
    assert COSTS.expected(rate) == pytest.approx(cost)
    assert COSTS.saving(cost) == pytest.approx(1 - cost / 100)


def test_the_router_is_paid_for_every_input():
    costs = PathCosts(little=10, tail=90, big=100, router=1)
    assert (costs.least, costs.worst) == (11, 101)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(3, dtype=int)}, r"give \(N, classes\) twice and \(N,\)"),
        ({"little_logits": np.full((2, 2), np.nan)}, "logits of 2 of 2 images are not finite; train again"),
    ],
)
def test_outputs_that_mean_nothing_are_refused(change, message):
    given = {"little_logits": np.eye(2), "escalated_logits": np.eye(2), "labels": np.array([0, 1])}
    with pytest.raises(InvalidRequestError, match=message):
        CachedOutputs(**{**given, **change})


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(InvalidRequestError, match="1 of 2 scores are not finite; mend the router"):
        outcomes([0.0, np.nan], [1, 1], [1, 1])


def test_costs_that_are_not_positive_are_refused():
    with pytest.raises(InvalidRequestError, match="the first three must be > 0"):
        PathCosts(little=0, tail=1, big=1)


def test_accuracies_are_those_of_the_arg_max():
    made = cached(50, seed=1)
    assert made.outcomes(np.zeros(50)).little_accuracy == np.mean(made.little_logits.argmax(1) == made.labels)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.float64(0.5), 0.5), (-np.inf, "never"), (np.array([1.0, np.inf]), [1.0, "always"]), ((1, None), [1, None])],
)
def test_plain_values_are_what_json_has(value, expected):
    assert plain(value) == expected


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_what_json_has_not_is_refused(value):
    with pytest.raises(TypeError, match="has no plain form; use None for unknown"):
        plain(value)


def test_a_record_that_is_no_dataclass_says_so():
    with pytest.raises(TypeError, match="Bare is no dataclass; decorate it"):
        type("Bare", (Record,), {})().to_dict()
