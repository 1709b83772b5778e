"""Learning to be rounded: the simulation is what onnxruntime computes, and training mends what rounding broke."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas_service.errors import InvalidRequestError
from nas_service.plan import COUPLINGS
from tests.workers.conftest import space_of
from tests.workers.quantize.test_ptq import finished
from tests.workers.test_export import calibrated
from workers.errors import TrainingCollapsedError
from workers.evaluation import fold, infer
from workers.export import export_pair
from workers.quantize.choice import rows
from workers.quantize.ptq import quantise_pair
from workers.quantize.qat import ActivationRounding, QatConfig, RoundedPair, WeightRounding, fine_tune_rounded
from workers.quantize.running import run_pair


def untrained(coupling: str):
    space = space_of("micro")
    return calibrated(space, space.plan(space.extreme(coupling, largest=True)))


def mended(pair, dataset, splits, config, *, share=1.0):
    rounded = RoundedPair(pair, share=share)
    list(fine_tune_rounded(rounded, pair, dataset, splits, config))
    return rounded.learnt(pair).eval()


def test_activations_take_256_levels_and_only_what_was_not_clipped_learns():
    rounding = ActivationRounding(share=1.0)
    rounding(torch.linspace(-1, 3, 1000))
    x = torch.linspace(-2, 4, 5000, requires_grad=True)
    y = rounding.eval()(x)
    y.sum().backward()
    assert len(y.unique()) == 256
    assert (y.min().item(), y.max().item()) == pytest.approx((-1, 3), abs=4 / 255)
    assert x.grad is not None
    assert x.grad[(x < -1.02) | (x > 3.02)].sum() == 0
    assert (x.grad[(x > -0.98) & (x < 2.98)] == 1).all()


def test_zero_is_a_level_even_of_a_range_that_lacks_it():
    rounding = ActivationRounding(share=1.0)
    rounding(torch.linspace(2, 3, 100))
    assert rounding.eval()(torch.zeros(1)).item() == 0


def test_a_share_leaves_out_outliers():
    values = torch.cat([torch.linspace(0, 1, 990), torch.full((10,), 100.0)])
    all_of_it, most = ActivationRounding(share=1.0), ActivationRounding(share=0.98)
    all_of_it(values), most(values)
    assert (all_of_it.high.item(), most.high.item()) == pytest.approx((100, 1), abs=0.02)


def test_weights_take_seven_bits_for_each_channel_and_all_of_them_learn():
    weight = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 10, 0.1, 0]).view(
        4, 1, 1, 1
    )
    weight.requires_grad_()
    rounded = WeightRounding()(weight)
    rounded.sum().backward()
    steps = rounded / (weight.detach().flatten(1).abs().amax(1) / 64).clamp_min(1e-8).view(4, 1, 1, 1)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert weight.grad is not None
    assert (weight.grad == 1).all()


@pytest.mark.parametrize("coupling", ["stem", "triangular"])
def test_the_simulation_is_what_the_int8_graphs_compute(coupling):
    pair, images = untrained(coupling)
    models = export_pair(pair, router="margin")
    labels = np.zeros(len(images), dtype=np.int64)
    int8 = run_pair(quantise_pair(models, lambda: [images], method="minmax"), [images], labels=labels).outputs
    rounded = RoundedPair(pair, share=1.0)
    rounded.watch(images)
    with torch.inference_mode():
        simulated = rounded.eval()(images)
    exact = infer(pair, [images], labels=labels)
    for name, got in zip(("little_logits", "escalated_logits"), simulated, strict=True):
        want = getattr(int8, name)
        assert (got - want).abs().mean() < 0.6 * (getattr(exact, name) - want).abs().mean()


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_without_training_the_pair_comes_back_as_it_was(coupling):
    pair, images = untrained(coupling)
    back = RoundedPair(pair, share=1.0).learnt(pair)
    with torch.inference_mode():
        for got, want in zip(back(images), fold(pair)(images), strict=True):
            assert torch.equal(got, want)


@pytest.mark.slow
def test_the_pair_given_stays_as_it_is_and_the_same_seed_learns_the_same(small):
    pair, images = untrained("stem")
    with torch.inference_mode():
        before = pair(images)
    one, two = (mended(pair, *small, QatConfig(batch_size=32)) for _ in range(2))
    with torch.inference_mode():
        assert all(torch.equal(a, b) for a, b in zip(before, pair(images), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(one(images), two(images), strict=True))
        assert not torch.equal(one(images)[1], before[1])


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [1, 2, 3])  # the ranges are kept from the middle of epoch 2 on
def test_what_goes_on_after_an_epoch_trains_the_rest_alone_and_learns_the_same(small, stopped):
    pair, config = untrained("stem")[0], QatConfig(epochs=3, batch_size=32)
    whole, resumed = RoundedPair(pair, share=0.99), RoundedPair(pair, share=0.99)
    reports = list(fine_tune_rounded(whole, pair, *small, config))
    rest = list(fine_tune_rounded(resumed, pair, *small, config, resume=reports[stopped - 1].checkpoint))
    assert [report.epoch for report in rest] == list(range(stopped + 1, 4))
    assert [report.checkpoint for report in rest] == [report.checkpoint for report in reports[stopped:]]
    learnt = resumed.learnt(pair).state_dict()
    assert all(torch.equal(learnt[name], value) for name, value in whole.learnt(pair).state_dict().items())


@pytest.mark.parametrize(
    ("coupling", "share", "message"), [("nested", 1.0, "belongs to space 'int8-stem'"), ("stem", 0.9, r"\(share 1.0\)")]
)
def test_a_checkpoint_of_another_pair_or_range_is_refused(small, coupling, share, message):
    pair, other = untrained("stem")[0], untrained(coupling)[0]
    config = QatConfig(epochs=1, batch_size=128)
    checkpoint = next(fine_tune_rounded(RoundedPair(pair, share=1.0), pair, *small, config)).checkpoint
    with pytest.raises(InvalidRequestError, match=message):
        next(fine_tune_rounded(RoundedPair(other, share=share), other, *small, config, resume=checkpoint))


def test_a_loss_that_is_no_number_is_said(small):
    config = QatConfig(learning_rate=1e30, clip_norm=1e30, batch_size=16)
    with pytest.raises(TrainingCollapsedError, match=r"in step .*; set finalists.qat_epochs to 0"):
        mended(untrained("stem")[0], *small, config)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"clip_norm": -1.0}])
def test_a_configuration_that_cannot_train_is_refused(changes):
    with pytest.raises(InvalidRequestError, match="must be"):
        QatConfig(**changes)


@pytest.mark.slow
def test_training_mends_what_too_low_a_percentile_breaks(trained, context, digits, splits):
    pair = finished(trained, context, "stem")
    images, labels = list(rows(digits, splits.validation)), digits.train_labels[splits.validation].numpy()

    def accuracies(of):
        models = export_pair(of, router="margin")
        made = quantise_pair(models, lambda: rows(digits, splits.calibration), method="percentile-95")
        return run_pair(made, images, labels=labels).accuracies

    broken = accuracies(pair)
    tuned = accuracies(mended(pair, digits, splits, QatConfig(epochs=4, batch_size=32), share=0.975))
    assert tuned["big"] > broken["big"] + 0.05
    assert sum(tuned.values()) > sum(broken.values()) + 0.05
