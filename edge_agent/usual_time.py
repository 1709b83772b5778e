"""What the sentinel usually takes on a board, kept over restarts: is the board as fast as it has been?"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.files import write_whole
from edge_agent.records import Record, RecordError

MAX_CHANGE = 0.10
_COUNT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualTime(Record):
    """The first five of the sentinel's times in a state of the board, which is its fingerprint's hash.

    Later ones do not move it, so that a board that becomes slower step by step is noticed as well.
    """

    state: str
    times_ms: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(time_ms > 0 for time_ms in self.times_ms):
            raise RecordError(f"times_ms are {self.times_ms} but must be above 0")

    @property
    def median_ms(self) -> float | None:
        """What the sentinel usually takes, None before its first time."""
        return sorted(self.times_ms)[len(self.times_ms) // 2] if self.times_ms else None

    def slower_cause(self, time_ms: float) -> str | None:
        """Return why a board whose sentinel takes `time_ms` is not what it was, None if it is."""
        usual = self.median_ms
        if usual is None or time_ms <= usual * (1 + MAX_CHANGE):
            return None
        return (
            f"the sentinel took {time_ms:.4g} ms, {time_ms / usual - 1:+.0%} over the {usual:.4g} ms that it usually "
            f"takes on this board; at most {MAX_CHANGE:.0%} is allowed"
        )

    def after(self, time_ms: float) -> UsualTime:
        """Return this with one more time; one that is far shorter shows that those before were too long."""
        usual = self.median_ms
        if usual is not None and time_ms < usual * (1 - MAX_CHANGE):
            return replace(self, times_ms=(time_ms,))
        return replace(self, times_ms=(*self.times_ms, time_ms)) if len(self.times_ms) < _COUNT else self


def read_usual_time(path: Path, *, state: str) -> UsualTime:
    """Return what is kept at `path` for a state; nothing yet if it is of another one, absent or damaged."""
    with contextlib.suppress(OSError, RecordError):
        kept = UsualTime.from_json(path.read_bytes())
        if kept.state == state:
            return kept
    return UsualTime(state=state)


def keep_usual_time(path: Path, usual: UsualTime) -> None:
    """Keep it for the next start; a disk that is full costs nothing but that."""
    with contextlib.suppress(OSError):
        write_whole(path, usual.to_json().encode())
