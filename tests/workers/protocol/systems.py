"""Systems whose measures are known."""

from __future__ import annotations

import numpy as np

from workers.protocol.outcomes import CachedOutputs, Outcomes, PathCosts

COSTS = PathCosts(little=10.0, tail=90.0, big=100.0)


def outcomes(scores, little, big) -> Outcomes:
    return Outcomes(
        scores=np.asarray(scores, dtype=np.float64),
        little_correct=np.asarray(little, dtype=bool),
        escalated_correct=np.asarray(big, dtype=bool),
    )


def latent(n: int, *, seed: int, noise: float = 1.0) -> Outcomes:
    """Inputs of a difficulty that both nets and, with noise, the router see; the big is right more often."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=n)
    little = difficulty + rng.normal(scale=0.5, size=n) < 0.8
    big = difficulty + rng.normal(scale=0.5, size=n) < 1.4
    return outcomes(-difficulty + rng.normal(scale=noise, size=n), little, big)


def cached(n: int, *, seed: int, classes: int = 4) -> CachedOutputs:
    """Logits of a weak and a strong net over random labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, size=n)
    truth = np.eye(classes)[labels]
    hard = rng.gamma(2.0, 0.5, size=(n, 1))
    little = 1.5 * truth + hard * rng.normal(size=(n, classes))
    big = 3.0 * truth + hard * rng.normal(size=(n, classes))
    return CachedOutputs(little_logits=little, escalated_logits=big, labels=labels)


def top_probability(outputs: CachedOutputs) -> np.ndarray:
    exp = np.exp(outputs.little_logits - outputs.little_logits.max(axis=1, keepdims=True))
    return (exp / exp.sum(axis=1, keepdims=True)).max(axis=1)
