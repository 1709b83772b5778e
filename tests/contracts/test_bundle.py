"""A bundle of the contract: files, graphs, manifest, and a runtime of numpy and onnxruntime alone."""

from __future__ import annotations

import hashlib
import io
import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from workers.bundle import BundleOptions, build_bundle
from workers.data.dataset import DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationContext, EvaluationData, recalibrate
from workers.supernet import Supernet

ROOT = Path(__file__).resolve().parents[2]
COUPLINGS = ("independent", "stem", "nested")


@pytest.fixture(scope="module", params=COUPLINGS)
def bundle(request, tmp_path_factory):
    """The folder of a bundle of an untrained pair; its shape does not depend on training."""
    dataset = load(DatasetSpec(name="digits"))
    splits = Splits.of(dataset, seed=0)
    space = PairSpace(MICRO, channels=1, resolution=8, classes=10)
    pair = Supernet(space).extract(space.plan(space.extreme(request.param, largest=False)))
    recalibrate(pair, EvaluationContext(EvaluationData.of(dataset, splits, recalibration=100)).recalibration)
    built = build_bundle(
        pair, dataset, splits, BundleOptions(router="msp"), candidate="c1", provenance={"job": "j", "seed": 0}
    )
    folder = tmp_path_factory.mktemp("bundle")
    with zipfile.ZipFile(io.BytesIO(built.data)) as archive:
        archive.extractall(folder)
    return folder


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "bundle.json").read_text())


def graph(folder: Path, half: str) -> onnx.ModelProto:
    return onnx.load(str(folder / f"{half}.onnx"))


def names(values) -> set[str]:
    return {value.name for value in values}


def test_it_holds_the_contracts_files_and_their_hashes(bundle):
    listed = {file["name"]: file for file in manifest_of(bundle)["files"]}
    assert {p.name for p in bundle.iterdir()} == {"bundle.json", *listed}
    assert set(listed) == {"little.onnx", "big.onnx", "parity.npz"}
    for name, file in listed.items():
        data = (bundle / name).read_bytes()
        assert (file["sha256"], file["size_bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize("half", ["little", "big"])
def test_old_runtimes_load_the_graphs(bundle, half):
    model = graph(bundle, half)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version <= 8


def test_the_little_answers_with_logits_score_and_what_it_carries(bundle):
    model = graph(bundle, "little")
    outputs = names(model.graph.output)
    assert names(model.graph.input) == {"image"}
    assert {"logits", "score"} <= outputs
    assert all(name.startswith("carry_") for name in outputs - {"logits", "score"})


def test_the_big_takes_what_the_little_gives_and_answers_with_logits(bundle):
    given = names(graph(bundle, "little").graph.output) - {"logits", "score"}
    model = graph(bundle, "big")
    assert names(model.graph.output) == {"logits"}
    assert names(model.graph.input) <= {"image", "little_logits"} | given


def test_the_image_is_one_of_static_shape(bundle):
    [image] = graph(bundle, "little").graph.input
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, 1, 8, 8]


def test_the_manifest_says_what_a_board_needs(bundle):
    manifest = manifest_of(bundle)
    assert {"version", "classes", "input", "coupling", "router", "files", "operating_points", "provenance"} <= set(
        manifest
    )
    assert set(manifest["provenance"]) >= {"job", "seed", "split_hashes", "versions"}
    for point in manifest["operating_points"]:
        threshold = point["threshold"]
        assert threshold in ("never", "always") or math.isfinite(threshold)
        assert {"accuracy", "escalation_rate"} <= set(point["calibration"])
        assert point["test"] is not None


def test_the_runtime_of_the_contract_predicts_without_torch(bundle, tmp_path):
    image = np.load(bundle / "parity.npz")["images"][0]
    np.save(tmp_path / "digit.npy", image)
    code = (
        "import sys, numpy as np\n"
        "from edge_agent.runtime import Pair\n"
        f"pair = Pair.load({str(bundle)!r})\n"
        f"p = pair.predict(np.load({str(tmp_path / 'digit.npy')!r}))\n"
        "assert p.route in ('little', 'big') and p.latency_ms > 0 and 0 <= max(p.probabilities) <= 1, p\n"
        "assert p.label is not None and p.score is not None\n"
        "print(sorted({'torch', 'ray', 'nas_service', 'workers', 'paramiko'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_expected_outputs_are_what_the_board_computes(bundle):
    from edge_agent.runtime import Pair

    report = Pair.load(bundle).verify_parity()
    assert (report.route_mismatches, report.label_mismatches) == (0, 0)
    assert report.max_abs_error < 1e-3
