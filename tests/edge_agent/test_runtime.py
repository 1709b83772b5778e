from __future__ import annotations

import dataclasses
import json
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_agent.errors import BundleError
from edge_agent.parity import load_parity
from edge_agent.records import OperatingPoint
from edge_agent.runtime import Pair
from tests.edge_agent.bundles import described, make_bundle, normalised, point


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def rewrite(bundle: Path, **changes: object) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**manifest, **changes}))


def test_a_pair_takes_the_routes_and_gives_the_outputs_of_the_cluster(bundle: Path) -> None:
    expected = load_parity(bundle / "parity.npz")
    with Pair.load(bundle) as pair:
        for i, image in enumerate(expected.images):
            prediction = pair.predict(image)
            logits = expected.big_logits[i] if expected.routes[i] else expected.little_logits[i]
            assert prediction.route == ("little", "big")[expected.routes[i]]
            assert prediction.score == pytest.approx(float(expected.scores[i]))
            assert prediction.label == pair.classes[logits.argmax()]
            assert prediction.probabilities == pytest.approx(np.exp(logits) / np.exp(logits).sum(), rel=1e-4)
            assert prediction.latency_ms > 0
    assert {0, 1} == set(expected.routes.tolist())


def test_the_operating_point_can_be_switched_while_running(bundle: Path) -> None:
    images = load_parity(bundle / "parity.npz").images
    with Pair.load(bundle, operating_point="never") as pair:
        assert {pair.predict(image).route for image in images} == {"little"}
        pair.use("always")
        assert {pair.predict(image).route for image in images} == {"big"}
        pair.use(None)
        assert pair.operating_point.name == "half"
        assert {pair.predict(image).route for image in images} == {"little", "big"}


def test_a_threshold_per_class_is_that_of_the_class_which_the_little_predicts(bundle: Path) -> None:
    expected = load_parity(bundle / "parity.npz")
    little = expected.little_logits.argmax(axis=1)
    chosen = int(little[0])
    thresholds = [2.0 if label == chosen else -1.0 for label in range(3)]
    rewrite(bundle, operating_points=[point("half", thresholds).to_dict()], variants=without_points(bundle))
    with Pair.load(bundle) as pair:
        routes = [pair.predict(image).route for image in expected.images]
    assert routes == ["big" if label == chosen else "little" for label in little]


def without_points(bundle: Path) -> list[dict[str, object]]:
    return [{**v, "operating_points": []} for v in json.loads((bundle / "bundle.json").read_text())["variants"]]


def test_parity_holds_on_the_machine_that_made_the_bundle(bundle: Path) -> None:
    with Pair.load(bundle) as pair:
        report = pair.verify_parity()
    assert (report.n, report.route_mismatches, report.label_mismatches) == (16, 0, 0)
    assert report.max_abs_error < 1e-5


@pytest.mark.parametrize("array", ["little_logits", "big_logits", "routes"])
def test_parity_fails_if_one_expected_value_is_another(bundle: Path, array: str) -> None:
    arrays = dict(np.load(bundle / "parity.npz"))
    arrays[array] = arrays[array].copy()
    arrays[array][3] = 1 - arrays[array][3] if array == "routes" else arrays[array][3] + 1
    np.savez(bundle / "parity.npz", **arrays)
    manifest = json.loads((bundle / "bundle.json").read_text())
    file = described("parity.npz", (bundle / "parity.npz").read_bytes()).to_dict()
    rewrite(bundle, files=[f if f["name"] != "parity.npz" else file for f in manifest["files"]])
    with Pair.load(bundle) as pair, pytest.raises(BundleError, match="parity failed on 16 inputs"):
        pair.verify_parity()


def test_pickles_in_parity_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "parity.npz"
    np.savez(path, **{n: np.array([{}]) for n in ("images", "little_logits", "big_logits", "scores", "routes")})
    with pytest.raises(BundleError, match=r"parity.npz cannot be read: .*allow_pickle"):
        load_parity(path)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 9, 3), np.uint8), np.zeros((8, 8), np.uint8)]
)
def test_an_image_of_another_type_or_size_is_refused(bundle: Path, image: np.ndarray) -> None:
    with Pair.load(bundle) as pair, pytest.raises(ValueError, match=r"but must be uint8 \(8, 8, 3\)"):
        pair.predict(image)


def test_normalising_is_exactly_the_contracts_formula(bundle: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    with Pair.load(bundle) as pair:
        assert np.array_equal(pair._normalise(image), normalised(image))


def test_a_zip_of_a_bundle_works_and_leaves_nothing_behind(bundle: Path, tmp_path: Path) -> None:
    path = zipped(bundle, tmp_path)
    with Pair.load(path) as pair:
        assert pair.verify_parity().route_mismatches == 0
        unpacked = pair._bundle.root
    assert not unpacked.exists()


def zipped(bundle: Path, tmp_path: Path, *, replace: dict[str, bytes] | None = None, prefix: str = "") -> Path:
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in bundle.iterdir():
            archive.writestr(prefix + path.name, (replace or {}).get(path.name, path.read_bytes()))
    return tmp_path / "bundle.zip"


def test_a_zip_bomb_is_stopped_at_the_promised_size(bundle: Path, tmp_path: Path) -> None:
    path = zipped(bundle, tmp_path, replace={"big.onnx": bytes(50_000_000)})
    with pytest.raises(BundleError, match=r"big\.onnx in the zip unpacks to more than the promised"):
        Pair.load(path)


def test_members_of_a_zip_outside_the_top_are_not_unpacked(bundle: Path, tmp_path: Path) -> None:
    path = zipped(bundle, tmp_path, prefix="../")
    with pytest.raises(BundleError, match=r"the zip lacks bundle\.json; its files must lie at the top"):
        Pair.load(path)
    assert not (tmp_path.parent / "bundle.json").exists()


def test_a_changed_file_is_noticed(bundle: Path) -> None:
    data = bytearray((bundle / "big.onnx").read_bytes())
    data[-1] ^= 1
    (bundle / "big.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"big\.onnx does not match its SHA-256; get it again with `nas get`"):
        Pair.load(bundle)


def test_a_shortened_file_is_noticed(bundle: Path) -> None:
    (bundle / "big.onnx").write_bytes((bundle / "big.onnx").read_bytes()[:-5])
    with pytest.raises(BundleError, match=r"big\.onnx has \d+ bytes but \d+ were promised"):
        Pair.load(bundle)


def test_links_are_not_followed(bundle: Path, tmp_path: Path) -> None:
    os.rename(bundle / "big.onnx", tmp_path / "elsewhere.onnx")
    (bundle / "big.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleError, match="is a link or no file"):
        Pair.load(bundle)


def test_file_names_with_paths_are_refused(bundle: Path) -> None:
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    rewrite(bundle, files=[{**files[0], "name": "../little.onnx"}, *files[1:]])
    with pytest.raises(BundleError, match="must be a plain file name"):
        Pair.load(bundle)


def test_an_unknown_operating_point_is_answered_with_the_known_ones(bundle: Path) -> None:
    with pytest.raises(BundleError, match="unknown operating point 'fast'; choose one of: half, never, always"):
        Pair.load(bundle, operating_point="fast")


def test_a_bundle_without_int8_says_what_it_has(bundle: Path) -> None:
    with pytest.raises(BundleError, match="bundle has no int8 variant; it has: fp32"):
        Pair.load(bundle, precision="int8")


def test_a_later_format_is_refused(bundle: Path) -> None:
    rewrite(bundle, version=2)
    with pytest.raises(BundleError, match="bundle has version 2 but this side speaks 1; update the older side"):
        Pair.load(bundle)


def test_a_prediction_goes_through_json(bundle: Path) -> None:
    with Pair.load(bundle) as pair:
        prediction = pair.predict(np.zeros((8, 8, 3), np.uint8))
    assert json.loads(json.dumps(prediction.to_dict()))["label"] in pair.classes
    assert dataclasses.is_dataclass(prediction)


@pytest.mark.slow
@pytest.mark.alone
def test_the_runtime_costs_little_over_the_bare_sessions(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", size=32)
    image = load_parity(tmp_path / "bundle" / "parity.npz").images[0]
    tensor = normalised(image)
    with Pair.load(tmp_path / "bundle", operating_point="always") as pair:
        little, big = pair._sessions
        outputs = ["logits", "score", "carry_stem"]

        def bare() -> None:
            logits, _, carry = little.run(outputs, {"image": tensor})
            big.run(["logits"], {"carry_stem": carry, "little_logits": logits})

        def overhead_us() -> float:
            bare_ns, pair_ns = [], []
            for _ in range(100):
                begin = time.perf_counter_ns()
                bare()
                middle = time.perf_counter_ns()
                pair.predict(image)
                bare_ns.append(middle - begin)
                pair_ns.append(time.perf_counter_ns() - middle)
            return float(np.median(pair_ns) - np.median(bare_ns)) / 1e3

        assert min(overhead_us() for _ in range(5)) <= 100.0


def with_int8(bundle: Path, *points: OperatingPoint, **changes: object) -> None:
    """Give a bundle a second variant, of the same graphs, with operating points of its own."""
    exact = json.loads((bundle / "bundle.json").read_text())["variants"][0]
    twin = {**exact, "precision": "int8", "operating_points": [p.to_dict() for p in points]}
    rewrite(bundle, variants=[exact, twin], **changes)


def test_the_precision_is_the_manifests_unless_another_is_asked_for(bundle: Path) -> None:
    with_int8(bundle, point("half", 0.25))
    with Pair.load(bundle) as pair:
        assert pair.precision == "fp32"
    with Pair.load(bundle, precision="int8") as pair:
        assert (pair.precision, pair.operating_point.threshold) == ("int8", 0.25)
    with_int8(bundle, point("half", 0.25), default_precision="int8")
    with Pair.load(bundle) as pair:
        assert pair.precision == "int8"


def test_a_variant_never_routes_by_another_precisions_threshold(bundle: Path) -> None:
    with_int8(bundle, point("half", 0.25))
    with pytest.raises(BundleError, match="unknown operating point 'always'; choose one of: half"):
        Pair.load(bundle, "always", precision="int8")


def test_a_default_precision_that_the_bundle_lacks_is_refused(bundle: Path) -> None:
    rewrite(bundle, default_precision="int8")
    with pytest.raises(BundleError, match="default_precision is 'int8' but must be one of: fp32"):
        Pair.load(bundle)
