"""Trials of a tuning: checkpoints that go on with other hyperparameters, and augmentation that belongs to a trial."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas_service.presets import MICRO
from workers.checkpoint import Checkpoint
from workers.data.dataset import DatasetSpec
from workers.train_config import TrainConfig
from workers.training_run import TrainingRun
from workers.tuning import train_trial, with_hyperparameters

CONFIG = TrainConfig(epochs=2, batch_size=32, learning_rate=0.1)


def run_of(config: TrainConfig) -> TrainingRun:
    return TrainingRun(
        definition=MICRO, dataset=DatasetSpec(name="digits"), seed=0, train_fraction=0.1, config=config,
        evolution=None, constraints=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def first_epoch(small) -> bytes:
    return next(train_trial(run_of(CONFIG), loaded=small, augmentation=None, resume=None)).checkpoint


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 0.02}, {"batch_size": 16}, {"weight_decay": 0.1, "random_pairs": 2}]
)
def test_a_trial_goes_on_from_weights_that_were_trained_with_other_hyperparameters(small, first_epoch, changes):
    config = replace(CONFIG, **changes)
    [report] = train_trial(run_of(config), loaded=small, augmentation=None, resume=first_epoch)
    checkpoint = Checkpoint.from_bytes(report.checkpoint)
    assert report.epoch == 2
    assert checkpoint.config == config.to_dict()
    assert checkpoint.step == 2 * (len(small[1].weights) // config.batch_size)


def test_a_checkpoint_with_the_same_hyperparameters_stays_as_it_is(small, first_epoch):
    assert with_hyperparameters(first_epoch, CONFIG, images=len(small[1].weights)) is first_epoch


def test_augmentation_is_the_trials_own(small, first_epoch):
    plain, padded = (
        next(train_trial(run_of(CONFIG), loaded=small, augmentation=change, resume=None)).losses["loss"]
        for change in (None, {"pad": 2})
    )
    assert plain != padded
