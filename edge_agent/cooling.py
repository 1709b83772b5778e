"""Waiting until a board is as cool as at the beginning of every other measurement: by temperature, never by the clock.

A chip that starts warm throttles sooner and leaks more, so figures of long measurements depend on what ran before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_agent.errors import StoppedError
from edge_agent.health import temperatures_c
from edge_agent.lifetime import StopSignal
from edge_agent.tiers import COOLING_LIMIT_S

START_C = 60.0
LOOK_S = 2.0
_PLAUSIBLE_C = (1.0, 124.0)  # zones that are offline tell 0, -256 or 127 and the like


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooling:
    """How a wait went: how long, and the hottest zone's °C at its begin and end; None where nothing is told."""

    waited_s: float
    from_c: float | None
    to_c: float | None
    start_c: float

    @property
    def cause(self) -> str | None:
        """Why the board may not begin, None if it may."""
        if self.to_c is None or self.to_c <= self.start_c:
            return None
        return (
            f"still {self.to_c:.0f} °C after {self.waited_s:.0f} s, above the {self.start_c:.0f} °C that measurements "
            "begin at; see to its fan or heat sink, or start the agent with a higher --start-celsius"
        )


def hottest_c(zones: Mapping[str, float]) -> float | None:
    """Return the highest plausible temperature of some thermal zones, None without one."""
    low, high = _PLAUSIBLE_C
    return max((value for value in zones.values() if low <= value <= high), default=None)


def cool_down(
    start_c: float,
    *,
    stop: StopSignal,
    waiting: Callable[[], None],
    limit_s: float = COOLING_LIMIT_S,
    read: Callable[[], Mapping[str, float]] = temperatures_c,
    clock: Callable[[], float] = time.monotonic,
) -> Cooling:
    """Wait until no zone is hotter than `start_c`, at most `limit_s`; a board that tells no temperature does not wait.

    Args:
        start_c: In °C.
        stop: Ends the wait.
        waiting: Called at every look while it is too hot.
        limit_s: In seconds.
        read: Returns °C by zone.
        clock: In seconds.

    Raises:
        StoppedError: If `stop` was set meanwhile.
    """
    begun, first = clock(), hottest_c(read())
    now = first
    while now is not None and now > start_c and clock() - begun < limit_s:
        waiting()
        if stop.wait(LOOK_S):
            raise StoppedError("the agent was asked to stop while the board cooled down")
        now = hottest_c(read())
    return Cooling(waited_s=round(clock() - begun, 1), from_c=first, to_c=now, start_c=start_c)
