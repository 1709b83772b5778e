"""Pair packs: what boards measure a pair whole from. The format is edge_agent.pair_pack's and pair_stream's.

The images are real ones of the calibration split, which chose the thresholds; as many of each route as there is room
for, in their order. What the pack cannot hold is in numbers: the exact share of escalated images, and the routes of the
split in natural order.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from edge_agent.records import InputSpec, OperatingPoint, PackHeader
from workers.archive import npy_bytes, zip_bytes
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.quantize.form import Form

STREAM_IMAGES = 256
STREAM_BYTES = 128 << 20  # as the float32 that the board keeps ready
NATURAL = 4096


def pack_bytes(form: Form, point: OperatingPoint, dataset: Dataset, splits: Splits, *, spec: InputSpec) -> bytes:
    """Return the pair pack of one form of a pair; the same pair gives the same bytes.

    Args:
        form: Graphs, outputs on the calibration split, router.
        point: The operating point that decides the routes.
        dataset: The data set.
        splits: Its splits.
        spec: What the graphs take.
    """
    scored = form.outputs.scored(form.routing.router)
    routes = scored.escalated(form.routing.thresholds[point.name]).astype(np.uint8)
    room = STREAM_BYTES // (4 * spec.channels * spec.height * spec.width)
    chosen = choose_images(routes, count=min(STREAM_IMAGES, max(2, room)))
    index = torch.from_numpy(splits.calibration)[torch.from_numpy(chosen)]
    arrays = {
        "images": np.ascontiguousarray(dataset.train_images[index].permute(0, 2, 3, 1).numpy()),
        "routes": routes[chosen],
        "scores": scored.outcomes.scores[chosen].astype(np.float32),
        "natural": routes[:NATURAL],
        "labels": dataset.train_labels[index].numpy().astype(np.int64),
    }
    header = PackHeader(precision=form.precision, classes=len(dataset.classes), input=spec, operating_point=point)
    return zip_bytes(
        {
            "pack.json": header.to_json().encode(),
            "little.onnx": form.graphs.little,
            "big.onnx": form.graphs.big,
            "stream.npz": zip_bytes({f"{name}.npy": npy_bytes(array) for name, array in arrays.items()}),
        }
    )


def choose_images(routes: NDArray[np.uint8], *, count: int) -> NDArray[np.int64]:
    """Return which images to send, in their order: half of either route, or more of one where the other has fewer.

    Args:
        routes: (N,) 0 little, 1 big.
        count: How many at most.
    """
    by_route = [np.flatnonzero(routes == route) for route in (0, 1)]
    half = [min(len(places), math.ceil(count / 2)) for places in by_route]
    taken = [_spread(places, min(len(places), count - half[1 - route])) for route, places in enumerate(by_route)]
    return np.sort(np.concatenate(taken))[:count].astype(np.int64)


def _spread(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return places[np.linspace(0, len(places) - 1, count).round().astype(np.int64)] if count else places[:0]
