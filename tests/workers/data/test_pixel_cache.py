from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from workers.data import pixel_cache
from workers.data.pixel_cache import decoded

SHAPE = (3, 4, 4)


class Source:
    """Images whose value is their index, and who asked for which; from `broken` on, they cannot be read."""

    def __init__(self, *, broken: int = 10**6) -> None:
        self.broken, self.asked = broken, []
        self._lock = threading.Lock()

    def __call__(self, index: int) -> np.ndarray:
        if index >= self.broken:
            raise OSError(f"image {index}")
        with self._lock:
            self.asked.append(index)
        return np.full((4, 4, 3), index, np.uint8)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(pixel_cache, "CHUNK", 10)


def expected(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, *SHAPE)


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("limit", [2**31, 1])
def test_images_come_in_order(tmp_path, monkeypatch, cached, limit):
    if cached:
        monkeypatch.setattr(pixel_cache, "IN_MEMORY_BYTES", limit)
    images = decoded(25, SHAPE, Source(), cache=tmp_path / "c" if cached else None, what="images")
    assert torch.equal(images, expected(25))


def test_decoding_goes_on_where_it_was_interrupted(tmp_path):
    with pytest.raises(OSError, match="image 17"):
        decoded(25, SHAPE, Source(broken=17), cache=tmp_path, what="images")
    source = Source()
    assert torch.equal(decoded(25, SHAPE, source, cache=tmp_path, what="images"), expected(25))
    assert sorted(source.asked) == list(range(10, 25))  # the first chunk of ten was finished


def test_a_whole_cache_asks_for_nothing(tmp_path):
    decoded(25, SHAPE, Source(), cache=tmp_path, what="images")
    source = Source()
    decoded(25, SHAPE, source, cache=tmp_path, what="images")
    assert source.asked == []


def test_a_cache_of_another_size_is_written_anew(tmp_path):
    decoded(25, SHAPE, Source(), cache=tmp_path, what="images")
    (tmp_path / "pixels").write_bytes(b"short")
    assert torch.equal(decoded(25, SHAPE, Source(), cache=tmp_path, what="images"), expected(25))


def test_two_at_once_decode_once(tmp_path):
    sources = [Source(), Source()]
    threads = [
        threading.Thread(target=decoded, args=(25, SHAPE, source), kwargs={"cache": tmp_path, "what": "images"})
        for source in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(sources[0].asked + sources[1].asked) == list(range(25))


def test_writing_to_a_mapped_set_leaves_the_file_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_cache, "IN_MEMORY_BYTES", 1)
    decoded(5, SHAPE, Source(), cache=tmp_path, what="images").zero_()
    assert torch.equal(decoded(5, SHAPE, Source(), cache=tmp_path, what="images"), expected(5))
