"""When a board is left alone for a while, and for how long: decided from how its last leases ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FAULTS_IN_A_ROW = 3
THROTTLED_OF_LAST = (2, 5)
BACKOFF_S = (300.0, 3600.0, 86400.0)
ENDINGS_LOOKED_AT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a lease ended: when (unix seconds), whether that speaks against the board, and with which status if any."""

    at: float
    against_board: bool
    status: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Why a board gets no leases, and until when (unix seconds); None: until somebody has looked at it."""

    reason: str
    until: float | None

    def holds(self, now: float) -> bool:
        """Return whether the time is not over yet."""
        return self.until is None or now < self.until


def quarantine(endings: Sequence[Ending]) -> Quarantine | None:
    """Return what a board's last leases mean for it, or None if nothing speaks against it.

    Three faults of the board in a row keep it out for 5 minutes; after that it is tried with one lease at a time, and
    each further fault keeps it out longer: an hour, a day, then until a person ends it. So do two measurements of the
    last five during which it throttled. One good answer ends the row.

    Args:
        endings: The last leases of the board that have ended, newest first.
    """
    row = 0
    for ending in endings:
        if not ending.against_board:
            break
        row += 1
    needed, last = THROTTLED_OF_LAST
    throttled = sum(ending.status == "throttled" and ending.against_board for ending in endings[:last])
    if row >= FAULTS_IN_A_ROW:
        return _out(endings[0], f"{row} faults of the board in a row", step=row - FAULTS_IN_A_ROW)
    if throttled >= needed and endings[0].against_board:
        return _out(endings[0], f"it throttled in {throttled} of its last {last} measurements", step=0)
    return None


def _out(newest: Ending, why: str, *, step: int) -> Quarantine:
    until = newest.at + BACKOFF_S[step] if step < len(BACKOFF_S) else None
    return Quarantine(reason=f"{why}, the last: {newest.cause or 'no cause given'}", until=until)
