"""The sentinel: a fixed model timed before and after measurements; what it takes now, the board itself has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.measuring import Supervision, measure_file
from edge_agent.records import RuntimeSettings, Tier
from edge_agent.sentinel_model import SENTINEL_MODEL
from edge_agent.tiers import SENTINEL_EVERY_S, SENTINEL_PLAN, TIERS
from edge_agent.usual_time import MAX_CHANGE, UsualTime, keep_usual_time, read_usual_time

_FILE = "sentinel.onnx"


def sentinel_cause(*, before_ms: float | None, after_ms: float | None) -> str | None:
    """Return why a measurement between two of the sentinel's median times is not to be trusted, else None.

    A time is None where the sentinel was not due or did not run.
    """
    if before_ms is None or after_ms is None:
        return None
    change = after_ms / before_ms - 1
    if abs(change) <= MAX_CHANGE:
        return None
    return f"the sentinel took {change:+.1%} after the measurement; at most {MAX_CHANGE:.0%} is allowed"


class Sentinel:
    """Times the sentinel when it is due: around every measurement of the higher tiers, else once in ten minutes.

    Args:
        work: A folder for the model and the exchange with the child.
        kept: Where to keep what it usually takes here; None keeps it for the life of this object only.
        state: What must stay the same for times to be comparable, such as the hash of the board's fingerprint.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, *, work: Path, kept: Path | None = None, state: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._work, self._kept, self._clock = work, kept, clock
        self._usual = UsualTime(state=state) if kept is None else read_usual_time(kept, state=state)
        self._read_at = clock() if self._usual.median_ms is None else float("-inf")

    def is_due(self, tier: Tier) -> bool:
        """Return whether a measurement of this tier begins with a reading."""
        return TIERS[tier].sentinel or self._clock() - self._read_at >= SENTINEL_EVERY_S

    def slower_cause(self, time_ms: float) -> str | None:
        """Return why a board that takes `time_ms` is slower than itself, None if it is not.

        A time that is as it was is remembered; after one that is not, the next measurement begins with a reading again.
        """
        cause = self._usual.slower_cause(time_ms)
        if cause is not None:
            self._read_at = float("-inf")
            return f"{cause}; if it is meant to be so from now on, remove {self._kept}" if self._kept else cause
        usual = self._usual.after(time_ms)
        if self._kept is not None and usual != self._usual:
            keep_usual_time(self._kept, usual)
        self._usual = usual
        return None

    def read_ms(self, *, supervision: Supervision) -> float | None:
        """Return the sentinel's median time on one thread of the CPU, None if it could not be timed.

        Raises:
            StoppedError: If the supervision's `stop_fd` became readable.
        """
        path = self._work / _FILE
        path.write_bytes(SENTINEL_MODEL)
        measured = measure_file(
            path,
            tier="probe",
            settings=RuntimeSettings(),
            work=self._work,
            supervision=supervision,
            plan=SENTINEL_PLAN,
        )
        self._read_at = self._clock()
        return None if measured.latency is None else measured.latency.median_ms
