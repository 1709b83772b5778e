"""How often something may be done: a bucket that fills steadily and holds so much."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """Lets `burst` things through at once and `per_s` from then on; times are of one monotonic clock."""

    per_s: float
    burst: float
    _level: float | None = None
    _at: float = 0.0

    def take(self, now: float) -> bool:
        """Return whether one more may be done now, and count it if so."""
        level = self.burst if self._level is None else min(self.burst, self._level + (now - self._at) * self.per_s)
        self._at = now
        self._level = level - 1.0 if level >= 1.0 else level
        return level >= 1.0
