"""Ways to run a step that must not change what is learnt: parts of a batch, bfloat16, compiled passes."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from tests.workers.ranks import GRADIENT, LinearLearner, still
from workers import compiling
from workers.baselines.multi_exit import Classifier, drawn
from workers.evolving.learning import make_learner
from workers.learners.classifier import ClassifierLearner
from workers.learners.pair import PairLearner
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import Trainer

CONFIG = TrainConfig(epochs=1, batch_size=32)
BFLOAT16 = replace(CONFIG, autocast=True)


def plan_of(micro, coupling="stem"):
    return micro.plan(micro.extreme(coupling, largest=True))


def a_classifier(micro, small, config):
    return ClassifierLearner(drawn(Classifier(plan_of(micro).little), seed=0), config)


def a_pair(micro, small, config):
    return PairLearner.untrained(plan_of(micro, "triangular"), config)


def a_sandwich(micro, small, config):
    return make_learner(Supernet(micro), config, None, dataset=small[0], splits=small[1])


def masks(micro, small, config):
    return make_learner(Supernet(micro), config, GRADIENT, dataset=small[0], splits=small[1])


def test_without_batchnorm_parts_of_a_batch_add_up_to_the_whole(small):
    dataset, splits = still(small[0]), small[1]
    weights, losses = [], []
    for parts in (1, 5):
        learner = LinearLearner()
        (report,) = Trainer(learner, dataset, splits, replace(CONFIG, accumulate=parts)).epochs()
        weights.append(learner.module[1].weight.detach())
        losses.append(report.losses["loss"])
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-6)
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)


def test_parts_of_a_batch_differ_in_size_by_one_image_at_most(small):
    learner = LinearLearner()
    list(Trainer(learner, *small, replace(CONFIG, accumulate=5)).epochs())
    assert [len(batch.labels) for batch in learner.seen[:5]] == [7, 7, 6, 6, 6]


@pytest.mark.parametrize(
    "make", [a_classifier, a_pair, *(pytest.param(m, marks=pytest.mark.slow) for m in (a_sandwich, masks))]
)
def test_bfloat16_passes_leave_weights_gradients_and_losses_in_float32(make, micro, small):
    learner, kinds = make(micro, small, BFLOAT16), set()
    learn, trainer = learner.learn, Trainer(learner, *small, BFLOAT16)

    def watched(batch, backward):
        assert torch.is_autocast_enabled("cpu")
        figures = learn(batch, lambda loss: (kinds.add(loss.dtype), backward(loss)))
        kinds.update(value.dtype for value in figures.values())
        return figures

    learner.learn = watched
    (report,) = trainer.epochs()
    tensors = [t for m in (learner.module, learner.extras) for t in m.state_dict().values() if t.is_floating_point()]
    assert torch.bfloat16 not in {t.dtype for t in tensors} | {
        p.grad.dtype for p in learner.module.parameters() if p.grad is not None
    }
    assert kinds <= {torch.float32, torch.float64}
    assert all(torch.isfinite(t).all() for t in tensors)
    assert 0 < report.losses["loss"] < 5


def test_bfloat16_changes_what_is_computed_but_little(micro, small):
    losses = [next(Trainer(a_pair(micro, small, c), *small, c).epochs()).losses["loss"] for c in (CONFIG, BFLOAT16)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_a_machine_without_a_compiler_trains_uncompiled_and_says_so(micro, small, monkeypatch, caplog):
    def fails(*_, **__):
        raise RuntimeError("No working C++ compiler found\nlong story")

    monkeypatch.setattr(torch, "compile", fails)
    compiling.compiler_problem.cache_clear()
    config = replace(CONFIG, compile=True)
    with caplog.at_level(logging.WARNING, logger=compiling.__name__):
        reports = list(Trainer(a_classifier(micro, small, config), *small, config).epochs())
    compiling.compiler_problem.cache_clear()
    assert len(reports) == 1
    assert "RuntimeError: No working C++ compiler found); install a C++ compiler and Python's headers" in caplog.text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_compiled_passes_learn_what_the_others_do(micro, small):
    if (problem := compiling.compiler_problem()) is not None:
        pytest.skip(f"nothing compiles here: {problem}")
    losses = []
    for config in (CONFIG, replace(CONFIG, compile=True)):
        learner = a_classifier(micro, small, config)
        losses.append(next(Trainer(learner, *small, config).epochs()).losses["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_configuration_without_compilation_fits_checkpoints_from_before_there_was_any():
    assert "compile" not in CONFIG.to_dict()
    compiled = replace(CONFIG, compile=True)
    assert TrainConfig.from_dict(compiled.to_dict()) == compiled
