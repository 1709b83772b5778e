from __future__ import annotations

import pytest

from nas_service.errors import InvalidRequestError
from workers.train_config import TrainConfig, one_cycle


def test_configuration_goes_through_json_and_refuses_unknown_keys():
    config = TrainConfig(epochs=3, learning_rate=0.2, seed=4)
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InvalidRequestError, match="unknown training key 'lr'; choose from: epochs, batch_size"):
        TrainConfig.from_dict({"epochs": 1, "lr": 0.1})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "epochs is 0 but must be at least 1"),
        ("batch_size", 0, "batch_size is 0 but must be at least 1"),
        ("distillation", 1.5, r"distillation is 1.5 but must lie in \[0, 1\]"),
        ("learning_rate", 0.0, "learning_rate is 0 but must be above 0"),
        ("learning_rate", float("nan"), "learning_rate is nan but must be above 0"),
        ("clip_norm", float("inf"), "clip_norm is inf but must be above 0 and finite"),
        ("random_pairs", -1, "must be at least 0"),
    ],
)
def test_values_out_of_range_are_refused(name, value, message):
    with pytest.raises(InvalidRequestError, match=message):
        TrainConfig(**{"epochs": 1, name: value})


def test_rate_rises_to_its_peak_and_falls_to_almost_nothing():
    rates = [one_cycle(step, 100, peak=0.5) for step in range(100)]
    assert max(rates) == rates[29] == 0.5
    assert rates[:30] == sorted(rates[:30])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert 0 < rates[-1] < 0.005


def test_a_single_step_trains_at_the_peak():
    assert one_cycle(0, 1, peak=0.5) == 0.5
