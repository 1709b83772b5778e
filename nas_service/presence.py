"""Whether a board is there, judged from its last sign of life (heartbeats come every 10 s; EDGE.md, section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

SUSPECT_S = 30.0
LOST_S = 60.0

Presence = Literal["new", "here", "suspect", "lost", "stopped"]


def presence(last_seen: float | None, quiet_until: float | None, *, now: float, stopped: bool = False) -> Presence:
    """Return how a board stands: `new` before its first word, `suspect` after 30 s of silence, `lost` after 60 s.

    Args:
        last_seen: Unix seconds of its last heartbeat.
        quiet_until: Until when it has announced to be silent, since it times; None if it has not.
        now: Unix seconds.
        stopped: Whether it said last that it was stopping, which is then how it stands.
    """
    if last_seen is None:
        return "new"
    if stopped:
        return "stopped"
    silent_s = now - max(last_seen, quiet_until or last_seen)
    return "here" if silent_s <= SUSPECT_S else "suspect" if silent_s <= LOST_S else "lost"


def waiting_text(names: Sequence[str]) -> str:
    """Return what is to be done about boards that were added but have not enrolled; there is at least one."""
    those = "1 board was added and waits" if len(names) == 1 else f"{len(names)} boards were added and wait"
    return f"{those} to enrol ({', '.join(names)}): run `nas-edge enroll` there, with the code of `nas board add`"
