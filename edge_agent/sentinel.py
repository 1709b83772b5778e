"""The sentinel: a fixed model timed before and after measurements; what it takes now, the board itself has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edge_agent.measuring import Supervision, measure_file
from edge_agent.records import RuntimeSettings, Tier
from edge_agent.sentinel_model import SENTINEL_MODEL
from edge_agent.tiers import SENTINEL_EVERY_S, SENTINEL_PLAN, TIERS

MAX_CHANGE = 0.10
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
        clock: Seconds, monotonic.
    """

    def __init__(self, *, work: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._work, self._clock = work, clock
        self._read_at = clock()

    def is_due(self, tier: Tier) -> bool:
        """Return whether a measurement of this tier begins with a reading."""
        return TIERS[tier].sentinel or self._clock() - self._read_at >= SENTINEL_EVERY_S

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
