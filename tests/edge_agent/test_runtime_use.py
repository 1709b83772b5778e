"""A pair in a program: streams, targets that are held, counts, threads."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from edge_agent.errors import BadUsageError, BundleError, EdgeError
from edge_agent.parity import load_parity
from edge_agent.prediction import softmax
from edge_agent.runtime import Pair
from tests.edge_agent.bundles import make_bundle
from tests.edge_agent.models import big_model, little_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def images(folder: Path) -> dict[str, np.ndarray]:
    """An image for each route of the default operating point."""
    parity = load_parity(folder / "parity.npz")
    return {("little", "big")[parity.routes[i]]: parity.images[i] for i in range(len(parity.images))}


def test_a_stream_is_predicted_as_it_comes(folder, images) -> None:
    endless = itertools.cycle([images["little"], images["big"]])
    with Pair.load(folder) as pair:
        predictions = pair.predict_stream(endless)
        assert [next(predictions).route for _ in range(4)] == ["little", "big"] * 2
        pair.use("always")
        assert next(predictions).route == "big"
    with pytest.raises(EdgeError, match="this pair was closed; load its bundle again"):
        next(predictions)


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_an_escalation_rate_is_held_when_all_images_become_hard(folder, images, rate) -> None:
    with Pair.load(folder) as pair:
        pair.hold(escalation_rate=rate)
        stream = [images["little"], images["big"]] * 50 + [images["big"]] * 600
        routes = [prediction.route for prediction in pair.predict_stream(stream)]
        assert routes[100:].count("big") / 600 == pytest.approx(rate, abs=0.08)
        assert pair.held.to_dict()["escalation_rate"] == rate
        pair.release()
        assert pair.held is None
        assert {pair.predict(images["big"]).route for _ in range(40)} == {"big"}


def test_a_latency_that_even_the_little_exceeds_escalates_nothing(folder, images) -> None:
    with Pair.load(folder) as pair:
        pair.hold(latency_ms=1e-6)
        routes = [pair.predict(images["big"]).route for _ in range(100)]
        assert routes == ["big"] * 32 + ["little"] * 68  # 32 images to learn from
        pair.hold(latency_ms=1e6)
        assert {pair.predict(images["big"]).route for _ in range(100)} == {"big"}


def test_what_is_held_goes_before_the_fallback_and_drift_is_still_told(folder, images) -> None:
    with Pair.load(folder, drift=True) as pair:
        pair.hold(escalation_rate=0.0)
        routes = [pair.predict(images["little"]).route for _ in range(100)]
        assert pair.drift.drift == "low"
        assert set(routes) == {"little"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({}, "give either escalation_rate or latency_ms"),
        ({"escalation_rate": 0.1, "latency_ms": 1.0}, "give either escalation_rate or latency_ms"),
        ({"escalation_rate": 1.5}, r"rate is 1.5.*give a rate in \[0, 1\]"),
        ({"latency_ms": 0.0}, "must be above 0"),
        ({"escalation_rate": "x"}, "escalation_rate is 'x' but must be a number"),
        ({"latency_ms": [5]}, r"latency_ms is \[5\] but must be a number"),
    ],
)
def test_targets_that_are_none_are_refused(folder, target, message) -> None:
    with Pair.load(folder) as pair, pytest.raises(BadUsageError, match=message):
        pair.hold(**target)


def test_an_operating_point_without_a_threshold_holds_nothing_and_the_one_in_use_stays(folder) -> None:
    with Pair.load(folder) as pair:
        pair.hold(escalation_rate=0.5)
        with pytest.raises(BadUsageError, match=r"'always' has no threshold that could be moved.* with `release`"):
            pair.use("always")
        with pytest.raises(BundleError, match="unknown operating point"):
            pair.use("fast")
        assert (pair.operating_point.name, pair.held.rate) == ("half", 0.5)


@pytest.mark.parametrize("threads", [0, -1, 257, "2"])
def test_a_number_of_threads_out_of_range_is_refused(folder, threads) -> None:
    with pytest.raises(BadUsageError, match=f"threads is {threads!r} but must be 1 to 256"):
        Pair.load(folder, threads=threads)


@pytest.mark.parametrize(
    "call",
    [
        lambda pair: pair.hold(escalation_rate=0.5),
        lambda pair: pair.release(),
        lambda pair: pair.use("always"),
        lambda pair: pair.use("fast"),
        lambda pair: pair.verify_parity(),
    ],
)
def test_a_closed_pair_says_so_whatever_it_is_asked(folder, call) -> None:
    pair = Pair.load(folder)
    pair.hold(escalation_rate=0.2)
    pair.close()
    with pytest.raises(EdgeError, match="this pair was closed; load its bundle again"):
        call(pair)


def test_usage_counts_routes_labels_and_latencies(folder, images) -> None:
    with Pair.load(folder) as pair:
        assert (pair.usage.n, pair.usage.escalation_rate, pair.usage.little) == (0, None, None)
        labels = [pair.predict(images[route]).label for route in ["little"] * 70 + ["big"] * 30]
        usage = pair.usage
    assert (usage.n, usage.escalated, usage.escalation_rate, usage.against_threshold) == (100, 30, 0.3, 0)
    assert usage.labels == {label: labels.count(label) for label in set(labels)}
    assert (usage.little.n, usage.big.n) == (70, 30)
    assert usage.little.p90_ms <= usage.little.max_ms
    assert (usage.little.p95_ms, usage.big.p90_ms) == (None, None)  # too few images to bound them
    assert json.loads(json.dumps(usage.to_dict()))["big"]["n"] == 30


def test_usage_tells_images_that_went_against_the_threshold(folder, images) -> None:
    with Pair.load(folder) as pair:
        pair.hold(escalation_rate=0.0)
        for _ in range(50):
            pair.predict(images["big"])
        assert (pair.usage.escalated, pair.usage.against_threshold) == (32, 18)


def test_threads_that_share_a_pair_get_what_each_asked_for(folder) -> None:
    parity = load_parity(folder / "parity.npz")
    wrong: list[int] = []
    with Pair.load(folder) as pair:
        alone = [pair.predict(image) for image in parity.images]

        def ask(first: int) -> None:
            for at in [(first + step) % len(alone) for step in range(100)]:
                got = pair.predict(parity.images[at])
                if (got.route, got.score) != (alone[at].route, alone[at].score):
                    wrong.append(at)

        threads = [threading.Thread(target=ask, args=(4 * k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        assert (wrong, pair.usage.n) == ([], len(alone) + 400)


def test_a_prediction_keeps_its_probabilities_when_the_next_image_comes(folder, images) -> None:
    with Pair.load(folder) as pair:
        first = pair.predict(images["big"])
        before = first.probabilities.copy()
        pair.predict(images["little"])
        assert np.array_equal(first.probabilities, before)


@pytest.mark.parametrize("classes", [3, 64, 65, 1000])
def test_probabilities_are_the_softmax_for_few_classes_and_for_many(classes) -> None:
    logits = np.random.default_rng(classes).normal(0, 30, classes).astype(np.float32)
    top, probabilities = softmax(logits)
    expected = np.exp(logits.astype(np.float64) - logits.max())
    assert top == logits.argmax()
    assert probabilities.dtype == np.float32
    assert probabilities == pytest.approx(expected / expected.sum(), rel=1e-4, abs=1e-12)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"little.onnx": little_model(size=16)}, r"image of little.onnx is \(1, 3, 16, 16\) but bundle.json says"),
        ({"big.onnx": big_model(classes=4)}, r"logits of big.onnx is \(1, 4\) but bundle.json says \(1, 3\)"),
        ({"big.onnx": big_model(channels=16)}, r"big.onnx takes carry_stem as .* but the little gives float"),
        ({"little.onnx": little_model().replace(b"carry_stem", b"carry_leaf")}, "does not give carry_stem"),
    ],
)
def test_graphs_that_do_not_fit_are_refused_when_they_are_loaded(tmp_path, models, message) -> None:
    make_bundle(tmp_path / "odd", models=models)
    with pytest.raises(BundleError, match=message):
        Pair.load(tmp_path / "odd")
