"""What few seeds can say: means with intervals, ranks with ties, and tests where there are seeds enough.

Nothing here draws anew: the same values always give the same answer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nas_service.errors import InvalidRequestError
from nas_service.front import Floats

EXACT_RESAMPLES = 5  # up to so many values every resample is looked at: 5 to the power of 5
RESAMPLES = 4000
EXACT_SIGNS = 12
PERMUTATIONS = 10_000
FRIEDMAN_SEEDS = 5
WILCOXON_SEEDS = 6  # with five, even five of five has p = 0.0625


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanInterval:
    """A mean with its bootstrap interval; bounds are None with a single value."""

    mean: float
    low: float | None = None
    high: float | None = None


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> MeanInterval:
    """Return the mean and its percentile bootstrap interval over all resamples, or 4,000 of more than five values.

    Raises:
        InvalidRequestError: there are no values.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise InvalidRequestError("there are no values to take the mean of; give at least one")
    if len(array) == 1:
        return MeanInterval(mean=float(array[0]))
    tail = 50 * (1 - confidence)
    means = array[_resamples(len(array))].mean(axis=1)
    low, high = np.percentile(means, [tail, 100 - tail], method="inverted_cdf")
    return MeanInterval(mean=float(array.mean()), low=float(low), high=float(high))


def _resamples(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    if n <= EXACT_RESAMPLES:
        return np.array(list(itertools.product(range(n), repeat=n)), dtype=np.int64)
    return np.random.default_rng(0).integers(0, n, size=(RESAMPLES, n))


def ranks(scores: ArrayLike) -> Floats:
    """Return each column's rank within its row (blocks, methods): 1 is the highest score, ties share their mean rank.

    Scores that differ by less than 1e-9 are tied.
    """
    array = np.round(np.asarray(scores, dtype=np.float64), 9)
    above = (array[:, None, :] > array[:, :, None]).sum(axis=2)
    same = (array[:, None, :] == array[:, :, None]).sum(axis=2)
    return np.asarray(above + (same + 1) / 2, dtype=np.float64)


def friedman_p(scores: ArrayLike) -> float | None:
    """Return how likely ranks this uneven are if all methods (columns) are alike, by permuting ranks within blocks.

    None with fewer than three methods or five blocks, where it could not tell.
    """
    ranked = ranks(scores)
    blocks, methods = ranked.shape
    if methods < 3 or blocks < FRIEDMAN_SEEDS:
        return None
    middle = (methods + 1) / 2
    seen = float(((ranked.mean(axis=0) - middle) ** 2).sum())
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.broadcast_to(ranked, (PERMUTATIONS, blocks, methods)).copy(), axis=2)
    drawn = ((shuffled.mean(axis=1) - middle) ** 2).sum(axis=1)
    return float((1 + (drawn >= seen - 1e-12).sum()) / (1 + PERMUTATIONS))


def wilcoxon_p(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of Wilcoxon's signed-rank test: every sign pattern up to 12 differences, else 10,000.

    Differences of zero are dropped; None with fewer than six others, with which p cannot fall below 0.05.
    """
    array = np.round(np.asarray(differences, dtype=np.float64), 9)
    array = array[array != 0]
    n = len(array)
    if n < WILCOXON_SEEDS:
        return None
    size = ranks(-np.abs(array)[None, :])[0]
    seen = abs(float((np.sign(array) * size).sum()))
    if n <= EXACT_SIGNS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=n)))
        return float((np.abs(signs @ size) >= seen - 1e-9).mean())
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(PERMUTATIONS, n))
    return float((1 + (np.abs(signs @ size) >= seen - 1e-9).sum()) / (1 + PERMUTATIONS))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = highest
    return corrected


@dataclass(frozen=True, slots=True, kw_only=True)
class Tau:
    """Kendall's tau-b of `n` pairs with a 95 % interval; None where it is not defined, or n is below five."""

    n: int
    tau: float | None = None
    low: float | None = None
    high: float | None = None


def kendall(before: Sequence[float], after: Sequence[float]) -> Tau:
    """Return how alike two columns order the same things.

    The interval is Fisher's z with Fieller's variance 0.437 / (n - 4) (1957), wide for small n as it should be; a tau
    of 1 is taken for half a swapped pair less, since few pairs never prove perfect order.

    Raises:
        InvalidRequestError: the columns are not equally long.
    """
    if len(before) != len(after):
        raise InvalidRequestError(f"{len(before)} and {len(after)} figures are no pairs; give as many of both")
    n = len(before)
    upper = np.triu_indices(n, 1)
    first, second = (np.sign(np.subtract.outer(column, column))[upper] for column in map(np.asarray, (before, after)))
    scale = math.sqrt(float((first != 0).sum()) * float((second != 0).sum())) if n > 1 else 0.0
    if scale == 0:
        return Tau(n=n)
    return tau_interval(float((first * second).sum()) / scale, n)


def tau_interval(tau: float, n: int) -> Tau:
    """Return a tau of `n` pairs with its interval, as `kendall` gives it."""
    if n < 5:
        return Tau(n=n, tau=tau)
    limit = 1 - 1 / (n * (n - 1) / 2)
    centre, reach = math.atanh(max(-limit, min(limit, tau))), 1.96 * math.sqrt(0.437 / (n - 4))
    return Tau(n=n, tau=tau, low=math.tanh(centre - reach), high=max(tau, math.tanh(centre + reach)))
