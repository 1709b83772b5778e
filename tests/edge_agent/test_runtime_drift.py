"""A pair that watches its escalation rate: quiet inside the promise, everything to the big outside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_agent.cli import main
from edge_agent.errors import BundleError
from edge_agent.parity import load_parity
from edge_agent.runtime import Pair
from tests.edge_agent.bundles import make_bundle

ROUTES = {True: "big", False: "little"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose point `half` promises that half is escalated, as seen on 1,000 images."""
    make_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def images(folder: Path) -> dict[str, np.ndarray]:
    """An image that is below the threshold and one that is not."""
    parity = load_parity(folder / "parity.npz")
    return {ROUTES[bool(parity.routes[i])]: parity.images[i] for i in range(len(parity.images))}


def stream(images: dict[str, np.ndarray], *, rate: float, n: int, seed: int = 0) -> list[tuple[str, np.ndarray]]:
    wanted = np.random.default_rng(seed).random(n) < rate
    return [(ROUTES[bool(w)], images[ROUTES[bool(w)]]) for w in wanted]


@pytest.mark.slow
def test_inside_the_promise_no_image_of_ten_thousand_is_escalated_against_the_threshold(folder, images) -> None:
    with Pair.load(folder, drift=True) as pair:
        for expected, image in stream(images, rate=0.5, n=10_000):
            assert pair.predict(image).route == expected
        assert pair.drift.drift == "none"


@pytest.mark.parametrize(("rate", "drift", "within"), [(0.0, "low", 60), (0.2, "low", 150), (1.0, "high", 60)])
def test_a_shift_sends_everything_to_the_big_within_so_many_images(folder, images, rate, drift, within) -> None:
    with Pair.load(folder, drift=True) as pair:
        for _, image in stream(images, rate=rate, n=within):
            pair.predict(image)
        assert pair.drift.drift == drift
        assert {pair.predict(image).route for image in images.values()} == {"big"}


@pytest.mark.slow
def test_when_the_stream_is_back_the_threshold_decides_again(folder, images) -> None:
    with Pair.load(folder, drift=True) as pair:
        for _, image in stream(images, rate=0.0, n=100):
            pair.predict(image)
        assert pair.drift.drift == "low"
        for _, image in stream(images, rate=0.5, n=3000):
            pair.predict(image)
        assert {route: pair.predict(image).route for route, image in images.items()} == {
            "big": "big",
            "little": "little",
        }


def test_another_operating_point_has_another_promise(folder, images) -> None:
    with Pair.load(folder, drift=True) as pair:
        for _, image in stream(images, rate=0.0, n=100):
            pair.predict(image)
        pair.use("half")
        assert (pair.drift.drift, pair.drift.seen) == ("none", 0)


def test_without_being_asked_nothing_is_watched(folder, images) -> None:
    with Pair.load(folder) as pair:
        assert pair.drift is None
        assert {pair.predict(images["little"]).route for _ in range(200)} == {"little"}


def test_a_bundle_that_does_not_say_what_its_promise_rests_on_cannot_be_watched(tmp_path: Path) -> None:
    text = make_bundle(tmp_path / "bundle").to_json()
    (tmp_path / "bundle" / "bundle.json").write_text(text.replace('"n":1000', '"n":null'))
    with pytest.raises(BundleError, match=r"'half' does not say on how many images .* or load it without drift"):
        Pair.load(tmp_path / "bundle", drift=True)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(5, "drift: none (0 of 5 below the threshold; as promised: 43.3 to 56.7 %)"), (100, "drift: low: the net has")],
)
def test_predict_says_at_the_end_whether_the_stream_drifted(folder, images, tmp_path, capsys, count, expected) -> None:
    np.save(tmp_path / "sure.npy", images["little"])
    assert main(["predict", str(folder), *[str(tmp_path / "sure.npy")] * count, "--drift"]) == 0
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == count
    assert expected in error


def test_predict_without_drift_is_silent(folder, images, tmp_path, capsys) -> None:
    np.save(tmp_path / "sure.npy", images["little"])
    assert main(["predict", str(folder), str(tmp_path / "sure.npy")]) == 0
    assert "drift" not in capsys.readouterr().err
