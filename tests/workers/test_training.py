from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from nas_service.errors import InvalidRequestError
from nas_service.plan import COUPLINGS
from workers import trainer
from workers.checkpoint import Checkpoint, read_metadata
from workers.data.splits import Splits
from workers.errors import TrainingCollapsedError
from workers.evaluation import EvaluationContext, EvaluationData, evaluate
from workers.losses import pair_losses
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import fine_tune, train

CONFIG = TrainConfig(epochs=3, batch_size=32)


def weights(supernet: Supernet) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in supernet.named_parameters()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_each_branch_receives_gradient(micro, digits, coupling):
    supernet, plan = Supernet(micro), micro.plan(micro.extreme(coupling, largest=True))
    x, labels = torch.randn(16, 1, 8, 8), digits.train_labels[:16]
    touched = []
    for branch in (0, 1):
        supernet.zero_grad(set_to_none=True)
        pair_losses(*supernet(x, plan), labels, teacher=None, config=CONFIG)[branch].backward()
        touched.append({n for n, p in supernet.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0})
    little_head, big_head = (f"heads.{network.head}" for network in (plan.little, plan.big))
    assert little_head in touched[0]
    assert big_head in touched[1]
    assert big_head not in touched[0]
    assert little_head not in touched[1]
    assert f"alphas.{coupling}" in touched[1]


def test_training_learns_the_digits(trained, digits, splits):
    _, checkpoint = trained
    supernet = Supernet(trained[0].space)
    config = TrainConfig(epochs=10, batch_size=64)
    assert not list(train(supernet, digits, splits, config, resume=checkpoint))  # already done
    context = EvaluationContext(EvaluationData.of(digits, splits))
    plan = supernet.space.plan(supernet.space.extreme("nested", largest=True))
    assert evaluate(supernet, plan, context).big_accuracy > 0.85


def test_reports_say_how_far_and_how_fast(micro, small):
    reports = list(train(Supernet(micro), *small, CONFIG))
    assert [(r.epoch, r.epochs) for r in reports] == [(1, 3), (2, 3), (3, 3)]
    assert set(reports[0].accuracies) == {"largest_little", "largest_big", "smallest_little", "smallest_big"}
    assert all(0 <= value <= 1 for r in reports for value in r.accuracies.values())
    assert all(r.losses["all"] > r.losses["big"] > 0 and r.images_per_s > 0 for r in reports)
    assert reports[-1].learning_rate < reports[0].learning_rate


@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_run_ends_with_the_same_bits(micro, small, stop):
    undisturbed = Supernet(micro, seed=1)
    reports = list(train(undisturbed, *small, CONFIG))
    resumed = Supernet(micro, seed=99)
    torch.rand(3)
    rest = list(train(resumed, *small, CONFIG, resume=reports[stop - 1].checkpoint))
    assert [r.epoch for r in rest] == list(range(stop + 1, 4))
    assert same(weights(undisturbed), weights(resumed))
    assert rest[-1].checkpoint == reports[-1].checkpoint


def test_resuming_with_another_configuration_is_refused(micro, small):
    checkpoint = next(train(Supernet(micro), *small, CONFIG)).checkpoint
    with pytest.raises(InvalidRequestError, match="was trained with batch_size 32 but this job has 16; resume with"):
        next(train(Supernet(micro), *small, replace(CONFIG, batch_size=16), resume=checkpoint))


def test_resuming_on_other_splits_is_refused(micro, small, splits):
    checkpoint = next(train(Supernet(micro), *small, CONFIG)).checkpoint
    with pytest.raises(InvalidRequestError, match="was trained on other data splits; use the same data set, seed"):
        next(train(Supernet(micro), small[0], splits, CONFIG, resume=checkpoint))


def poisoned(dataset, splits: Splits, *names: str):
    """Return the data set with inverted images and wrong labels wherever the named splits point."""
    parts = {f.name: getattr(dataset, f.name) for f in dataset.__dataclass_fields__.values()}
    for name in names:
        part, rows = ("test" if name == "test" else "train"), torch.from_numpy(getattr(splits, name))
        for kind in ("images", "labels"):
            tensor = parts[f"{part}_{kind}"].clone()
            tensor[rows] = 255 - tensor[rows] if kind == "images" else (tensor[rows] + 1) % 10
            parts[f"{part}_{kind}"] = tensor
    return type(dataset)(**parts)


def test_training_never_looks_at_validation_calibration_or_test(micro, small):
    dataset, splits = small
    clean, dirty = Supernet(micro), Supernet(micro)
    list(train(clean, dataset, splits, CONFIG))
    list(train(dirty, poisoned(dataset, splits, "validation", "calibration", "test"), splits, CONFIG))
    assert same(weights(clean), weights(dirty))


def test_training_does_look_at_the_weights_split(micro, small):
    dataset, splits = small
    clean, dirty = Supernet(micro), Supernet(micro)
    list(train(clean, dataset, splits, CONFIG))
    list(train(dirty, poisoned(dataset, splits, "weights"), splits, CONFIG))
    assert not same(weights(clean), weights(dirty))


def test_loss_that_is_no_number_ends_training_after_its_rollbacks(micro, small, monkeypatch):
    epochs = []

    def broken(run):
        epochs.append(run.rate_scale)
        return {"loss": float("nan"), "little": 1.0}

    monkeypatch.setattr(trainer.Trainer, "_epoch", broken)
    with pytest.raises(TrainingCollapsedError, match=r"loss was nan in epoch 1 after 2 rollbacks; lower learning_rate"):
        list(train(Supernet(micro), *small, replace(CONFIG, rollbacks=2)))
    assert epochs == [1.0, 0.5, 0.25]


def test_a_collapsed_epoch_is_repeated_from_the_last_checkpoint_at_half_the_rate(micro, small, monkeypatch):
    supernet, honest, calls = Supernet(micro), trainer.Trainer._epoch, []

    def collapsing_once(run):
        losses = honest(run)
        calls.append(weights(run.learner.module))
        if len(calls) == 2:
            run.learner.module.heads["big"].data.fill_(float("nan"))
            losses["loss"] = float("inf")
        return losses

    monkeypatch.setattr(trainer.Trainer, "_epoch", collapsing_once)
    reports = list(train(supernet, *small, CONFIG))
    assert [(r.epoch, r.rollbacks) for r in reports] == [(1, 0), (2, 1), (3, 1)]
    assert all(torch.isfinite(p).all() for p in supernet.parameters())
    assert len(calls) == 4


def test_real_divergence_is_noticed(micro, small):
    config = replace(CONFIG, learning_rate=1e30, clip_norm=1e30, rollbacks=0)
    with pytest.raises(TrainingCollapsedError, match=r"after 0 rollbacks"):
        list(train(Supernet(micro), *small, config))


def test_going_back_to_guessing_counts_as_collapse(micro, small, monkeypatch):
    losses = iter([0.5, 2.4])
    monkeypatch.setattr(trainer.Trainer, "_epoch", lambda run: {"loss": next(losses)})
    with pytest.raises(TrainingCollapsedError, match=r"loss was 2.4 in epoch 2"):
        list(train(Supernet(micro), *small, replace(CONFIG, rollbacks=0)))


def test_a_little_that_goes_back_to_guessing_counts_as_collapse(micro, small, monkeypatch):
    losses = iter([{"loss": 0.5, "little": 0.9}, {"loss": 0.4, "little": 2.4}])
    monkeypatch.setattr(trainer.Trainer, "_epoch", lambda run: next(losses))
    with pytest.raises(TrainingCollapsedError, match=r"loss of the little was 2.4 in epoch 2"):
        list(train(Supernet(micro), *small, replace(CONFIG, rollbacks=0)))


def test_a_little_that_has_not_begun_to_learn_is_no_collapse(micro, small, monkeypatch):
    losses = iter([{"loss": 0.5}, {"loss": 0.4, "little": 2.4}, {"loss": 0.4, "little": 1.4}])
    honest = trainer.Trainer._epoch

    def reported(run):
        honest(run)
        return next(losses)

    monkeypatch.setattr(trainer.Trainer, "_epoch", reported)
    assert [r.rollbacks for r in train(Supernet(micro), *small, replace(CONFIG, rollbacks=0))] == [0, 0, 0]


def test_weights_that_break_in_an_epochs_last_step_are_rolled_back(micro, small, monkeypatch):
    supernet, honest, calls = Supernet(micro), trainer.Trainer._epoch, []

    def breaking_once(run):
        losses = honest(run)
        calls.append(losses["loss"])
        if len(calls) == 2:
            run.learner.module.heads["big"].data[0, 0] = float("nan")
        return losses

    monkeypatch.setattr(trainer.Trainer, "_epoch", breaking_once)
    reports = list(train(supernet, *small, CONFIG))
    assert [(r.epoch, r.rollbacks) for r in reports] == [(1, 0), (2, 1), (3, 1)]
    assert all(math.isfinite(loss) for loss in calls)
    assert all(torch.isfinite(p).all() for p in supernet.parameters())


def test_a_checkpoint_that_watched_one_loss_is_still_read(micro, small):
    report = list(train(Supernet(micro), *small, replace(CONFIG, epochs=1)))[-1]
    meta = json.loads(read_metadata(report.checkpoint)["checkpoint"])
    best = meta.pop("best_losses")["loss"]
    earlier = json.dumps(meta | {"version": 2, "best_loss": best})
    old = save_tensors(load_tensors(report.checkpoint), metadata={"checkpoint": earlier})
    assert Checkpoint.from_bytes(old).best_losses == {"loss": best}


def test_fine_tuning_moves_only_what_its_pair_uses(micro, small):
    supernet = Supernet(micro)
    before = weights(supernet)
    plan = micro.plan(micro.extreme("stem", largest=False))
    report = list(fine_tune(supernet, plan, *small, replace(CONFIG, epochs=1)))[-1]
    changed = {name for name, tensor in weights(supernet).items() if not torch.equal(tensor, before[name])}
    assert {"heads.little", "heads.big", "alphas.stem"} <= changed
    assert not changed & {"heads.nested", "alphas.nested", "alphas.independent"}
    assert set(report.accuracies) == {"little", "big"}


def test_a_weights_split_of_one_image_is_refused(micro, digits, splits):
    with pytest.raises(InvalidRequestError, match="the weights split has 1 image but training needs at least 2"):
        next(train(Supernet(micro), digits, replace(splits, weights=np.array([0])), CONFIG))
