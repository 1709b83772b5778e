"""Pair packs of small real models."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from edge_agent.bundle import Bundle
from edge_agent.bundle_pack import pack_of_bundle
from edge_agent.pair_pack import BIG, HEADER, LITTLE, STREAM, unpack_pack, write_pack
from edge_agent.pair_stream import Stream, read_stream, stream_bytes
from tests.edge_agent.bundles import make_bundle


def make_pack(folder: Path, *, n: int = 32, size: int = 8, big: bytes | None = None, **changes: object) -> Path:
    """Write a pair pack of a hand-made bundle; `changes` replace arrays of its stream, `big` its big graph."""
    make_bundle(folder / "bundle", n=n, size=size)
    bundle, path = Bundle(folder / "bundle"), folder / "pair.zip"
    pack_of_bundle(bundle, bundle.manifest.variants[0], path=path)
    if changes or big is not None:
        parts = folder / "parts"
        parts.mkdir()
        header = unpack_pack(path, parts)
        if big is not None:
            (parts / BIG).write_bytes(big)
        stream = dataclasses.replace(read_stream(parts / STREAM), **changes)
        write_pack(path, header=header, little=parts / LITTLE, big=parts / BIG, stream=stream_bytes(stream))
    return path


def stream(*, little: int, big: int, natural: list[int] | None = None) -> Stream:
    """A stream of so many images of either route, the little's first."""
    n = little + big
    return Stream(
        images=np.zeros((n, 2, 2, 1), dtype=np.uint8),
        routes=np.repeat([0, 1], [little, big]).astype(np.uint8),
        scores=np.linspace(1, 0, n, dtype=np.float32),
        natural=np.array(natural or [0, 1], dtype=np.uint8),
    )


__all__ = ["BIG", "HEADER", "LITTLE", "STREAM", "make_pack", "stream"]
