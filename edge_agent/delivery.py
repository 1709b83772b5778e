"""When each spooled result may be written to the gateway: pure decisions about time."""

from __future__ import annotations

import random

from edge_agent.backoff import Backoff

RESEND_S = 30.0
FORBIDDEN_LAST_S = 3600.0
FORBIDDEN_ADVICE = (
    "let this board write into its outbox on the gateway's machine (behind OpenSSH `mailbox.sh add` does); the result "
    "is kept and tried again, at the latest in an hour, or at once if the agent is restarted"
)


class Delivery:
    """The results under way: one that got no answer is due every 30 s, one that is forbidden ever more rarely.

    What a gateway forbids, a person must allow. So the waits for such a result double, with full jitter, up to an hour
    and are never under 30 s; each result waits for itself. A new connection makes all of them due, since the gateway
    may have been put right.
    """

    def __init__(self, *, rng: random.Random) -> None:
        """Take the randomness of the jitter."""
        self._rng = rng
        self._due_at: dict[str, float] = {}
        self._backoffs: dict[str, Backoff] = {}

    def is_due(self, result_id: str, *, now: float) -> bool:
        """Return whether a result may be written at `now`, in s of a clock that never goes back."""
        return now >= self._due_at.get(result_id, float("-inf"))

    def wrote(self, result_id: str, *, now: float) -> None:
        """Note that the gateway let a result be written."""
        self._due_at[result_id] = now + RESEND_S
        self._backoffs.pop(result_id, None)

    def forbidden(self, result_id: str, *, now: float) -> bool:
        """Note that the gateway did not; return whether that is news, and worth a line in the log."""
        is_news = result_id not in self._backoffs
        backoff = self._backoffs.setdefault(
            result_id, Backoff(rng=self._rng, first_s=2 * RESEND_S, last_s=FORBIDDEN_LAST_S)
        )
        self._due_at[result_id] = now + max(RESEND_S, backoff.next_s())
        return is_news

    def forget(self, result_id: str) -> None:
        """Drop a result that was acknowledged."""
        self._due_at.pop(result_id, None)
        self._backoffs.pop(result_id, None)

    def reconnected(self) -> None:
        """Make every result due."""
        self._due_at.clear()
