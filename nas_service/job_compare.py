"""The part of a job that says which strategies are compared, and what is wrong with it beside the rest of the job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from nas_service.job_part import Part
from nas_service.job_parts import Count, Supernet, Text, checked_strategy, is_training_strategy
from nas_service.job_problem import Problem

TRAINING_OBJECTIVES = ("error", "macs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One strategy with one seed: `index` is its place in the comparison, from 0."""

    index: int
    strategy: str
    seed: int

    @property
    def trains(self) -> bool:
        """Whether it searches while it trains a supernet of its own."""
        return is_training_strategy(self.strategy)

    @property
    def label(self) -> str:
        """What people read."""
        return f"{self.strategy}, seed {self.seed}"


def _several(strategies: tuple[str, ...]) -> tuple[str, ...]:
    if len(strategies) < 2:
        raise ValueError(f"is {list(strategies)} but a comparison needs at least two strategies; add one, e.g. random")
    if len(set(strategies)) < len(strategies):
        raise ValueError(f"is {list(strategies)} but must name no strategy twice; more seeds say more of one strategy")
    return strategies


class Compare(Part):
    """Which strategies are compared, over how many seeds, and how many evaluations each has with each seed.

    A strategy asks for `batch` candidates at a time and is told of all of them together, in the order in which it
    asked, so that what it does depends on nothing but its seed. `concurrency` bounds the candidates in flight over all.
    """

    strategies: Annotated[
        tuple[Annotated[Text, AfterValidator(checked_strategy)], ...],
        Field(max_length=32),
        AfterValidator(_several),
    ]
    seeds: Annotated[int, Field(strict=True, ge=1, le=1000)] = 3
    evaluations: Count
    batch: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    concurrency: Annotated[int, Field(strict=True, ge=1, le=1024)] = 8

    @model_validator(mode="after")
    def _has_room(self) -> Compare:
        if self.batch > self.evaluations:
            raise ValueError(f"batch is {self.batch} but a strategy has only {self.evaluations} evaluations; lower it")
        if "coevolve" in self.strategies and self.evaluations < 2:
            raise ValueError(f"evaluations is {self.evaluations}, but the population of 'coevolve' needs at least 2")
        if self.total >= 1_000_000:
            raise ValueError(f"asks for {self.total:,} evaluations in all, but must stay below 1,000,000; lower seeds")
        return self

    @property
    def total(self) -> int:
        """Evaluations in all, those that several share counted for each."""
        return len(self.strategies) * self.seeds * self.evaluations

    @property
    def entrants(self) -> tuple[Entrant, ...]:
        """Every strategy with every seed; all strategies of the first seed come first."""
        pairs = [(seed, name) for seed in range(self.seeds) for name in self.strategies]
        return tuple(Entrant(index=i, strategy=name, seed=seed) for i, (seed, name) in enumerate(pairs))


def compare_problems(compare: Compare, *, supernet: Supernet, objectives: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with a comparison beside the supernet and the objectives that it has."""
    training = [name for name in compare.strategies if is_training_strategy(name)]
    if not training:
        return
    named = " and ".join(repr(name) for name in training)
    searches = "searches" if len(training) == 1 else "search"
    if foreign := [name for name in objectives if name not in TRAINING_OBJECTIVES]:
        message = (
            f"has {', '.join(foreign)}, but {named} {searches} while a supernet is trained, where only error is "
            f"weighed against macs; compare by objectives {list(TRAINING_OBJECTIVES)}, or leave {named} out"
        )
        yield Problem(path="objectives", message=message)
    if supernet.epochs is None:
        yield Problem(path="supernet.epochs", message=f"is missing; {named} {searches} while a supernet is trained")
    if supernet.shrinking:
        message = f"decides which pairs are trained, as {named} would; choose one"
        yield Problem(path="supernet.shrinking", message=message)
