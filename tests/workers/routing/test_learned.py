from __future__ import annotations

import numpy as np
import pytest
import torch

from nas_service.errors import InvalidRequestError
from workers.protocol.quality import auroc
from workers.routers import margin
from workers.routing.features import RouterFeatures
from workers.routing.learned import BODIES, RouterData, crossfit_scores, fit_learned_router


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def held_out(n: int, *, seed: int, hidden: bool = False) -> RouterData:
    """A little that confuses classes 0 and 1, which the big mends, and 2 and 3, which nobody does.

    With `hidden`, what the big can mend shows in the pooled feature alone.
    """
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, size=n)
    logits = rng.normal(scale=0.3, size=(n, 4))
    partner = labels ^ 1
    hard = rng.random(n) < 0.5
    logits[np.arange(n), labels] += np.where(hard, 2.0, 4.0) + rng.normal(size=n)
    logits[np.arange(n), partner] += np.where(hard, 2.0, 0.0)
    mendable = rng.random(n) < 0.5 if hidden else np.abs(logits).max(axis=1) > 2.0
    benefit = (logits.argmax(axis=1) != labels) & mendable
    pooled = torch.from_numpy(np.column_stack([mendable, rng.normal(size=n)]).astype(np.float32)) if hidden else None
    return RouterData(logits=torch.from_numpy(logits).float(), benefit=torch.from_numpy(benefit), pooled=pooled)


def ranking(scores, data: RouterData) -> float:
    return auroc(np.asarray(scores), data.benefit.numpy())


def test_features_by_hand():
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    found = RouterFeatures(classes=3)(logits, None)[0]
    expected = [0.5, 0.3, 0.2, np.log(5 / 3), np.log(1.5), -(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2))]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_features_do_not_depend_on_the_order_of_classes_nor_on_a_shift_of_logits():
    logits = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    features = RouterFeatures(classes=12)
    torch.testing.assert_close(features(logits), features(logits.flip(1) + 3.0))
    assert features(logits).shape == (5, features.size) == (5, 20)


@pytest.mark.parametrize("kind", BODIES)
def test_on_fresh_data_it_ranks_at_least_as_well_as_the_margin(kind):
    router, fresh = fit_learned_router(held_out(2000, seed=0), kind=kind), held_out(4000, seed=1)
    learned = ranking(router.scores(fresh.logits), fresh)
    assert learned >= ranking(margin(fresh.logits).numpy(), fresh) - 0.005
    assert learned > 0.75


@pytest.mark.parametrize("kind", BODIES)
def test_what_only_the_last_feature_shows_is_learned_from_it(kind):
    router, fresh = (
        fit_learned_router(held_out(2000, seed=0, hidden=True), kind=kind),
        held_out(4000, seed=1, hidden=True),
    )
    with_feature = ranking(router.scores(fresh.logits, fresh.pooled), fresh)
    assert with_feature > ranking(margin(fresh.logits).numpy(), fresh) + 0.05


def test_scores_are_the_negated_log_odds_of_the_benefit():
    data = held_out(4000, seed=0)
    chance = 1 / (1 + np.exp(fit_learned_router(data).scores(data.logits)))
    assert chance.mean() == pytest.approx(data.benefit.float().mean().item(), abs=0.005)


def test_the_same_data_and_seed_give_the_same_router_and_leave_torchs_generator_alone():
    data, before = held_out(500, seed=0), torch.random.get_rng_state()
    one, two = (fit_learned_router(data, kind="mlp", seed=3).scores(data.logits) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(before, torch.random.get_rng_state())


def test_cross_fitted_scores_show_no_gain_where_there_is_nothing_to_learn():
    rng = torch.Generator().manual_seed(0)
    data = RouterData(
        logits=torch.randn(300, 10, generator=rng),
        benefit=torch.rand(300, generator=rng) < 0.3,
        pooled=torch.randn(300, 100, generator=rng),
    )
    own = ranking(fit_learned_router(data).scores(data.logits, data.pooled), data)
    crossed = ranking(crossfit_scores(data, folds=3), data)
    assert own > 0.8
    assert abs(crossed - 0.5) < 0.12


def test_cross_fitted_scores_promise_what_fresh_data_keeps():
    data, fresh = held_out(1000, seed=0), held_out(4000, seed=1)
    kept = ranking(fit_learned_router(data).scores(fresh.logits), fresh)
    assert ranking(crossfit_scores(data), data) == pytest.approx(kept, abs=0.05)


def test_a_little_without_mendable_errors_has_nothing_to_teach():
    with pytest.raises(InvalidRequestError, match=r"in 0 of 20 inputs .* give more held-out data, or use .* `margin`"):
        RouterData(logits=torch.zeros(20, 3), benefit=torch.zeros(20, dtype=torch.bool))


def test_data_of_different_lengths_are_refused():
    with pytest.raises(InvalidRequestError, match=r"router data of \[19, 20\] inputs"):
        RouterData(logits=torch.zeros(20, 3), benefit=torch.zeros(19, dtype=torch.bool))


def test_an_unknown_kind_is_refused():
    with pytest.raises(InvalidRequestError, match="'forest'; choose one of: logistic, mlp"):
        fit_learned_router(held_out(100, seed=0), kind="forest")
