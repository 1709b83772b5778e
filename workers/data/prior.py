"""Subsets whose classes, or whose difficulty, are not those of the whole: shifts without new images.

EVALUATION protocol, section 2.9 (b) and (c). `workers.protocol.shift.skewed_indices` draws with replacement, for sizes
of any kind; here no image comes twice, so that intervals over images keep their meaning.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas_service.errors import InvalidRequestError

Indices = NDArray[np.int64]


def skewed(labels: NDArray[np.integer], *, alpha: float, seed: int, size: int) -> Indices:
    """Return (size,) ascending indices, none twice, whose class prior is one draw of a symmetric Dirichlet.

    A class that has fewer images than the prior asks for gives all it has, and the others share the rest by the prior;
    so `size` around the size of one class keeps the prior as drawn.

    Args:
        labels: (N,) classes that do not occur get no share.
        alpha: The Dirichlet's parameter, above 0; the smaller, the more skewed.
        seed: Another seed draws another prior and other images.
        size: In 1..N.

    Raises:
        InvalidRequestError: `alpha` or `size` out of range.
    """
    if not 0 < alpha < np.inf:
        raise InvalidRequestError(f"alpha is {alpha:g} but must be above 0; 0.1 is strong, 1 mild")
    if not 1 <= size <= len(labels):
        raise InvalidRequestError(f"size is {size} but must lie in 1..{len(labels)}, the images there are")
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    prior = rng.dirichlet(np.full(len(members), alpha))
    counts = _counts(prior, np.array([len(m) for m in members]), size)
    chosen = [rng.choice(m, size=int(n), replace=False) for m, n in zip(members, counts, strict=True)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _counts(prior: NDArray[np.float64], available: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    """Return whole numbers in proportion to `prior`, none above what is available, that sum to `size`."""
    wanted = np.zeros(len(prior))
    free = np.ones(len(prior), bool)
    weights = np.maximum(prior, 1e-12)
    while (rest := size - wanted.sum()) > 1e-9:
        wanted[free] += rest * weights[free] / weights[free].sum()
        wanted = np.minimum(wanted, available)
        free = wanted < available
    counts = np.floor(wanted + 1e-9).astype(np.int64)
    order = np.argsort(-(wanted - counts), kind="stable")
    for place in order[counts[order] < available[order]][: size - int(counts.sum())]:
        counts[place] += 1
    return counts


def easy_and_hard(
    losses: NDArray[np.floating], *, labels: NDArray[np.integer] | None = None, share: float = 0.5
) -> tuple[Indices, Indices]:
    """Return ascending indices of the `share` of images with the lowest losses, and of that with the highest.

    Args:
        losses: (N,) of a reference model that is neither half of the pair that is judged.
        labels: (N,) takes the share of every class, so that the prior stays; None takes it of all.
        share: In (0, 0.5], so that no image is in both.

    Raises:
        InvalidRequestError: a share out of range, losses that are no numbers, or labels of other images.
    """
    if not 0 < share <= 0.5:
        raise InvalidRequestError(f"share is {share:g} but must lie in (0, 0.5], so that no image is easy and hard")
    if not np.isfinite(losses).all():
        raise InvalidRequestError(f"{int((~np.isfinite(losses)).sum())} losses are no numbers; use another reference")
    if labels is not None and len(labels) != len(losses):
        raise InvalidRequestError(f"there are {len(losses)} losses but {len(labels)} labels; give one for each")
    groups = [np.arange(len(losses))] if labels is None else [np.flatnonzero(labels == c) for c in np.unique(labels)]
    easy, hard = [], []
    for group in groups:
        order = group[np.argsort(losses[group], kind="stable")]
        count = int(share * len(order))
        easy.append(order[:count])
        hard.append(order[len(order) - count :])
    return np.sort(np.concatenate(easy)).astype(np.int64), np.sort(np.concatenate(hard)).astype(np.int64)
