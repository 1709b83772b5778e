from __future__ import annotations

from dataclasses import replace

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from workers.alone import train_alone
from workers.data.dataset import DatasetSpec
from workers.train_config import TrainConfig
from workers.training_run import TrainingRun

EPOCHS = 6


@pytest.fixture(scope="module")
def training(small):
    """How a pair is trained alone: from the start, or from a checkpoint on."""
    space = PairSpace(MICRO, channels=1, resolution=8, classes=10)
    architecture = {name: values[-1] for name, values in space.choices.items()} | {"coupling": "stem"}
    config = TrainConfig(epochs=EPOCHS, batch_size=16, learning_rate=0.1)
    run = TrainingRun(definition=MICRO, dataset=DatasetSpec(name="digits"), seed=0, train_fraction=0.1, config=config,
                      evolution=None, constraints=None)  # fmt: skip

    def train(resume=None, **changes):
        return list(train_alone(replace(run, **changes), architecture, router="msp", resume=resume, loaded=small))

    return train


@pytest.fixture(scope="module")
def undisturbed(training):
    return training()


@pytest.mark.slow
def test_a_pair_is_trained_alone_and_scored_as_a_search_scores_it(undisturbed, small):
    *reports, accuracies = undisturbed
    assert [report.epoch for report in reports] == list(range(1, EPOCHS + 1))
    assert accuracies["big"] > 25
    assert accuracies["n"] == len(small[1].validation)


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [1, EPOCHS])
def test_what_goes_on_after_an_epoch_trains_the_rest_alone_and_ends_the_same(training, undisturbed, stopped):
    *reports, accuracies = undisturbed
    *rest, resumed = training(reports[stopped - 1].checkpoint)
    assert [report.epoch for report in rest] == list(range(stopped + 1, EPOCHS + 1))
    assert [report.checkpoint for report in rest] == [report.checkpoint for report in reports[stopped:]]
    assert resumed == accuracies


def test_a_checkpoint_of_another_training_is_refused(training):
    other = TrainConfig(epochs=1, batch_size=16)
    checkpoint = training(config=other)[0].checkpoint
    with pytest.raises(InvalidRequestError, match="was trained with epochs 1 but this job has 6; resume with the same"):
        training(checkpoint)
