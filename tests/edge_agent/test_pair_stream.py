"""Real images, stratified: which are run through which route, and in what order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_agent.errors import ModelRefusedError
from edge_agent.pair_stream import natural_order, read_stream, stratified_order, stream_bytes
from tests.edge_agent.packs import stream


def test_a_stream_is_read_as_it_was_written(tmp_path) -> None:
    written = dataclasses.replace(stream(little=3, big=2), labels=np.arange(5))
    (tmp_path / "stream.npz").write_bytes(stream_bytes(written))
    read = read_stream(tmp_path / "stream.npz")
    for name in ("images", "routes", "scores", "natural", "labels"):
        assert np.array_equal(getattr(read, name), getattr(written, name))


@pytest.mark.parametrize(("share", "run"), [(0.01, 0.2), (0.35, 0.35), (0.99, 0.8)])
def test_either_route_is_run_often_enough_and_near_its_natural_share(share: float, run: float) -> None:
    _, paths = stratified_order(stream(little=100, big=100), share=share)
    assert paths.mean() == pytest.approx(run, abs=0.001)


def test_images_are_run_through_the_route_that_is_theirs() -> None:
    content = stream(little=100, big=100)
    images, paths = stratified_order(content, share=0.5)
    assert np.array_equal(content.routes[images], paths)
    assert len(set(images)) == 200


def test_a_route_with_too_few_images_of_its_own_is_run_with_others_too() -> None:
    content = stream(little=200, big=3)
    images, paths = stratified_order(content, share=0.015)
    run_big = set(images[paths == 1])
    assert len(run_big) == 64
    assert {200, 201, 202} <= run_big
    assert set(content.routes[images[paths == 0]]) == {0}


def test_the_natural_order_has_the_clusters_routes_one_by_one() -> None:
    content = stream(little=70, big=80, natural=[0, 0, 1, 0, 1, 1, 0])
    assert content.routes[natural_order(content)].tolist() == [0, 0, 1, 0, 1, 1, 0]


def test_orders_are_the_same_every_time() -> None:
    content = stream(little=70, big=80)
    first, again = (stratified_order(content, share=0.4) for _ in range(2))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros(4, dtype=np.float32)}, "lengths .* but must be equal"),
        ({"images": np.zeros((5, 2, 2, 1), dtype=np.float32)}, "float32 .* but must be uint8"),
        ({"routes": np.array([0, 1, 2, 0, 1], dtype=np.uint8)}, r"must be 0 \(little\) or 1 \(big\)"),
        ({"natural": np.zeros(0, dtype=np.uint8)}, "at least 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message: str) -> None:
    with pytest.raises(ModelRefusedError, match=message):
        dataclasses.replace(stream(little=3, big=2), **change)


@pytest.mark.parametrize(("data", "message"), [(b"no zip", "cannot be read"), (b"", "cannot be read")])
def test_what_is_no_stream_is_refused(tmp_path, data: bytes, message: str) -> None:
    (tmp_path / "stream.npz").write_bytes(data)
    with pytest.raises(ModelRefusedError, match=message):
        read_stream(tmp_path / "stream.npz")


def test_a_stream_that_lacks_an_array_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "stream.npz", images=np.zeros((1, 2, 2, 1), dtype=np.uint8))
    with pytest.raises(ModelRefusedError, match="lacks natural, routes, scores"):
        read_stream(tmp_path / "stream.npz")
