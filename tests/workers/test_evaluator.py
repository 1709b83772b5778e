from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from nas_service.bar import Bar
from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from nas_service.presets import MICRO, TINY
from tests.workers.test_export import run
from workers.bundle import BundleOptions
from workers.checkpoint import Checkpoint
from workers.data.dataset import DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationData, evaluate
from workers.evaluator import EvaluatorCore, Finishing
from workers.export import ExportedPair
from workers.quantize.choice import Int8Config
from workers.quantize.qat import QatConfig
from workers.train_config import TrainConfig


@pytest.fixture(scope="module")
def core(trained, data) -> EvaluatorCore:
    return EvaluatorCore(MICRO, checkpoint=trained[1], data=data)


def point(core, coupling="stem"):
    return core.space.extreme(coupling, largest=True)


def test_a_report_holds_what_evaluate_gives(core, trained, context):
    report = core.evaluate(point(core), router="margin")
    evaluation = evaluate(trained[0], trained[0].space.plan(point(core)), context)
    curve = Curve.from_bytes(report.curve)
    assert (report.status, report.error, report.models) == ("ok", None, {})
    assert report.accuracies["big"] == pytest.approx(100 * evaluation.big_accuracy)
    assert np.array_equal(curve.correct, evaluation.outputs.curve("margin").correct)
    assert set(report.seconds) == {"extract", "recalibrate", "infer", "export", "total"}


def test_an_evaluation_ends_at_the_part_after_which_nothing_is_worth_having(core, data):
    bar = Bar(parts=(0.25, 0.5), doubt=2.0, objectives=("error",), front=((0.0,),))
    report = core.evaluate(point(core), router="msp", export=("little", "big"), bar=bar)
    seen = Curve.from_bytes(report.curve)
    assert (report.status, report.models, report.accuracies["of"]) == ("ok", {}, len(data.labels))
    assert seen.n == report.accuracies["n"] < len(data.labels)


def test_an_evaluation_that_may_reach_the_front_is_the_same_as_one_without_a_bar(core):
    bar = Bar(parts=(0.25, 0.5), doubt=2.0, objectives=("error",), front=((100.0,),))
    held, free = (core.evaluate(point(core), router="msp", export=("little",), bar=b) for b in (bar, None))
    assert (held.accuracies, held.curve, set(held.models)) == (free.accuracies, free.curve, {"little"})


def test_every_beginning_of_the_images_is_spread_over_the_classes(trained):
    dataset = load(DatasetSpec(name="digits"))
    splits = Splits.of(dataset, seed=0)
    order = np.argsort(dataset.train_labels[torch.from_numpy(splits.validation)].numpy(), kind="stable")
    by_class = replace(splits, validation=splits.validation[order])
    labels = EvaluationData.of(dataset, by_class).labels.numpy()
    counts = np.bincount(labels[: len(labels) // 4], minlength=10)
    assert sorted(labels) == sorted(dataset.train_labels[torch.from_numpy(splits.validation)].tolist())
    assert counts.min() >= 0.6 * counts.mean()


def test_a_learned_router_is_searched_by_cross_fitted_scores_and_its_graph_can_be_measured(core, trained, context):
    report = core.evaluate(point(core), router="learned", export=("little",))
    outputs = evaluate(trained[0], trained[0].space.plan(point(core)), context).outputs
    assert np.array_equal(Curve.from_bytes(report.curve).correct, outputs.curve("learned").correct)
    nodes = {node.name for node in onnx.load_model_from_string(report.models["little"]).graph.node}
    assert any(name.startswith("router/") for name in nodes)


@pytest.mark.parametrize("halves", [(), ("little",), ("big",), ("little", "big")])
def test_only_the_halves_asked_for_are_exported(core, halves):
    assert tuple(core.evaluate(point(core), router="msp", export=halves).models) == halves


def test_what_was_scored_is_what_is_exported(core, trained, data, context):
    report = core.evaluate(point(core, "nested"), router="margin", export=("little", "big"))
    x = torch.cat(context.batches).contiguous().numpy()
    got = run(ExportedPair(**report.models), x)
    for name in ("little", "big"):
        assert report.accuracies[name] == pytest.approx(100 * (got[name].argmax(1) == data.labels.numpy()).mean())


@pytest.mark.parametrize(
    ("architecture", "router", "reason"),
    [
        ({"coupling": "stem"}, "margin", "lacks gene"),
        ({}, "margin", "lacks gene"),
        (None, "oracle", "unknown router 'oracle'; choose one of: msp, margin, entropy, learned"),
    ],
)
def test_a_failure_is_a_report_and_the_next_candidate_goes_on(core, architecture, router, reason):
    failed = core.evaluate(point(core) if architecture is None else architecture, router=router)
    assert failed.status == "failed"
    assert reason in failed.error
    assert failed.curve is None
    assert core.evaluate(point(core), router="margin").status == "ok"


def test_weights_that_are_no_numbers_are_a_failed_report(trained, data):
    checkpoint = Checkpoint.from_bytes(trained[1])
    checkpoint.model["heads.little"].fill_(float("nan"))
    core = EvaluatorCore(MICRO, checkpoint=checkpoint.to_bytes(), data=data)
    report = core.evaluate(point(core), router="margin")
    assert report.status == "failed"
    assert "little_logits of 143 of 143 images are not finite" in report.error


def test_a_checkpoint_of_another_space_is_refused_at_once(trained, data):
    with pytest.raises(InvalidRequestError, match=r"belongs to space 'micro' .* but this job has 'tiny'"):
        EvaluatorCore(TINY, checkpoint=trained[1], data=data)


def test_a_finalist_is_fine_tuned_and_bundled_and_the_supernet_stays(core, digits, splits):
    before = core.evaluate(point(core), router="margin").curve
    tuning = TrainConfig(epochs=2, batch_size=64, learning_rate=0.02)
    *_, report = core.finalist(
        point(core),
        candidate="c-1",
        dataset=digits,
        splits=splits,
        finishing=Finishing(bundle=BundleOptions(router="margin"), tuning=tuning),
        provenance={"job": "j"},
    )
    assert (report.status, report.error) == ("ok", None)
    with zipfile.ZipFile(io.BytesIO(report.bundle)) as archive:
        assert archive.read("big.onnx") == report.models["big"]
    assert report.manifest["provenance"]["fine_tune"]["epochs"] == 2
    assert report.accuracies["n"] == 359
    assert report.accuracies["big"] > 85
    assert core.evaluate(point(core), router="margin").curve == before


def test_a_finalist_that_goes_on_from_an_epochs_checkpoint_ends_with_the_same_models(core, digits, splits):
    tuning = TrainConfig(epochs=2, batch_size=64, learning_rate=0.02)
    finishing = Finishing(bundle=BundleOptions(router="margin"), tuning=tuning)
    reports = list(core.fine_tuning(point(core), dataset=digits, splits=splits, tuning=tuning))
    assert [report.epoch for report in reports] == [1, 2]
    whole, half, done = (
        finalist(core, digits, splits, replace(finishing, tuned=checkpoint))[-1].models
        for checkpoint in (None, reports[0].checkpoint, reports[1].checkpoint)
    )
    assert whole == half == done


@pytest.mark.slow
def test_a_finalist_that_was_cut_off_in_its_fine_tuning_for_int8_ends_with_the_same_bundle(core, small):
    def finished(checkpoint: bytes | None) -> list:
        int8 = Int8Config(methods=("percentile-80",), qat=QatConfig(epochs=2, batch_size=32), resume=checkpoint)
        return finalist(core, *small, Finishing(bundle=BundleOptions(router="margin", int8=int8)))

    *reports, whole = finished(None)
    assert [report.epoch for report in reports] == [1, 2]
    *rest, resumed = finished(reports[0].checkpoint)
    assert [report.epoch for report in rest] == [2]
    assert resumed.bundle == whole.bundle
    *none, done = finished(reports[1].checkpoint)
    assert (none, done.bundle) == ([], whole.bundle)


def finalist(core: EvaluatorCore, dataset, splits, finishing: Finishing) -> list:
    return list(core.finalist(point(core), candidate="c-1", dataset=dataset, splits=splits, finishing=finishing))


def test_a_finalist_that_fails_is_a_report(core, digits, splits):
    *_, report = core.finalist(
        {}, candidate="c-1", dataset=digits, splits=splits, finishing=Finishing(bundle=BundleOptions(router="margin"))
    )
    assert (report.status, report.bundle) == ("failed", None)
    assert "lacks gene" in report.error
