from __future__ import annotations

import json

import pytest

from workers.bench.registry import make_system
from workers.bench.system import Setting
from workers.train_config import TrainConfig
from workers.trainer import Trainer

CONFIG = TrainConfig(epochs=4, batch_size=32)


@pytest.mark.slow
def test_the_pair_that_was_found_is_priced_scored_and_found_again_after_a_restart(micro, small):
    dataset, splits = small
    plan = micro.plan(micro.extreme("stem", largest=True))
    setting = Setting(name="evolved", seed=0, space=micro, pair=plan, config=CONFIG, images=len(splits.weights))
    system = make_system(setting)
    planned = system.budget().tera_macs
    (phase,) = system.phases()
    learner = phase.learner({})
    *_, last = Trainer(learner, dataset, splits, phase.config).epochs()
    found = system.costs()
    assert found.macs[-1] < plan.little_macs + plan.tail_macs
    assert found.big_macs == plan.big_macs
    assert 0 < system.budget().tera_macs < planned
    outputs = system.finish({phase.name: learner.module}, dataset, splits)("calibration")
    assert outputs.logits.shape == (2, len(splits.calibration), 10)

    again = make_system(setting)
    resumed = again.phases()[0].learner({})
    assert not list(Trainer(resumed, dataset, splits, phase.config).epochs(last.checkpoint))
    assert again.costs() == found
    assert again.budget() == system.budget()
    found = json.loads(json.dumps(system.findings()))
    assert micro.plan(found["genes"]).little_macs == system.costs().macs[0]
    assert [step["epoch"] for step in found["trajectory"]["steps"]] == list(range(CONFIG.epochs + 1))
