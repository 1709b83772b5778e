"""The searchers' common memory: what was asked, what was told, by phenotype, in the order it happened.

The ledger is the whole state of a search: its event log, replayed, gives the same ledger again, and every
proposer is a function of the ledger, the seed and the number of the ask.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from nas_service.choice_space import ChoiceSpace, Point
from nas_service.errors import InvalidRequestError
from nas_service.front import Floats
from nas_service.search.outcome import Outcome, read_outcome

Event: TypeAlias = list[Any]
"""["ask", point, draws], ["tell", point, outcome as JSON] or ["end", None, draws]."""

MAX_OBJECTIVES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One candidate: its place in the ledger, its folded point, and its outcome once it was told."""

    index: int
    key: str
    x: Point
    asked: bool
    outcome: Outcome | None = None


class Ledger:
    """Candidates by phenotype, with the points of all told curves as one growing array.

    Args:
        space: what is searched.
        objectives: 1 to 4 names, all minimised.

    Attributes:
        asked: how many candidates were asked for.
        tells: how many outcomes came, failures included.
    """

    def __init__(self, space: ChoiceSpace, *, objectives: Sequence[str]) -> None:
        self.space = space
        self.objectives = checked_objectives(objectives)
        self.events: list[Event] = []
        self.asked = 0
        self.tells = 0
        self._heard = 0
        self._entries: dict[str, Entry] = {}
        self._pending: dict[str, Entry] = {}
        self._told: list[Entry] = []
        self._points: Floats = np.empty((0, len(self.objectives)))
        self._owners = np.empty(0, dtype=np.intp)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def entries(self) -> list[Entry]:
        """Every candidate, in the order in which the ledger first heard of it."""
        return list(self._entries.values())

    @property
    def heard(self) -> list[Entry]:
        """The candidates that were known when a result last came, in the same order.

        What is planned once for each of `tells` must be a function of these and of results alone: a search that is
        loaded plans at another moment than an undisturbed one, with more candidates in flight.
        """
        return self.entries[: self._heard]

    @property
    def pending(self) -> list[Entry]:
        """Candidates asked for and not yet told, in the order of asking."""
        return list(self._pending.values())

    @property
    def told(self) -> list[Entry]:
        """Candidates with a usable outcome, in the order of telling."""
        return list(self._told)

    @property
    def told_count(self) -> int:
        """How many candidates have a usable outcome; what only outcomes decide may be kept until it grows."""
        return len(self._told)

    @property
    def points(self) -> Floats:
        """All operating points told so far, (n, d), in the order of telling."""
        return self._points

    @property
    def owners(self) -> np.ndarray[Any, np.dtype[np.intp]]:
        """For each row of `points`, the position of its candidate in `told`."""
        return self._owners

    def record_ask(self, x: Mapping[str, Any], *, draws: int) -> Entry:
        """Note that x, which is new, is asked for; `draws` says how many proposals it took."""
        key, point = self.space.resolve(x)
        entry = Entry(index=len(self._entries), key=key, x=point, asked=True)
        self._entries[key] = self._pending[key] = entry
        self.asked += 1
        self.events.append(["ask", point, draws])
        return entry

    def record_end(self, *, draws: int) -> None:
        """Note that this many proposals, and every other way, found nothing new."""
        self.events.append(["end", None, draws])

    def read(self, results: Iterable[tuple[Mapping[str, Any], Any]]) -> list[tuple[Point, Outcome]]:
        """What these results say that the ledger does not know yet; nothing is recorded.

        Raises:
            InvalidRequestError: a point or a value is not valid, or contradicts what was told before.
        """
        news: dict[str, tuple[Point, Outcome]] = {}
        for pair in results:
            try:
                x, told = pair
            except (TypeError, ValueError) as error:
                raise InvalidRequestError(f"a result is {pair!r}; tell pairs of a point and its value") from error
            key, point = self.space.resolve(x)
            outcome = read_outcome(told, objectives=self.objectives)
            known = news[key][1] if key in news else self.outcome(key)
            if known is not None and known != outcome:
                raise InvalidRequestError(
                    f"point {point!r} was told as {known.to_json()} and now as {outcome.to_json()}; "
                    "a candidate has one outcome: tell the same again, or nothing"
                )
            if known is None:
                news[key] = (point, outcome)
        return list(news.values())

    def record_tell(self, x: Mapping[str, Any], outcome: Outcome) -> Entry:
        """Note the outcome of x, asked for or not, whose outcome was not known."""
        key, point = self.space.resolve(x)
        known = self._entries.get(key)
        entry = Entry(
            index=len(self._entries) if known is None else known.index,
            key=key,
            x=point if known is None else known.x,
            asked=known is not None,
            outcome=outcome,
        )
        self._entries[key] = entry
        self._pending.pop(key, None)
        self.tells += 1
        self._heard = len(self._entries)
        if not outcome.failed:
            self._points = np.vstack([self._points, np.array(outcome.points)])
            self._owners = np.append(self._owners, np.full(len(outcome.points), len(self._told)))
            self._told.append(entry)
        self.events.append(["tell", entry.x, outcome.to_json()])
        return entry

    def outcome(self, key: str) -> Outcome | None:
        """The outcome of a phenotype; None if it is pending or unheard of."""
        entry = self._entries.get(key)
        return None if entry is None else entry.outcome

    def to_json(self) -> list[Event]:
        """The event log, a deep copy."""
        return copy.deepcopy(self.events)


def checked_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
    """The objectives as a tuple.

    Raises:
        InvalidRequestError: not 1 to 4 different names.
    """
    names = () if isinstance(objectives, str) else tuple(objectives)
    if not 1 <= len(names) <= MAX_OBJECTIVES or len(set(names)) < len(names):
        raise InvalidRequestError(f"objectives are {objectives!r}; give 1 to {MAX_OBJECTIVES} different names")
    if not all(isinstance(name, str) and name for name in names) or "threshold" in names:
        raise InvalidRequestError(f"objectives are {objectives!r}; names are text, and 'threshold' is not one of them")
    return names
