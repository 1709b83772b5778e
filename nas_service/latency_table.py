"""A board class's latency by layer: an additive model of what a half costs, as a plain value.

A layer that is not in the table takes its nearest relatives' time: of the same operation, kernel and grouping,
interpolated over MACs (and scaled beyond the table's ends), as nn-Meter (Zhang et al., MobiSys 2021) interpolates
kernels of one type. A layer without relatives is refused: to count it as free would make it look attractive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nas_service.errors import InvalidRequestError
from nas_service.layers import LayerRecord
from nas_service.plan import PairPlan

Family = tuple[str, int, int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """Milliseconds by layer record on one board class.

    Attributes:
        board_class: Where it was measured.
        layers: (record, milliseconds), each at least 0.
        overhead_ms: What running a graph costs beside its layers.
    """

    board_class: str
    layers: tuple[tuple[LayerRecord, float], ...]
    overhead_ms: float = 0.0

    def __post_init__(self) -> None:
        bad = [ms for _, ms in self.layers if not 0 <= ms < np.inf]
        if bad or not self.layers or not 0 <= self.overhead_ms < np.inf:
            raise InvalidRequestError(
                f"the latency table of {self.board_class} has {len(self.layers)} layers, {len(bad)} of them without a "
                "finite time of at least 0 ms; measure every layer again"
            )

    def layer_ms(self, record: LayerRecord) -> float:
        """Return one layer's milliseconds; InvalidRequestError if the table has no layer of its kind."""
        relatives = sorted((_size(known), ms) for known, ms in self.layers if _family(known) == _family(record))
        if not relatives:
            raise InvalidRequestError(
                f"the latency table of {self.board_class} has no layer like {record}; measure one of that operation, "
                f"kernel and stride"
            )
        sizes, times = np.array(relatives).T
        size = _size(record)
        if size > sizes[-1]:
            return float(times[-1] * size / sizes[-1])
        if size < sizes[0]:
            return float(times[0] * size / sizes[0])
        return float(np.interp(size, sizes, times))

    def halves(self, plan: PairPlan) -> tuple[float, float]:
        """Return the milliseconds of the little and of the tail."""
        return self._sum(plan.little.layers()), self._sum(plan.tail_layers())

    def _sum(self, layers: Iterable[LayerRecord]) -> float:
        return self.overhead_ms + sum(self.layer_ms(layer) for layer in layers)


def _family(record: LayerRecord) -> Family:
    return record.operation, record.kernel, record.stride, record.groups > 1


def _size(record: LayerRecord) -> float:
    """Return what a layer's time is taken to grow with: its MACs, or what it writes if it has none."""
    return float(record.macs or record.out_channels * record.size**2)
