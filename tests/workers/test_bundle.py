from __future__ import annotations

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch

from edge_agent.records import Manifest
from tests.workers.test_export import run
from tests.workers.test_training import poisoned
from workers.bundle import Bundle, BundleOptions, build_bundle
from workers.data.augment import normalise
from workers.errors import UncalibratedError
from workers.evaluation import recalibrate
from workers.export import ExportedPair
from workers.network import Pair


@pytest.fixture(scope="module")
def pair(trained, context) -> Pair:
    supernet = trained[0]
    pair = supernet.extract(supernet.space.plan(supernet.space.extreme("stem", largest=True)))
    recalibrate(pair, context.recalibration)
    return pair


def build(pair, dataset, splits, **changes) -> Bundle:
    options = {
        "candidate": "cand-1",
        "costs": {"latency_ms@pi": (1.0, 3.0)},
        "provenance": {"job": "job-1", "seed": 0},
    }
    return build_bundle(pair, dataset, splits, BundleOptions(router="margin"), **{**options, **changes})


@pytest.fixture(scope="module")
def bundle(pair, digits, splits) -> Bundle:
    return build(pair, digits, splits)


def content(bundle: Bundle) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_manifest_describes_the_files_beside_it(bundle):
    files = content(bundle)
    manifest = Manifest.from_dict(json.loads(files.pop("bundle.json")))
    assert manifest == bundle.manifest
    assert {f.name: (f.sha256, f.size_bytes) for f in manifest.files} == {
        name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()
    }
    assert files["little.onnx"] == bundle.models["little"]


def test_manifest_says_what_a_board_must_know(bundle, digits):
    manifest = bundle.manifest
    assert (manifest.coupling, manifest.router, manifest.default_operating_point) == ("stem", "margin", "iso-0.5")
    assert manifest.classes == digits.classes
    assert (manifest.input.channels, manifest.input.height, manifest.input.mean) == (1, 8, digits.mean)
    assert [v.precision for v in manifest.variants] == ["fp32"]


def test_provenance_says_where_it_came_from(bundle, splits):
    provenance = bundle.manifest.provenance
    assert (provenance["job"], provenance["seed"], provenance["dataset"]) == ("job-1", 0, "digits")
    assert provenance["split_hashes"] == splits.hashes
    assert {"torch", "onnx", "biglittle-nas"} <= set(provenance["versions"])


def test_the_same_pair_gives_the_same_bytes(bundle, pair, digits, splits):
    assert build(pair, digits, splits).data == bundle.data


def test_promises_are_of_the_calibration_split_and_figures_of_the_test_split(bundle, digits, splits):
    images = {
        "calibration": (digits.train_images[splits.calibration], digits.train_labels[splits.calibration]),
        "test": (digits.test_images, digits.test_labels),
    }
    for split, (pixels, labels) in images.items():
        x = normalise(pixels, digits.mean, digits.std).contiguous().numpy()
        got = run(ExportedPair(**bundle.models), x)
        for point in bundle.manifest.operating_points:
            limit = {"never": -np.inf, "always": np.inf}.get(str(point.threshold), point.threshold)
            escalated = got["score"] < float(limit)
            predicted = np.where(escalated, got["big"].argmax(1), got["little"].argmax(1))
            made = getattr(point, split)
            assert made.accuracy == pytest.approx((predicted == labels.numpy()).mean())
            assert made.escalation_rate == pytest.approx(escalated.mean())
            assert made.expected_cost["latency_ms@pi"] == pytest.approx(1 + 3 * escalated.mean())
            assert set(made.expected_cost) == {"macs", "latency_ms@pi"}


def test_no_choice_ever_sees_the_test_split(bundle, pair, digits, splits):
    other = build(pair, poisoned(digits, splits, "test", "validation"), splits)
    for ours, theirs in zip(bundle.manifest.operating_points, other.manifest.operating_points, strict=True):
        assert (ours.name, ours.threshold, ours.calibration) == (theirs.name, theirs.threshold, theirs.calibration)
    assert bundle.manifest.files == other.manifest.files
    assert other.test.accuracy[-1] < 0.5 < bundle.test.accuracy[-1]


def test_parity_holds_inputs_of_both_routes_and_what_they_give(bundle, digits):
    with np.load(io.BytesIO(content(bundle)["parity.npz"]), allow_pickle=False) as arrays:
        parity = dict(arrays)
    images = torch.from_numpy(parity["images"]).permute(0, 3, 1, 2)
    got = run(ExportedPair(**bundle.models), normalise(images, digits.mean, digits.std).contiguous().numpy())
    for name, key in (("little", "little_logits"), ("big", "big_logits"), ("score", "scores")):
        np.testing.assert_allclose(got[name], parity[key], atol=1e-4)
    default = next(p for p in bundle.manifest.operating_points if p.name == "iso-0.5")
    assert parity["routes"].tolist() == (got["score"] < default.threshold).astype(int).tolist()
    assert set(parity["routes"].tolist()) == {0, 1}


def test_a_pair_without_statistics_is_not_bundled(trained, digits, splits):
    space = trained[0].space
    with pytest.raises(UncalibratedError, match="no statistics"):
        build(trained[0].extract(space.plan(space.extreme("stem", largest=True))), digits, splits)
