"""One trial of a tuning: a supernet with the trial's hyperparameters, from a checkpoint that may have had others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from workers.checkpoint import Checkpoint
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.parallel import shared_batch
from workers.train_config import TrainConfig
from workers.trainer import EpochReport
from workers.training_run import TrainingRun, run_training


def train_trial(
    run: TrainingRun,
    *,
    loaded: tuple[Dataset, Splits],
    augmentation: dict[str, Any] | None,
    resume: bytes | None,
    device: str = "cpu",
) -> Iterator[EpochReport]:
    """Train a supernet and yield a report after every epoch; errors as in `train`.

    Args:
        run: The space, and the hyperparameters to train with from here on.
        loaded: The data set, with its own augmentation, and its splits.
        augmentation: What differs from that, by name.
        resume: Where to go on; it may have been trained with other hyperparameters, as a population's are.
        device: Where to train.
    """
    dataset, splits = loaded
    changed = replace(dataset, augmentation=dataset.augmentation.changed(augmentation))
    if resume is not None:
        resume = with_hyperparameters(resume, run.config, images=len(splits.weights))
    yield from run_training(run, loaded=(changed, splits), resume=resume, device=device)


def with_hyperparameters(data: bytes, config: TrainConfig, *, images: int) -> bytes:
    """Return the checkpoint as if it had been trained with `config`, as many epochs; weights and momenta stay.

    Args:
        data: The checkpoint.
        config: What training goes on with.
        images: Of the weights split, which with the batch size tell how many steps an epoch has.
    """
    checkpoint = Checkpoint.from_bytes(data)
    if checkpoint.config == config.to_dict():
        return data
    batch = shared_batch(config.batch_size, images=images, size=1, parts=config.accumulate)
    return replace(checkpoint, config=config.to_dict(), step=checkpoint.epoch * (images // batch)).to_bytes()
