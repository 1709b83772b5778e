"""Halves of `tiny` with costs of a made-up board, where costs nearly add up over layers."""

from __future__ import annotations

from functools import cache

import numpy as np

from nas_service.half import HalfStructure, halves_of
from nas_service.half_features import FEATURES, half_features
from nas_service.pair_space import PairSpace
from nas_service.presets import TINY


@cache
def drawn_halves(count: int, seed: int = 0) -> list[HalfStructure]:
    """So many halves, littles and bigs in turn."""
    space, rng = PairSpace(TINY, channels=3, resolution=32, classes=10), np.random.default_rng(seed)
    plans = [space.plan(space.sample(rng)) for _ in range((count + 1) // 2)]
    return [half for plan in plans for half in halves_of(plan).values()][:count]


def made_up_ms(halves: list[HalfStructure], *, noise: float = 0.02, seed: int = 0) -> list[float]:
    """Milliseconds per layer and per MAC, and a little noise."""
    rng = np.random.default_rng(seed)
    rates = {"graph": 0.01, "dense_macs": 0.02, "pointwise_macs": 0.04, "depthwise_macs": 0.3, "carried": 0.003}
    weights = np.array([rates.get(name, 0.004 if name.endswith("_layers") else 0.0) for name in FEATURES])
    times = half_features(halves) @ weights
    return list(times * np.exp(noise * rng.standard_normal(len(times))))
