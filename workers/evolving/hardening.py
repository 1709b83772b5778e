"""Hardening: from masks to the one pair that is kept."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from torch import Tensor

from workers.evolving.masks import Choice, Masks

TRIES = 2000


def harden(masks: Masks, *, affordable: Callable[[Choice], bool]) -> Choice:
    """Return the likeliest choice that meets the space's constraints and is `affordable`.

    If none of the 2,000 likeliest is affordable, the likeliest that meets the constraints; if none does either, the
    smallest pair of the coupling.
    """
    feasible: Choice | None = None
    for choice in _by_likelihood(masks, limit=TRIES):
        if masks.space.is_feasible(masks.point(choice)):
            if affordable(choice):
                return choice
            feasible = feasible or choice
    return feasible or dict.fromkeys(masks.choices, 0)


def _by_likelihood(masks: Masks, *, limit: int) -> Iterator[Choice]:
    """Yield choices from the likeliest on, each once."""
    probabilities = masks.probabilities()
    ranked = {name: _descending(p) for name, p in probabilities.items()}
    names = list(ranked)
    heap: list[tuple[float, tuple[int, ...]]] = [(0.0, (0,) * len(names))]
    seen = {heap[0][1]}
    for _ in range(limit):
        if not heap:
            return
        loss, ranks = heapq.heappop(heap)
        yield {name: ranked[name][rank][0] for name, rank in zip(names, ranks, strict=True)}
        for at, name in enumerate(names):
            rank = ranks[at] + 1
            following = (*ranks[:at], rank, *ranks[at + 1 :])
            if rank < len(ranked[name]) and following not in seen:
                seen.add(following)
                heapq.heappush(heap, (loss + ranked[name][rank][1] - ranked[name][rank - 1][1], following))


def _descending(probabilities: Tensor) -> list[tuple[int, float]]:
    """Return (choice, -log-probability), the likeliest first."""
    losses = (-probabilities.detach().log()).tolist()
    return sorted(enumerate(losses), key=lambda pair: (pair[1], pair[0]))
