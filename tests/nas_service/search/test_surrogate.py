from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas_service.choice_space import ChoiceSpace
from nas_service.search.surrogate import Features, GaussianProcess

SPACE = ChoiceSpace({f"g{i}": [0, 1, 2, 3] for i in range(6)} | {"op": ["a", "b", "c"], "fixed": [1]})


def drawn(count, seed):
    rng = np.random.default_rng(seed)
    xs = [SPACE.sample(rng) for _ in range(count)]
    size = np.array([[x[f"g{i}"] for i in range(6)] for x in xs]) / 3
    op = np.array([{"a": 0.0, "b": 0.5, "c": 2.0}[x["op"]] for x in xs])
    outputs = np.stack([size @ np.arange(1, 7) + op, np.exp(-size.sum(axis=1)) * 100 + op**2], axis=1)
    return Features(SPACE).rows(np.array([SPACE.encode(x) for x in xs])), outputs


def test_it_orders_points_that_it_never_saw():
    surrogate = GaussianProcess(*drawn(60, 0))
    x, y = drawn(200, 1)
    mean, _ = surrogate.predict(x)
    assert all(kendalltau(mean[:, m], y[:, m]).statistic > 0.85 for m in range(2))


def test_its_own_record_is_near_the_truth():
    surrogate = GaussianProcess(*drawn(60, 0))
    assert all(tau > 0.8 for tau in surrogate.taus)


def test_noise_earns_no_trust():
    x, _ = drawn(60, 0)
    noise = np.random.default_rng(3).normal(size=(60, 1))
    assert abs(GaussianProcess(x, noise).taus[0]) < 0.3


def test_it_is_surer_of_what_it_saw():
    x, y = drawn(40, 0)
    surrogate = GaussianProcess(x, y)
    assert surrogate.predict(x)[1].mean() < surrogate.predict(drawn(200, 1)[0])[1].mean()


def test_a_constant_output_is_predicted_as_it_is():
    x, _ = drawn(20, 0)
    mean, _ = GaussianProcess(x, np.full((20, 1), 7.0)).predict(drawn(5, 1)[0])
    assert mean.ravel().tolist() == pytest.approx([7.0] * 5)
