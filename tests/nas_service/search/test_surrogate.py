from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas_service.choice_space import ChoiceSpace
from nas_service.search.surrogate import Features, GaussianProcess, fitted_kernel

SPACE = ChoiceSpace({f"g{i}": [0, 1, 2, 3] for i in range(6)} | {"op": ["a", "b", "c"], "fixed": [1]})
FEATURES = Features(SPACE)


def drawn(count, seed):
    rng = np.random.default_rng(seed)
    xs = [SPACE.sample(rng) for _ in range(count)]
    size = np.array([[x[f"g{i}"] for i in range(6)] for x in xs]) / 3
    op = np.array([{"a": 0.0, "b": 0.5, "c": 2.0}[x["op"]] for x in xs])
    outputs = np.stack([size @ np.arange(1, 7) + op, np.exp(-size.sum(axis=1)) * 100 + op**2], axis=1)
    return FEATURES.rows(np.array([SPACE.encode(x) for x in xs])), outputs


def process(x, y):
    return GaussianProcess(
        x, y, [fitted_kernel(x, (c - c.mean())[:, None] / (c.std() or 1), FEATURES.groups) for c in y.T]
    )


def test_it_orders_points_that_it_never_saw():
    surrogate = process(*drawn(60, 0))
    x, y = drawn(200, 1)
    mean, _ = surrogate.predict(x)
    assert all(kendalltau(mean[:, m], y[:, m]).statistic > 0.85 for m in range(2))


def test_its_own_record_is_near_the_truth():
    assert all(tau > 0.8 for tau in process(*drawn(60, 0)).taus)


def test_noise_earns_no_trust():
    x, _ = drawn(60, 0)
    noise = np.random.default_rng(3).normal(size=(60, 1))
    assert process(x, noise).taus[0] < 0.3


def test_it_is_surer_of_what_it_saw():
    x, y = drawn(40, 0)
    surrogate = process(x, y)
    assert surrogate.predict(x)[1].mean() < surrogate.predict(drawn(200, 1)[0])[1].mean()


def test_it_is_surer_near_what_is_in_flight_and_nowhere_less_sure():
    surrogate, (x, _) = process(*drawn(40, 0)), drawn(30, 1)
    alone, given = surrogate.deviation(x), surrogate.deviation(x, given=x[:3])
    assert (given <= alone + 1e-9).all()
    assert (given[:3] < 0.9 * alone[:3]).any()


def test_what_was_seen_without_noise_is_predicted_as_it_was():
    x, y = drawn(40, 0)
    assert kendalltau(process(x, y).mean(x)[:, 0], y[:, 0]).statistic > 0.95


def test_a_constant_output_is_predicted_as_it_is():
    x, _ = drawn(20, 0)
    mean, _ = process(x, np.full((20, 1), 7.0)).predict(drawn(5, 1)[0])
    assert mean.ravel().tolist() == pytest.approx([7.0] * 5)


def test_numbers_that_stand_for_kinds_are_learnt_as_names():
    space = ChoiceSpace({f"b{i}": [0, 1, 2, 3, 4] for i in range(4)})
    features, rng = Features(space), np.random.default_rng(0)
    worth = np.array([0.0, 3.0, -2.0, 5.0, 1.0])
    indexes = rng.integers(5, size=(140, 4))
    x, y = features.rows(indexes), worth[indexes].sum(axis=1)
    kernel = fitted_kernel(x[:60], ((y - y.mean()) / y.std())[:60, None], features.groups)
    mean = GaussianProcess(x[:60], y[:60, None], [kernel]).mean(x[60:])[:, 0]
    assert kendalltau(mean, y[60:]).statistic > 0.9


def test_a_gene_without_effect_gets_less_weight_than_any_that_has_one():
    rng = np.random.default_rng(0)
    indexes = rng.integers(4, size=(80, 6))
    full = np.hstack([indexes, rng.integers(3, size=(80, 1)), np.zeros((80, 1), dtype=int)])
    x, y = FEATURES.rows(full), indexes[:, :2].sum(axis=1) + np.sin(indexes[:, 2])
    kernel = fitted_kernel(x, ((y - y.mean()) / y.std())[:, None], FEATURES.groups)
    by_gene = [kernel.weights[5 * g : 5 * g + 5].max() for g in range(6)]
    assert min(by_gene[:3]) > max(by_gene[3:])
