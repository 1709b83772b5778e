"""What a searcher has asked for and a session has not yet handed out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from nas_service.tune.memory import Memory
from nas_service.tune.thinker import Thinker


class Agenda:
    """The architectures to be evaluated next, in the searcher's order.

    Args:
        thinker: Asks the searcher.
        memory: Keeps the searcher's state.
        strategy: The strategy's name, for the words.
        note: Called with a kind and a sentence when nothing is left to ask for.
        is_over: Tells, when the searcher had no answer, whether it never will; else it may be asked again.
    """

    def __init__(
        self,
        thinker: Thinker,
        *,
        memory: Memory,
        strategy: str,
        note: Callable[[str, str], None],
        is_over: Callable[[], bool],
    ) -> None:
        self._thinker, self._memory, self._strategy, self._note = thinker, memory, strategy, note
        self._is_over = is_over
        self._asked: deque[dict[str, Any]] = deque()
        self._exhausted = False

    @property
    def exhausted(self) -> bool:
        """Whether the searcher has nothing more; final."""
        return self._exhausted

    def next(self, count: int, *, wait: bool) -> dict[str, Any] | None:
        """Return the next architecture; None if there is none, or without `wait` while the searcher still thinks.

        Args:
            count: How many to ask for at once if none is at hand; at least one is asked for.
            wait: Whether to wait for the searcher.
        """
        if not self._asked:
            self._ask(max(1, count), wait=wait)
        return self._asked.popleft() if self._asked else None

    def think_ahead(self, count: int) -> None:
        """Have the searcher think of `count` more beside the caller, unless some are at hand."""
        if not self._asked and count > 0:
            self._thinker.begin(count)

    def _ask(self, count: int, *, wait: bool) -> None:
        points = self._thinker.take(count, wait=wait)
        if points is None:
            return
        # The state first: cut in between, the searcher asks for the pairs again. The other way round, a pair that it
        # does not remember could stay in the archive for ever.
        self._memory.keep(self._thinker.state())
        self._asked.extend(points)
        if not points and self._is_over():
            self._exhausted = True
            self._note("exhausted", f"{self._strategy}: no pair is left that was not asked for before")
