"""Progressive shrinking: which choices are open at which time (Cai et al., Once-for-All, ICLR 2020).

First only the largest pairs are trained, then kernels, depths and widths become elastic in turn, each from its largest
choice downwards. That the largest are trained alone for a while is worth more than an early start (as in DepS, arXiv
2407.06167). Kinds, couplings and the little's resolution are open from the start: none of them contains another.
"""

from __future__ import annotations

import math

from nas_service.choice_space import Value
from nas_service.pair_space import PairSpace
from workers.evolving.settings import Shrinking


def open_choices(space: PairSpace, shrinking: Shrinking, *, progress: float) -> dict[str, tuple[Value, ...]]:
    """Return the choices of every gene at `progress`, the share in [0, 1] of the training that is over."""
    return {name: values[_closed(name, len(values), shrinking, progress) :] for name, values in space.choices.items()}


def _closed(name: str, count: int, shrinking: Shrinking, progress: float) -> int:
    """Return how many of a gene's smallest choices are not open yet."""
    for turn, suffixes in enumerate(shrinking.order):
        if name.endswith(suffixes):
            length = (shrinking.opened - shrinking.delay) / len(shrinking.order)
            passed = (progress - shrinking.delay - turn * length) / length
            opened = 1 + math.ceil(min(1.0, max(0.0, passed)) * (count - 1) - 1e-9)
            return count - opened
    return 0
