"""The one implementation of `Searcher`: a ledger, and a proposer that says what to try next.

Everything that all methods must get right is here once: no phenotype twice, hard constraints, the end of the
space, checked results, candidates in flight, exact resume. A method is only a `Proposer`.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nas_service.choice_space import ChoiceSpace, Point
from nas_service.errors import InvalidRequestError
from nas_service.search.freshness import Freshness
from nas_service.search.ledger import Entry, Ledger
from nas_service.search.outcome import Outcome
from nas_service.search.searcher import Told

STATE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSetting:
    """What a search is about; a state is only loaded into an equal one.

    Attributes:
        name: the method.
        space: what is searched.
        objectives: 1 to 4 names, all minimised.
        seed: >= 0.
        budget: how many evaluations the method should plan for, >= 1; asking for more is allowed.
    """

    name: str
    space: ChoiceSpace
    objectives: tuple[str, ...]
    seed: int
    budget: int

    def __post_init__(self) -> None:
        for label, value, least in (("seed", self.seed, 0), ("budget", self.budget, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidRequestError(f"`{label}` is {value!r} but must be a whole number >= {least}")

    def to_json(self) -> dict[str, Any]:
        """The setting as JSON values; a space's functions cannot be compared, only what it says of its identity."""
        return {
            "name": self.name,
            "objectives": list(self.objectives),
            "seed": self.seed,
            "budget": self.budget,
            "space": {name: list(values) for name, values in self.space.choices.items()},
            **self.space.identity(),
        }


class Proposer(Protocol):
    """A method of search: a function of the ledger and a generator, told of every change in order.

    Attributes:
        draws: how many proposals to take before a new point is sought near the last one.
    """

    draws: int

    def propose(self, ledger: Ledger, rng: np.random.Generator) -> Point:
        """A point worth trying; it may be an old or a forbidden one."""

    def asked(self, entry: Entry, ledger: Ledger) -> None:
        """The ledger has just recorded that this is asked for."""

    def told(self, entry: Entry, ledger: Ledger) -> None:
        """The ledger has just recorded this outcome."""

    def redraw(self, ledger: Ledger, draws: int) -> None:
        """Go through this many proposals again, as a stateful method needs when a log is replayed."""


class StatelessProposer:
    """What a proposer that keeps no state of its own does with events: nothing."""

    draws = 64

    def asked(self, entry: Entry, ledger: Ledger) -> None:
        """Nothing: the ledger knows."""

    def told(self, entry: Entry, ledger: Ledger) -> None:
        """Nothing: the ledger knows."""

    def redraw(self, ledger: Ledger, draws: int) -> None:
        """Nothing: proposals leave no trace."""


class AskTell:
    """A searcher: see `nas_service.search.searcher.Searcher` for the promise.

    Args:
        setting: what is searched, for what, with which seed and budget.
        make_proposer: makes the method, anew for every load.
    """

    def __init__(self, setting: SearchSetting, make_proposer: ProposerFactory) -> None:
        self._setting = setting
        self._make_proposer = make_proposer
        self._ledger = Ledger(setting.space, objectives=setting.objectives)
        self._proposer = make_proposer(setting)
        self._freshness = Freshness(setting.space)
        self._reissue: deque[Entry] = deque()

    def ask(self, count: int) -> list[Point]:
        """Up to `count` points that were not asked before; fewer, then none, when the space is used up.

        After loading a state, the candidates that were in flight come first.

        Raises:
            InvalidRequestError: count is not a whole number >= 0.
        """
        if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 0:
            raise InvalidRequestError(f"`count` is {count!r} but must be a whole number >= 0")
        batch: list[Point] = []
        while len(batch) < count:
            point = self._again() or self._next()
            if point is None:
                break
            batch.append(dict(point))
        return batch

    def tell(self, results: Iterable[tuple[Mapping[str, Any], Told]]) -> None:
        """Record results, all or none: pairs of a point and a mapping, a curve, or None for a failure.

        A point that was never asked for is a warm start: it is learnt from, and never asked. Telling the same
        again changes nothing.

        Raises:
            InvalidRequestError: a point outside the space, a missing objective, a malformed curve, or an outcome
                that differs from the one told before.
        """
        for x, outcome in self._ledger.read(results):
            entry = self._ledger.record_tell(x, outcome)
            self._proposer.told(entry, self._ledger)

    def state_dict(self) -> dict[str, Any]:
        """The setting and the event log, JSON-serialisable and independent of the searcher."""
        return {"version": STATE_VERSION, **self._setting.to_json(), "events": self._ledger.to_json()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the searcher that gave this state; on an error, stay as before.

        Raises:
            InvalidRequestError: the state is of another version, method, space, seed, budget or objectives.
        """
        expected = {"version": STATE_VERSION, **self._setting.to_json()}
        for label in self._setting.space.identity().keys() - state.keys():  # of before these were kept
            del expected[label]
        for label, ours in expected.items():
            if label not in state or state[label] != ours or (label == "space" and list(state[label]) != list(ours)):
                raise InvalidRequestError(
                    f"the state's {label} is {state.get(label)!r}, this searcher's is {ours!r}; "
                    "make a searcher with the state's setting, or start anew"
                )
        fresh = AskTell(self._setting, self._make_proposer)
        try:
            fresh._replay(state.get("events", ()))
        except (TypeError, ValueError, KeyError) as error:
            raise InvalidRequestError(
                f"the state's events cannot be read ({error}); load what state_dict gave"
            ) from error
        self._ledger, self._proposer = fresh._ledger, fresh._proposer
        self._freshness, self._reissue = fresh._freshness, fresh._reissue

    def _again(self) -> Point | None:
        """The next candidate that was in flight when the state was saved, and still is."""
        while self._reissue:
            entry = self._reissue.popleft()
            if self._ledger.outcome(entry.key) is None:
                return entry.x
        return None

    def _next(self) -> Point | None:
        if self._freshness.is_exhausted(self._ledger):
            return None
        rng = np.random.default_rng([self._setting.seed, self._ledger.asked])
        near: Point | None = None
        found: Point | None = None
        draws = 0
        while found is None and draws < self._proposer.draws:
            near = self._proposer.propose(self._ledger, rng)
            draws += 1
            new = self._freshness.new(near, self._ledger)
            found = new[1] if new else None
        found = found or self._freshness.find(self._ledger, rng, near=near)
        if found is None:
            self._freshness.record_end(self._ledger)
            self._ledger.record_end(draws=draws)
            return None
        self._proposer.asked(self._ledger.record_ask(found, draws=draws), self._ledger)
        return found

    def _replay(self, events: Iterable[Any]) -> None:
        for kind, x, detail in copy.deepcopy(list(events)):
            if kind == "end":
                self._proposer.redraw(self._ledger, detail)
                self._freshness.record_end(self._ledger)
                self._ledger.record_end(draws=detail)
            elif kind == "ask":
                self._proposer.redraw(self._ledger, detail)
                self._proposer.asked(self._ledger.record_ask(x, draws=detail), self._ledger)
            else:
                self._proposer.told(self._ledger.record_tell(x, Outcome.from_json(detail)), self._ledger)
        self._reissue.extend(self._ledger.pending)


class ProposerFactory(Protocol):
    """Makes a method for a setting."""

    def __call__(self, setting: SearchSetting, /) -> Proposer:
        """The method, with nothing asked or told yet."""
