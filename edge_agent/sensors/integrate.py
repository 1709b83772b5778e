"""From samples to energy: counters by unwrapped differences, power by the trapezoid rule; and how sure that is."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

_BLOCKS = 20
_T95_19 = 2.093  # Student's t for a two-sided 95 % at 19 degrees of freedom


def encloses(times_ns: Sequence[int], *, start_ns: int, end_ns: int) -> bool:
    """Return whether there are samples on both sides of a window."""
    return len(times_ns) >= 2 and times_ns[0] <= start_ns <= end_ns <= times_ns[-1]


def counter_mj(
    times_ns: Sequence[int],
    readings_uj: Sequence[Sequence[int]],
    *,
    ranges_uj: Sequence[int],
    start_ns: int,
    end_ns: int,
) -> float | None:
    """Return the energy that counters gained between two moments, in mJ; None if no samples enclose them.

    Args:
        times_ns: When they were read, ascending.
        readings_uj: At each time, one value per counter.
        ranges_uj: Where each counter begins again; it may do so once between two readings.
        start_ns: The window's begin.
        end_ns: Its end.
    """
    if not encloses(times_ns, start_ns=start_ns, end_ns=end_ns):
        return None
    gains = (
        sum(a - b if a >= b else a - b + limit for b, a, limit in zip(before, after, ranges_uj, strict=True))
        for before, after in pairwise(readings_uj)
    )
    totals_uj = list(accumulate(gains, initial=0))
    return (_between(times_ns, totals_uj, end_ns) - _between(times_ns, totals_uj, start_ns)) / 1e3


def _between(times: Sequence[int], values: Sequence[float], moment: int) -> float:
    """Return the value at a moment by linear interpolation."""
    after = max(1, bisect_left(times, moment))
    t0, t1, v0, v1 = times[after - 1], times[after], values[after - 1], values[after]
    return v0 + (v1 - v0) * (moment - t0) / max(t1 - t0, 1)


def trapezoid_mj(times_ns: Sequence[int], powers_mw: Sequence[float], *, start_ns: int, end_ns: int) -> float | None:
    """Return the energy between two moments in mJ, by straight lines between readings of power in mW."""
    if not encloses(times_ns, start_ns=start_ns, end_ns=end_ns):
        return None
    first, last = bisect_left(times_ns, start_ns), bisect_left(times_ns, end_ns)
    inner = range(first, last)
    times = [start_ns, *(times_ns[i] for i in inner), end_ns]
    begin, end = (_between(times_ns, powers_mw, moment) for moment in (start_ns, end_ns))
    powers = [begin, *(powers_mw[i] for i in inner), end]
    areas = ((t1 - t0) * (p0 + p1) / 2 for (t0, t1), (p0, p1) in zip(pairwise(times), pairwise(powers), strict=True))
    return math.fsum(areas) / 1e9


def sampling_u95(times_ns: Sequence[int], powers_mw: Sequence[float], *, start_ns: int, end_ns: int) -> float | None:
    """Return how far the mean power may be off because it was only sampled, as a fraction of it at 95 %.

    By batch means: the spread of the means of 20 neighbouring blocks. It includes what the load itself did over the
    window, so it errs upwards; None with fewer than three samples a block, or without power.
    """
    if len(times_ns) < 3 * _BLOCKS:
        return None
    edges = [start_ns + (end_ns - start_ns) * i // _BLOCKS for i in range(_BLOCKS + 1)]
    blocks = [trapezoid_mj(times_ns, powers_mw, start_ns=a, end_ns=b) for a, b in pairwise(edges)]
    energies = [energy for energy in blocks if energy is not None]
    mean = math.fsum(energies) / _BLOCKS
    if len(energies) < _BLOCKS or mean <= 0:
        return None
    variance = math.fsum((energy - mean) ** 2 for energy in energies) / (_BLOCKS - 1)
    return _T95_19 * math.sqrt(variance / _BLOCKS) / mean
