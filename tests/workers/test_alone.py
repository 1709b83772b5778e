from __future__ import annotations

import pytest

from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from workers.alone import train_alone
from workers.data.dataset import DatasetSpec
from workers.train_config import TrainConfig
from workers.training_run import TrainingRun


@pytest.mark.slow
def test_a_pair_is_trained_alone_and_scored_as_a_search_scores_it(small):
    space = PairSpace(MICRO, channels=1, resolution=8, classes=10)
    architecture = {name: values[-1] for name, values in space.choices.items()} | {"coupling": "stem"}
    config = TrainConfig(epochs=6, batch_size=16, learning_rate=0.1)
    run = TrainingRun(definition=MICRO, dataset=DatasetSpec(name="digits"), seed=0, train_fraction=0.1, config=config,
                      evolution=None, constraints=None)  # fmt: skip
    first, again = (train_alone(run, architecture, router="msp", loaded=small) for _ in range(2))
    assert first == again
    assert first["big"] > 25
    assert first["n"] == len(small[1].validation)
