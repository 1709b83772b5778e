"""What a half's cost is predicted from: sums over its layers, kernel by kernel, without weights and without torch.

As nn-Meter (Zhang et al., MobiSys 2021) predicts a network as the sum of its kernels, a half is taken to cost what its
layers cost, and layers of one kind to cost so much each, so much for each MAC, and so much for each number that they
read or write. The kinds are those for which runtimes have code of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nas_service.half import HalfStructure
from nas_service.layers import LayerRecord

Floats: TypeAlias = NDArray[np.float64]

KINDS = ("dense", "pointwise", "depthwise", "depthwise_wide", "linear", "pool", "add", "scale", "resize")
PER_KIND = ("layers", "macs", "values")
WHOLE = ("graph", "escalation", "carried", "carried_values", "weights")
FEATURES: tuple[str, ...] = WHOLE + tuple(f"{kind}_{sum_}" for kind in KINDS for sum_ in PER_KIND)
_UNITS = {"macs": 1e6, "values": 1e5, "carried_values": 1e5, "weights": 1e6}  # so that no column dwarfs another


def half_features(halves: Sequence[HalfStructure]) -> Floats:
    """Return the features (n, f) of halves, in the order of `FEATURES`; none is negative."""
    return np.array([_row(half) for half in halves], dtype=np.float64).reshape(len(halves), len(FEATURES))


def kind_of(record: LayerRecord) -> str:
    """Return which of `KINDS` a layer is."""
    if record.operation != "conv":
        return record.operation
    if record.groups > 1:
        return "depthwise" if record.kernel <= 3 else "depthwise_wide"
    return "pointwise" if record.kernel == 1 else "dense"


def _row(half: HalfStructure) -> list[float]:
    sums = dict.fromkeys(FEATURES, 0.0)
    sums["graph"], sums["escalation"] = 1.0, float(half.half == "big")
    sums["carried"] = float(half.carried)
    sums["carried_values"] = half.carried_values / _UNITS["carried_values"]
    for record in half.layers:
        kind = kind_of(record)
        sums[f"{kind}_layers"] += 1.0
        sums[f"{kind}_macs"] += record.macs / _UNITS["macs"]
        sums[f"{kind}_values"] += _values(record) / _UNITS["values"]
        sums["weights"] += record.deployed_weights / _UNITS["weights"]
    return [sums[name] for name in FEATURES]


def _values(record: LayerRecord) -> float:
    """Return how many numbers a layer reads and writes, weights aside."""
    if record.operation == "linear":
        return float(record.in_channels + record.out_channels)
    read = record.in_channels * (record.size * record.stride) ** 2
    return float(read + record.out_channels * record.size**2)
