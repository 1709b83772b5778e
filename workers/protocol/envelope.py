"""What static nets reach at a cost: the upper concave envelope, which dynamic systems have to beat.

EVALUATION protocol, sections 2.3 and 3 (B0). A point between two nets is reached by using either at random, so a system
below the envelope is worse than tossing a coin. The nets are taken with their test accuracy: generous to static.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nas_service.errors import InvalidRequestError
from workers.protocol.outcomes import Floats, Mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StaticNet:
    """A net without routing: its cost for every input, and (N,) whether it is right on the test images."""

    name: str
    cost: float
    correct: Mask = field(repr=False)

    @property
    def accuracy(self) -> float:
        """Share in [0, 1] that is right."""
        return float(self.correct.mean())


class StaticEnvelope:
    """The upper concave envelope of static nets, level beyond the most accurate."""

    def __init__(self, nets: Sequence[StaticNet]) -> None:
        if not nets:
            raise InvalidRequestError("an envelope of no static net; give at least one")
        if len({len(net.correct) for net in nets}) != 1:
            raise InvalidRequestError("static nets of different numbers of images; score all on the same split")
        self.vertices = _hull(nets)

    def accuracy(self, cost: float) -> float | None:
        """Return the accuracy in [0, 1] at `cost`; None below the cheapest net."""
        per_image = self.per_image(cost)
        return None if per_image is None else float(per_image.mean())

    def per_image(self, cost: float) -> Floats | None:
        """Return (N,) the probability that the mixture of nets at `cost` is right on each image; None below them.

        Its mean is the envelope, so that a paired bootstrap against it compares image by image.
        """
        costs = np.array([net.cost for net in self.vertices])
        right = int(np.searchsorted(costs, cost, side="right"))
        if right == 0:
            return None
        below = self.vertices[right - 1]
        if right == len(self.vertices):
            return below.correct.astype(np.float64)
        above = self.vertices[right]
        share = (cost - below.cost) / (above.cost - below.cost)
        return np.asarray((1 - share) * below.correct + share * above.correct, dtype=np.float64)


def _hull(nets: Sequence[StaticNet]) -> tuple[StaticNet, ...]:
    """Return the vertices by ascending cost and accuracy (Andrew's monotone chain, the upper hull)."""
    vertices: list[StaticNet] = []
    for net in sorted(nets, key=lambda net: (net.cost, -net.accuracy)):
        if vertices and net.accuracy <= vertices[-1].accuracy:
            continue
        while len(vertices) > 1 and not _above(vertices[-2], vertices[-1], net):
            vertices.pop()
        vertices.append(net)
    return tuple(vertices)


def _above(left: StaticNet, middle: StaticNet, right: StaticNet) -> bool:
    """Return whether `middle` lies above the line between its neighbours."""
    rise = (middle.accuracy - left.accuracy) * (right.cost - left.cost)
    return rise > (right.accuracy - left.accuracy) * (middle.cost - left.cost)
