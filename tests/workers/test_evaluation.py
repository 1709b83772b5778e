from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nas_service.errors import InvalidRequestError
from tests.workers.test_training import poisoned
from workers.data.augment import normalise
from workers.data.augmentation import Augmentation
from workers.errors import UncalibratedError
from workers.evaluation import EvaluationContext, EvaluationData, Outputs, evaluate, infer, recalibrate
from workers.routers import SCORES


def plan_of(space, coupling="stem", *, largest=True):
    return space.plan(space.extreme(coupling, largest=largest))


@pytest.fixture(scope="module")
def evaluation(trained, context):
    return evaluate(trained[0], plan_of(trained[0].space), context)


def test_accuracies_are_those_of_the_plain_module_run_image_by_image(evaluation, digits, splits):
    rows = torch.from_numpy(splits.validation)
    with torch.inference_mode():
        outputs = [evaluation.pair(normalise(digits.train_images[i : i + 1], digits.mean, digits.std)) for i in rows]
    for route, accuracy in enumerate((evaluation.little_accuracy, evaluation.big_accuracy)):
        predictions = torch.cat([o[route] for o in outputs]).argmax(1)
        assert float((predictions == digits.train_labels[rows]).float().mean()) == pytest.approx(accuracy)


def test_a_curve_runs_from_never_to_always(evaluation):
    for curve in evaluation.curves().values():
        assert curve.accuracy[0] == pytest.approx(evaluation.little_accuracy)
        assert curve.accuracy[-1] == pytest.approx(evaluation.big_accuracy)
        assert (curve.escalation_rate[0], curve.escalation_rate[-1]) == (0, 1)


@pytest.mark.parametrize("router", SCORES)
def test_every_point_of_a_curve_is_what_routing_by_its_threshold_gives(evaluation, router):
    outputs = evaluation.outputs
    curve, scores = outputs.curve(router), outputs.scores(router)
    for index in range(len(curve.thresholds)):
        escalated = scores < curve.thresholds[index]
        correct = np.where(escalated, outputs.big_correct, outputs.little_correct)
        assert (escalated.sum(), correct.sum()) == (curve.escalated[index], curve.correct[index])


def test_evaluating_leaves_the_supernet_alone_and_is_repeatable(trained, context):
    supernet = trained[0]
    before = [p.detach().clone() for p in supernet.parameters()]
    one, two = (evaluate(supernet, plan_of(supernet.space), context) for _ in range(2))
    assert torch.equal(one.outputs.little_logits, two.outputs.little_logits)
    assert torch.equal(one.outputs.escalated_logits, two.outputs.escalated_logits)
    assert all(torch.equal(p, b) for p, b in zip(supernet.parameters(), before, strict=True))


def test_a_pair_without_statistics_cannot_be_scored(trained, context):
    pair = trained[0].extract(plan_of(trained[0].space))
    with pytest.raises(UncalibratedError, match=r"BatchNorm has no statistics.*call recalibrate first"):
        infer(pair.eval(), context.batches, labels=context.labels)


def test_recalibration_gives_the_mean_over_batches_of_their_statistics(trained, context):
    pair = trained[0].extract(plan_of(trained[0].space))
    recalibrate(pair, context.recalibration)
    unit = pair.little.blocks[0].units[0]
    with torch.no_grad():
        means = [unit.convolution(batch).mean((0, 2, 3)) for batch in context.recalibration]
    torch.testing.assert_close(unit.norm.running_mean, torch.stack(means).mean(0), atol=1e-4, rtol=1e-4)
    assert not pair.training
    assert all(int(m.num_batches_tracked) == 4 for m in pair.modules() if isinstance(m, nn.BatchNorm2d))


def test_recalibrating_twice_is_recalibrating_once(trained, context):
    pair = trained[0].extract(plan_of(trained[0].space))
    recalibrate(pair, context.recalibration)
    once = {name: b.clone() for name, b in pair.named_buffers()}
    recalibrate(pair, context.recalibration)
    assert all(torch.equal(b, once[name]) for name, b in pair.named_buffers())


def test_evaluating_never_looks_at_calibration_or_test(trained, digits, splits):
    plan = plan_of(trained[0].space)
    dirty = poisoned(digits, splits, "calibration", "test")
    clean, other = (
        evaluate(trained[0], plan, EvaluationContext(EvaluationData.of(d, splits))).outputs for d in (digits, dirty)
    )
    assert torch.equal(clean.little_logits, other.little_logits)
    assert np.array_equal(clean.big_correct, other.big_correct)


def test_evaluating_does_look_at_the_validation_split(trained, digits, splits):
    plan = plan_of(trained[0].space)
    dirty = EvaluationContext(EvaluationData.of(poisoned(digits, splits, "validation"), splits))
    assert evaluate(trained[0], plan, dirty).big_accuracy < 0.5


def test_evaluation_data_holds_only_what_evaluation_needs(digits, splits):
    data = EvaluationData.of(digits, splits, recalibration=100, limit=50)
    assert (len(data.recalibration), len(data.images), len(data.labels)) == (100, 50, 50)
    assert data.split_hashes == splits.hashes
    assert data.images.untyped_storage().nbytes() == 50 * 64


def test_batchnorm_is_recalibrated_on_images_as_training_sees_them(digits, splits):
    plain = replace(digits, augmentation=Augmentation())
    once, again, bare = (EvaluationData.of(d, splits, recalibration=300, limit=1) for d in (digits, digits, plain))
    assert torch.equal(once.recalibration, again.recalibration)
    moved = (once.recalibration != bare.recalibration).flatten(1).any(1).float().mean()
    assert 0.8 < float(moved) < 0.95  # pad 1: one crop in nine is the image itself
    assert set(once.recalibration.unique().tolist()) <= set(bare.recalibration.unique().tolist())


def test_outputs_that_are_no_numbers_are_refused():
    logits = torch.zeros(4, 3)
    logits[1, 2] = float("nan")
    with pytest.raises(InvalidRequestError, match="little_logits of 1 of 4 images are not finite; train again"):
        Outputs(little_logits=logits, escalated_logits=torch.zeros(4, 3), labels=np.zeros(4, dtype=np.int64))
