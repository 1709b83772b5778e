"""A searcher that thinks beside its caller: evaluators need not wait for the tenths of a second a surrogate takes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from nas_service.choice_space import Point
from nas_service.search import Searcher
from nas_service.search.searcher import Told


class Thinker:
    """Asks a searcher in a thread of its own; meanwhile it hears nothing, and is told afterwards what came.

    Args:
        searcher: Used by nobody else.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="searcher")
        self._thought: Future[list[Point]] | None = None
        self._news: list[tuple[Point, Told]] = []

    def tell(self, results: Sequence[tuple[Point, Told]]) -> None:
        """Tell the searcher, as soon as it listens."""
        if self._thought is None:
            self._searcher.tell(results)
        else:
            self._news.extend(results)

    def state(self) -> dict[str, Any] | None:
        """Return the searcher's state; None while it thinks."""
        return self._searcher.state_dict() if self._thought is None else None

    def begin(self, count: int) -> None:
        """Have the searcher think of up to `count` points, unless it does so already."""
        if self._thought is None:
            self._thought = self._thread.submit(self._searcher.ask, count)

    def take(self, count: int, *, wait: bool) -> list[Point] | None:
        """Return the points that were thought of, none if the searcher has no more; None while it thinks.

        Args:
            count: How many to ask for if no thought was begun.
            wait: Whether to wait for them.

        Raises:
            InvalidRequestError: whatever the searcher says.
        """
        if wait and self._thought is None:
            return self._searcher.ask(count)
        self.begin(count)
        assert self._thought is not None
        if not wait and not self._thought.done():
            return None
        thought, self._thought = self._thought, None
        points = thought.result()
        news, self._news = self._news, []
        if news:
            self._searcher.tell(news)
        return points
