from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nas_service.errors import InvalidRequestError
from workers.baselines.exit_network import ExitNetwork
from workers.baselines.exit_plan import place_exits
from workers.baselines.msdnet import MsdNet
from workers.baselines.msdnet_plan import MsdPlan
from workers.baselines.multi_exit import Classifier, drawn
from workers.evaluation import EvaluationContext, EvaluationData
from workers.learner import Batch
from workers.learners.classifier import ClassifierLearner, weights_digest
from workers.learners.exits import ExitsLearner
from workers.train_config import TrainConfig
from workers.trainer import Trainer

CONFIG = TrainConfig(epochs=2, batch_size=32)
MSD = MsdPlan(channels=1, resolution=8, classes=10, width=8, growth=8, factors=(1, 2, 2), step=0)
KINDS = ["static", "distilled", "branchy", "boosted", pytest.param("msdnet", marks=pytest.mark.slow)]


def learner_of(kind, pair, *, seed=0, config=CONFIG):
    if kind == "static":
        return ClassifierLearner(drawn(Classifier(pair.little), seed=seed), config)
    if kind == "distilled":
        teacher = drawn(Classifier(pair.big), seed=7)
        return ClassifierLearner(drawn(Classifier(pair.little), seed=seed), config, teacher=teacher)
    if kind == "msdnet":
        return ExitsLearner(drawn(MsdNet(MSD), seed=seed), config)
    net = ExitNetwork(place_exits(pair.big, [7744]), boosted=kind == "boosted")
    return ExitsLearner(drawn(net, seed=seed), config)


def batch_of(count=16):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 1, 8, 8, generator=generator).to(memory_format=torch.channels_last)
    return Batch(images=images, labels=torch.arange(count) % 10, step=0, steps=1, generator=generator)


def gradients(learner, batch):
    learner.module.train().zero_grad(set_to_none=True)
    figures = learner.learn(batch, lambda loss: loss.backward())
    return figures, {n: p.grad for n, p in learner.module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_with_the_same_bits(kind, pair, small):
    whole = list(Trainer(learner_of(kind, pair), *small, CONFIG).epochs())
    resumed = Trainer(learner_of(kind, pair, seed=3), *small, CONFIG)
    torch.rand(3)
    (last,) = resumed.epochs(whole[0].checkpoint)
    assert last.checkpoint == whole[1].checkpoint
    assert last.accuracies == whole[1].accuracies


@pytest.mark.parametrize(
    ("kind", "names"),
    [("static", {"net"}), ("branchy", {"exit1", "exit2"}), ("msdnet", {"exit1", "exit2", "exit3"})],
)
def test_watching_names_every_exit_and_changes_nothing(kind, names, pair, small):
    learner = learner_of(kind, pair)
    before = weights_digest(learner.module)
    accuracies = learner.watch(EvaluationContext(EvaluationData.of(*small, recalibration=50, limit=50)))
    assert set(accuracies) == names
    assert all(0 <= value <= 1 for value in accuracies.values())
    assert weights_digest(learner.module) == before


def test_a_teacher_moves_the_student_and_stays_as_it_is(pair):
    alone, taught = learner_of("static", pair), learner_of("distilled", pair)
    before = weights_digest(taught.teacher)
    plain, with_lesson = gradients(alone, batch_of()), gradients(taught, batch_of())
    assert plain[0]["labels"] == with_lesson[0]["labels"]
    assert plain[0]["loss"] != with_lesson[0]["loss"]
    assert any(not torch.equal(with_lesson[1][name], grad) for name, grad in plain[1].items())
    assert weights_digest(taught.teacher) == before
    assert not any(p.requires_grad for p in taught.teacher.parameters())


def test_a_teacher_of_no_weight_teaches_nothing(pair):
    config = replace(CONFIG, little_distillation=0.0)
    plain, untaught = (gradients(learner_of(k, pair, config=config), batch_of()) for k in ("static", "distilled"))
    assert all(torch.equal(untaught[1][name], grad) for name, grad in plain[1].items())


def test_training_leaves_the_teacher_that_was_given_as_it_was(pair):
    teacher = drawn(Classifier(pair.big), seed=7).train()
    learner = ClassifierLearner(drawn(Classifier(pair.little), seed=0), CONFIG, teacher=teacher)
    gradients(learner, batch_of())
    assert teacher.training
    assert all(p.requires_grad for p in teacher.parameters())


def test_a_teacher_of_other_classes_is_refused(pair):
    teacher = Classifier(replace(pair.big, classes=7))
    with pytest.raises(InvalidRequestError, match="the teacher knows 7 classes but the student 10; train it on the"):
        ClassifierLearner(Classifier(pair.little), CONFIG, teacher=teacher)


def test_resuming_under_another_teacher_is_refused(pair, small):
    checkpoint = next(Trainer(learner_of("distilled", pair), *small, CONFIG).epochs()).checkpoint
    other = drawn(Classifier(pair.big), seed=8)
    learner = ClassifierLearner(drawn(Classifier(pair.little), seed=0), CONFIG, teacher=other)
    with pytest.raises(InvalidRequestError, match=r"\(teacher '"):
        next(Trainer(learner, *small, CONFIG).epochs(checkpoint))


def test_labels_of_mixed_images_are_learnt_from(pair):
    learner, batch = learner_of("static", pair), batch_of()
    soft = torch.full((16, 10), 0.1)
    mixed = replace(batch, targets=soft)
    (logits,) = learner.module(batch.images)
    expected = torch.nn.functional.cross_entropy(logits, soft)
    torch.testing.assert_close(gradients(learner, mixed)[0]["loss"], expected)


def test_label_smoothing_raises_the_least_loss(pair):
    sharp, smooth = (
        gradients(learner_of("branchy", pair, config=replace(CONFIG, label_smoothing=value)), batch_of())[0]
        for value in (0.0, 0.2)
    )
    assert sharp["exit2"] != smooth["exit2"]


def test_exits_learn_the_weighted_sum_of_their_losses(pair):
    net = drawn(ExitNetwork(place_exits(pair.big, [7744])), seed=0)
    figures, _ = gradients(ExitsLearner(net, CONFIG, weights=(0.5, 1)), batch_of())
    torch.testing.assert_close(figures["all"], 0.5 * figures["exit1"] + figures["exit2"])
    assert figures["loss"] == figures["exit2"]


def test_an_exit_of_no_weight_gets_no_gradient(pair):
    net = drawn(ExitNetwork(place_exits(pair.big, [7744])), seed=0)
    figures, moved = gradients(ExitsLearner(net, CONFIG, weights=(0, 1)), batch_of())
    assert "exit1" not in figures
    assert not any(name.startswith("early") for name in moved)
    assert any(name.startswith("backbone") for name in moved)


@pytest.mark.parametrize("weights", [(1,), (1, 1, 1), (-1, 1), (1, 0), (1, float("nan"))])
def test_weights_that_fit_no_net_are_refused(pair, weights):
    with pytest.raises(InvalidRequestError, match="for 2 exits; give one for each, none below 0, the last above 0"):
        ExitsLearner(ExitNetwork(place_exits(pair.big, [7744])), CONFIG, weights=weights)
