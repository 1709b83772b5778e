"""The int8 variant of a bundle: its own files, thresholds and promises, and what it changes against float."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import torch

from edge_agent.runtime import Pair as BoardPair
from tests.workers.quantize.test_ptq import finished
from tests.workers.test_training import poisoned
from workers.bundle import Bundle, BundleOptions, build_bundle
from workers.data.augment import batches
from workers.export import ExportedPair
from workers.quantize.choice import Int8Config
from workers.quantize.running import run_pair

pytestmark = pytest.mark.slow

QUICK = Int8Config(methods=("minmax", "entropy"), qat=None)


@pytest.fixture(scope="module")
def pair(trained, context):
    return finished(trained, context, "nested")


@pytest.fixture(scope="module")
def bundle(pair, digits, splits) -> Bundle:
    costs = {"latency_ms@pi": (1.0, 3.0)}
    return build_bundle(pair, digits, splits, BundleOptions(router="margin", int8=QUICK), candidate="c-1", costs=costs)


def content(bundle: Bundle) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_both_variants_lie_in_the_bundle_with_sizes_and_points_of_their_own(bundle):
    manifest = bundle.manifest
    exact, rounded = manifest.variants
    assert (exact.precision, rounded.precision) == ("fp32", "int8")
    assert (rounded.little, rounded.big, rounded.parity) == ("little.int8.onnx", "big.int8.onnx", "parity.int8.npz")
    assert exact.operating_points == manifest.operating_points
    assert [p.name for p in rounded.operating_points] == [p.name for p in exact.operating_points]
    assert rounded.operating_points != exact.operating_points
    sizes = {file.name: file.size_bytes for file in manifest.files}
    assert sizes["big.int8.onnx"] < 0.5 * sizes["big.onnx"]


def test_the_float_variant_is_what_it_would_be_alone(bundle, pair, digits, splits):
    alone = build_bundle(
        pair, digits, splits, BundleOptions(router="margin"), candidate="c-1", costs={"latency_ms@pi": (1.0, 3.0)}
    )
    assert alone.manifest.variants == bundle.manifest.variants[:1]
    assert all(content(bundle)[name] == data for name, data in content(alone).items() if name != "bundle.json")


def test_int8_promises_come_from_the_int8_graphs(bundle, digits, splits):
    files = content(bundle)
    models = ExportedPair(little=files["little.int8.onnx"], big=files["big.int8.onnx"])
    images = {
        "calibration": (digits.train_images[splits.calibration], digits.train_labels[splits.calibration]),
        "test": (digits.test_images, digits.test_labels),
    }
    for split, (pixels, labels) in images.items():
        got = run_pair(models, batches(pixels, digits.mean, digits.std, size=125), labels=labels.numpy())
        for point in bundle.manifest.variants[1].operating_points:
            limit = {"never": -np.inf, "always": np.inf}.get(str(point.threshold), point.threshold)
            escalated = got.scores < float(limit)
            right = np.where(escalated, got.outputs.big_correct, got.outputs.little_correct)
            made = getattr(point, split)
            assert made.accuracy == pytest.approx(right.mean())
            assert made.escalation_rate == pytest.approx(escalated.mean())


def test_no_cost_measured_in_float_is_promised_for_int8(bundle):
    exact, rounded = (variant.operating_points[0].calibration for variant in bundle.manifest.variants)
    assert set(exact.expected_cost) == {"macs", "latency_ms@pi"}
    assert set(rounded.expected_cost) == {"macs"}


def test_a_board_computes_what_the_bundle_says(bundle, tmp_path):
    path = tmp_path / "bundle.zip"
    path.write_bytes(bundle.data)
    with BoardPair.load(path, precision="int8") as pair:
        report = pair.verify_parity()
        assert (report.n, report.route_mismatches, report.label_mismatches) == (64, 0, 0)
        assert report.max_abs_error < 1e-3
        assert pair.operating_point in bundle.manifest.variants[1].operating_points


def test_what_int8_changes_is_said(bundle, splits):
    said = bundle.manifest.provenance["int8"]
    assert (said["weights"], said["validation_images"]) == ("as trained", len(splits.validation))
    assert {a["method"] for a in said["attempts"]} == set(QUICK.methods)
    for split in ("calibration", "test"):
        assert 0.9 < said["route_agreement"][split] <= 1
        exact, rounded = (said["accuracy"][split][precision] for precision in ("fp32", "int8"))
        assert all(abs(exact[half] - rounded[half]) < 0.03 for half in ("little", "big"))
    points = bundle.manifest.variants[1].operating_points
    never = next(p for p in points if p.name == "never")
    assert said["accuracy"]["test"]["int8"]["little"] == pytest.approx(never.test.accuracy)


def test_no_choice_for_int8_sees_the_test_split(bundle, pair, digits, splits):
    other = build_bundle(
        pair,
        poisoned(digits, splits, "test"),
        splits,
        BundleOptions(router="margin", int8=QUICK),
        candidate="c-1",
        costs={"latency_ms@pi": (1.0, 3.0)},
    )
    ours, theirs = (b.manifest.variants[1].operating_points for b in (bundle, other))
    assert [(p.threshold, p.calibration) for p in ours] == [(p.threshold, p.calibration) for p in theirs]
    assert bundle.manifest.files == other.manifest.files
    assert [p.test for p in ours] != [p.test for p in theirs]


def test_a_learned_router_scores_in_the_int8_graph(pair, digits, splits):
    made = build_bundle(pair, digits, splits, BundleOptions(router="learned", int8=QUICK), candidate="c-1")
    files = content(made)
    models = ExportedPair(little=files["little.int8.onnx"], big=files["big.int8.onnx"])
    with np.load(io.BytesIO(files["parity.int8.npz"]), allow_pickle=False) as parity:
        images = torch.from_numpy(parity["images"]).permute(0, 3, 1, 2)
        got = run_pair(
            models, batches(images, digits.mean, digits.std, size=64), labels=np.zeros(len(images), dtype=np.int64)
        )
        np.testing.assert_allclose(got.scores, parity["scores"], atol=1e-4)
