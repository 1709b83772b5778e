from __future__ import annotations

import pytest

from nas_service.presets import MICRO
from workers.bundle import BundleOptions
from workers.data.dataset import DatasetSpec
from workers.evaluator import Finishing
from workers.train_config import TrainConfig

pytestmark = [pytest.mark.ray, pytest.mark.slow]
SPEC = DatasetSpec(name="digits")


def test_a_trained_supernet_streams_out_and_its_candidates_are_evaluated(ray_cluster):
    import ray

    from workers.actors import EvaluatorActor, TrainerActor

    trainer = TrainerActor.remote(MICRO, dataset=SPEC, train_fraction=0.1)
    stream = trainer.train.remote(TrainConfig(epochs=2, batch_size=32))
    reports = [ray.get(reference) for reference in stream]
    assert [report.epoch for report in reports] == [1, 2]
    resumed = [
        ray.get(r) for r in trainer.train.remote(TrainConfig(epochs=2, batch_size=32), resume=reports[0].checkpoint)
    ]
    assert [report.checkpoint for report in resumed] == [reports[1].checkpoint]

    evaluator = EvaluatorActor.remote(
        MICRO, checkpoint=reports[-1].checkpoint, data=ray.get(trainer.evaluation_data.remote())
    )
    failed = ray.get(evaluator.evaluate.remote({}, router="margin"))
    assert failed.status == "failed"
    point = {"coupling": "nested", "stem_width": 8, "stem_depth": 1, "little_stem_width": 8}
    point |= {"little0_width": 8, "little1_width": 8, "little1_depth": 1}
    point |= {"big0_width": 16, "big0_depth": 1, "big0_kind": "fused"}
    point |= {"big1_width": 24, "big1_depth": 1, "big1_kind": "residual"}
    report = ray.get(evaluator.evaluate.remote(point, router="margin", export=["little"]))
    assert (report.status, report.error, list(report.models)) == ("ok", None, ["little"])
    steps = evaluator.finalist.remote(
        point,
        candidate="c-1",
        finishing=Finishing(bundle=BundleOptions(router="msp")),
        dataset=SPEC,
        train_fraction=0.1,
    )
    [final] = [ray.get(reference) for reference in steps]
    assert (final.status, final.error) == ("ok", None)
    assert final.manifest["provenance"]["split_hashes"] == report.split_hashes
    ray.kill(trainer)
    ray.kill(evaluator)
