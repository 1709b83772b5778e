"""The bench's system `cascade-nas`: baselines take searchers from whoever puts the rooms together."""

from __future__ import annotations

from nas_service.search import make_searcher
from workers.baselines.searched_cascade import SearchedCascade
from workers.bench.system import Setting


def make(setting: Setting) -> SearchedCascade:
    """Return the system of a setting."""
    return SearchedCascade(setting=setting, distilled=True, make_searcher=make_searcher)
