"""Board classes that vanish while a search needs them: what it still does meanwhile, and how long.

Candidates that wait for such a class are held back: they are not failed, and the searcher is told nothing of them. The
search goes on beside them, but not far, since it learns nothing from what it cannot tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

LOOK_S = 10.0  # how often boards send word, so looking more often shows nothing


def places(concurrency: int, *, in_flight: int, held: int) -> int:
    """Return how many more candidates may be in flight: those held back take no place, up to `concurrency` of them."""
    return concurrency - in_flight + min(held, concurrency)


class Outage:
    """Knows which board classes are away, and whether a search has nothing to do but wait for them.

    Args:
        patience_s: How long it waits before it ends with candidates unmeasured.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._look_at = float("-inf")
        self._stuck: tuple[str, ...] = ()
        self._stuck_since = 0.0
        self.away: frozenset[str] = frozenset()
        self.given_up = False

    def is_due(self, now: float) -> bool:
        """Return whether it is time to look again whether boards are there; `now` is in unix seconds."""
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        return True

    def wait(self, held: Sequence[str], *, in_flight: int, now: float) -> None:
        """Take in which candidates are held back; it is `given_up` once for long enough nothing else was in flight."""
        stuck = tuple(held) if held and len(held) == in_flight else ()
        if stuck != self._stuck:
            self._stuck, self._stuck_since = stuck, now
        if stuck and now - self._stuck_since >= self._patience_s:
            self.given_up = True


def lost_text(away: Collection[str]) -> str:
    """Return what the user is told when board classes vanish."""
    return (
        f"no board of class {', '.join(sorted(away))} is there. The search goes on with accuracies and, where they are "
        "good enough, predicted costs; what must be measured waits. See `nas board ls`, and bring a board back"
    )


def back_text(back: Collection[str], *, waiting: int) -> str:
    """Return what the user is told when board classes are there again."""
    return f"a board of class {', '.join(sorted(back))} is there again; {waiting} candidates wait for it"


def unmeasured_text(names: Sequence[str], away: Collection[str], *, job_id: str) -> str:
    """Return what the user is told when a search ends while candidates wait."""
    return (
        f"{len(names)} candidates are evaluated and not measured, since no board of class {', '.join(sorted(away))} "
        f"is there: {', '.join(names)}. Bring one back (`nas board ls`), then `nas resume {job_id}` measures them and "
        "goes on"
    )
