"""The whole protocol on a trained pair: split by split, with a learned router, as a bench runs it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas_service.errors import ConflictError
from workers.data.augment import batches
from workers.evaluation import EvaluationContext, fold, infer, recalibrate
from workers.protocol.bootstrap import Resamples
from workers.protocol.choices import freeze
from workers.protocol.outcomes import CachedOutputs, PathCosts
from workers.protocol.report import Comparison, judge
from workers.protocol.sealed import SealedTest
from workers.routing.features import pool_last_features
from workers.routing.learned import RouterData, crossfit_scores, fit_learned_router

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair(micro, trained, data):
    found = trained[0].extract(micro.plan(micro.extreme("stem", largest=True)))
    recalibrate(found, EvaluationContext(data).recalibration)
    return found


def run(pair, dataset, images, labels) -> tuple[CachedOutputs, torch.Tensor]:
    ready = list(batches(images, dataset.mean, dataset.std, size=100))
    outputs = infer(pair, ready, labels=labels.numpy())
    cached = CachedOutputs(
        little_logits=outputs.little_logits.numpy(),
        escalated_logits=outputs.escalated_logits.numpy(),
        labels=outputs.labels,
    )
    return cached, pool_last_features(fold(pair), ready)


def test_a_trained_pair_with_a_learned_router_is_judged_from_calibration_to_report(pair, digits, splits):
    chosen = torch.from_numpy(np.concatenate([splits.calibration, splits.validation]))
    calibration, pooled = run(pair, digits, digits.train_images[chosen], digits.train_labels[chosen])
    plain = calibration.outcomes(np.zeros(len(chosen)))
    held_out = RouterData(
        logits=torch.from_numpy(calibration.little_logits), benefit=torch.from_numpy(plain.gain > 0), pooled=pooled
    )
    router = fit_learned_router(held_out)
    costs = PathCosts(little=pair.plan.little_macs, tail=pair.plan.tail_macs, big=pair.plan.big_macs)
    choices = freeze("ours", calibration=calibration.outcomes(crossfit_scores(held_out)), costs=costs, router="learned")
    features = {}

    def run_on_test(system):
        test = torch.from_numpy(splits.test)
        outputs, features[system] = run(pair, digits, digits.test_images[test], digits.test_labels[test])
        return outputs

    sealed = SealedTest(run_on_test)

    def score(outputs):
        return router.scores(torch.from_numpy(outputs.little_logits), features["ours"])

    resamples = Resamples.draw(len(splits.test), rng=np.random.default_rng(0), count=50)
    comparison = Comparison(classes=digits.classes)
    report = judge(choices, sealed, scorer=score, comparison=comparison, resamples=resamples)
    assert report.sweep.worst_transfer_gap < 0.2
    assert report.normalised_area.low > 0  # better than tossing a coin, on 287 images to learn from
    assert (report.regret >= -1e-12).all()
    with pytest.raises(ConflictError, match="was opened before"):
        judge(choices, sealed, scorer=score, comparison=comparison, resamples=resamples)
