from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from workers.data.augmentation import Augmentation
from workers.learners.sandwich import SandwichLearner
from workers.losses import branch_loss
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import Trainer
from workers.training import train

CONFIG = TrainConfig(epochs=2, batch_size=64)
EVERYTHING = Augmentation(pad=1, flip=True, randaugment=2, mixup=0.2, cutmix=1.0)


def first_batch(micro, small, augmentation):
    dataset, splits = replace(small[0], augmentation=augmentation), small[1]
    run = Trainer(SandwichLearner.over_space(Supernet(micro), CONFIG), dataset, splits, CONFIG)
    return run._batch(torch.from_numpy(splits.weights[:64]), 1), dataset.train_labels[splits.weights[:64]]


@pytest.mark.parametrize("augmentation", [Augmentation(mixup=1.0), Augmentation(cutmix=1.0)])
def test_a_learner_gets_soft_targets_where_images_are_mixed(micro, small, augmentation):
    batch, labels = first_batch(micro, small, augmentation)
    assert torch.equal(batch.labels, labels)
    assert batch.targets.shape == (64, 10)
    assert not torch.equal(batch.targets, F.one_hot(labels, 10).float())


def test_a_learner_gets_labels_alone_where_they_are_not(micro, small):
    assert first_batch(micro, small, Augmentation(pad=1, randaugment=1))[0].targets is None


def test_soft_targets_that_are_certain_cost_what_labels_cost():
    logits, labels = torch.randn(8, 10, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    config = TrainConfig(epochs=1, label_smoothing=0.1)
    hard, soft = (
        branch_loss(logits, target, teacher=None, weight=0.0, config=config)
        for target in (labels, F.one_hot(labels, 10).float())
    )
    torch.testing.assert_close(hard, soft)


def test_a_resumed_run_draws_the_same_operations_windows_and_mixtures(micro, small):
    data = replace(small[0], augmentation=EVERYTHING), small[1]
    undisturbed, resumed = Supernet(micro), Supernet(micro, seed=99)
    reports = list(train(undisturbed, *data, CONFIG))
    torch.manual_seed(12345)  # nothing may depend on the global generator
    list(train(resumed, *data, CONFIG, resume=reports[0].checkpoint))
    assert all(torch.equal(a, b) for a, b in zip(undisturbed.parameters(), resumed.parameters(), strict=True))
