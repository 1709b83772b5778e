"""How long to wait before trying again, and how often to look for work: pure decisions about time."""

from __future__ import annotations

import random


class Backoff:
    """Exponential waiting from 1 to 60 s with full jitter, so that boards do not come back all at once."""

    def __init__(self, *, rng: random.Random, first_s: float = 1.0, last_s: float = 60.0) -> None:
        """Take the randomness and the bounds."""
        self._rng, self._first_s, self._last_s = rng, first_s, last_s
        self.failures = 0

    def next_s(self) -> float:
        """Count one more failure and return how long to wait."""
        bound = min(self._last_s, self._first_s * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return self._rng.uniform(0.0, bound)

    def reset(self) -> None:
        """Note a success."""
        self.failures = 0


def poll_pause_s(*, poll_s: float, since_work_s: float) -> float:
    """Return the pause before the next look into the inbox: short after work, long when idle."""
    if since_work_s < 5.0:
        return poll_s / 5
    return poll_s if since_work_s < 60.0 else 2 * poll_s
