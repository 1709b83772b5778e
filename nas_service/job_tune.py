"""How a job says which hyperparameters of supernet training are tuned, over which ranges, and by which method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from nas_service.job_cotraining import CoTraining, PhaseShares
from nas_service.job_part import Part
from nas_service.job_parts import AugmentationChange, Supernet
from nas_service.job_problem import Problem, problems_in
from nas_service.spelling import nearest

METHODS = ("asha", "pbt", "optuna", "nevergrad")
WATCHED = ("largest_little", "largest_big", "smallest_little", "smallest_big")
MEAN = "mean_accuracy"
METRICS = (MEAN, *WATCHED)

_PLAIN = (
    "learning_rate",
    "weight_decay",
    "momentum",
    "batch_size",
    "random_pairs",
    "label_smoothing",
    "clip_norm",
    "rollbacks",
)
# Every name that can be tuned, and where it lies under `supernet`.
TUNABLE: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in _PLAIN},
    **{name: ("cotraining", name) for name in CoTraining.model_fields if name != "phases"},
    **{f"phases.{name}": ("cotraining", "phases", name) for name in PhaseShares.model_fields},
    **{name: ("augmentation", name) for name in AugmentationChange.model_fields},
}
_PREFIXES = ("supernet.", "cotraining.", "augmentation.")
# What a population cannot change between two epochs: it decides what is trained, not how much.
_FIXED_IN_TRAINING = ("teacher", "router_head", *(name for name in TUNABLE if name.startswith("phases.")))
_ABOVE_ZERO_IN_TRAINING = ("system", "router", "focus", "cost", "rate", "gate")

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Choice = Annotated[bool, Field(strict=True)] | Whole | Number | Annotated[str, Field(strict=True, max_length=100)]


class Range(Part):
    """The values of one hyperparameter: exactly one of the four ways to say them.

    `uniform` and `log` are numbers between two bounds, evenly spread or evenly spread in their logarithm; `integer`
    whole numbers, both bounds among them; `choice` a list.
    """

    uniform: tuple[Number, Number] | None = None
    log: tuple[Number, Number] | None = None
    integer: tuple[Whole, Whole] | None = None
    choice: Annotated[tuple[Choice, ...], Field(min_length=2, max_length=100)] | None = None

    @model_validator(mode="after")
    def _is_one_range(self) -> Range:
        given = [name for name in Range.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "nothing"
            raise ValueError(f"has {got} but must have exactly one of: {', '.join(Range.model_fields)}")
        for bounds in (self.uniform, self.log, self.integer):
            if bounds is not None and bounds[0] >= bounds[1]:
                raise ValueError(
                    f"is {list(bounds)} but must be [low, high] with low below high; leave out what is fixed"
                )
        if self.log is not None and self.log[0] <= 0:
            raise ValueError(
                f"is log {list(self.log)} but a logarithmic range begins above 0; use uniform for one from 0"
            )
        if self.choice is not None and len({(type(c), c) for c in self.choice}) < len(self.choice):
            raise ValueError(f"is {list(self.choice)} but must name no choice twice")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The bounds, or all choices: if each of these is allowed, every value is."""
        return self.uniform or self.log or self.integer or self.choice or ()

    def at(self, share: float) -> Any:
        """Return the value at `share`, in [0, 1], of the way through the range; uniform shares give its own spread."""
        if self.choice is not None:
            return self.choice[min(int(share * len(self.choice)), len(self.choice) - 1)]
        if self.integer is not None:
            low, high = self.integer
            return min(low + int(share * (high - low + 1)), high)
        if self.log is not None:
            low_log, high_log = math.log(self.log[0]), math.log(self.log[1])
            return min(max(math.exp(low_log + share * (high_log - low_log)), self.log[0]), self.log[1])
        assert self.uniform is not None
        return self.uniform[0] + share * (self.uniform[1] - self.uniform[0])

    def share_of(self, value: Any) -> float:
        """Return how far through the range `value` lies; `at` of it is the value again."""
        if self.choice is not None:
            return (self.choice.index(value) + 0.5) / len(self.choice)
        if self.integer is not None:
            return float((value - self.integer[0] + 0.5) / (self.integer[1] - self.integer[0] + 1))
        if self.log is not None:
            return math.log(value / self.log[0]) / math.log(self.log[1] / self.log[0])
        assert self.uniform is not None
        return float((value - self.uniform[0]) / (self.uniform[1] - self.uniform[0]))


def _canonical(name: str) -> str:
    short = name
    for prefix in _PREFIXES:
        short = short.removeprefix(prefix)
    if short not in TUNABLE:
        raise ValueError(f"unknown parameter {name!r}{nearest(short, TUNABLE)}; choose from: {', '.join(TUNABLE)}")
    return short


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}{nearest(name, METRICS)}; choose one of: {', '.join(METRICS)}")
    return name


class Tune(Part):
    """Which hyperparameters are tuned, by which method, with how many trials.

    `metric` is maximised: an accuracy on validation images of the pair named, or `mean_accuracy`, the mean of both
    halves of the largest and the smallest pair. `grace_epochs` and `reduction` are ASHA's: no trial ends before the
    first, and of those that reach a rung about one in `reduction` goes on. `interval` is the population's: how many
    epochs lie between two exchanges.
    """

    method: Literal["asha", "pbt", "optuna", "nevergrad"] = "asha"
    trials: Annotated[int, Field(strict=True, ge=1, le=10_000)]
    metric: Annotated[str, Field(strict=True), AfterValidator(_known_metric)] = MEAN
    parameters: Annotated[
        dict[Annotated[str, Field(strict=True), AfterValidator(_canonical)], Range], Field(min_length=1)
    ]
    grace_epochs: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    reduction: Annotated[int, Field(strict=True, ge=2, le=100)] | None = None
    interval: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None

    @model_validator(mode="after")
    def _fits_its_method(self) -> Tune:
        population = self.method == "pbt"
        for key, means in (("grace_epochs", not population), ("reduction", not population), ("interval", population)):
            if getattr(self, key) is not None and not means:
                raise ValueError(f"{key} means nothing to method {self.method!r}; remove it")
        if population and self.trials < 4:
            raise ValueError(
                f"trials is {self.trials}, but a population needs at least 4, of which the worst quarter learns from "
                "the best; raise trials, or use method asha"
            )
        return self


def with_parameters(supernet: Supernet, values: Mapping[str, Any]) -> Supernet:
    """Return `supernet` with hyperparameters, by their names in `TUNABLE`, replaced.

    Raises:
        ValidationError: a value is not allowed, alone or beside the others.
    """
    data = supernet.model_dump(exclude_none=True)
    for name, value in values.items():
        here = data
        for key in TUNABLE[name][:-1]:
            here = here.setdefault(key, {})
        here[TUNABLE[name][-1]] = value
    return Supernet.model_validate(data)


def tune_problems(supernet: Supernet, tune: Tune) -> Iterator[Problem]:
    """Yield what is wrong with tuned ranges beside the supernet that they belong to."""
    epochs = supernet.epochs
    if epochs is None:
        yield Problem(path="supernet.epochs", message="is missing; it is the most epochs of one trial")
        return
    for key in ("grace_epochs", "interval"):
        given = getattr(tune, key)
        if given is not None and given > epochs:
            yield Problem(path=f"tune.{key}", message=f"is {given} but a trial has at most {epochs} epochs")
    if tune.method == "pbt":
        if epochs <= (tune.interval or 1):
            message = f"is {epochs}, so the population would end before its first exchange; raise it above the interval"
            yield Problem(path="supernet.epochs", message=message)
        yield from _unchangeable(tune)
    middle = {name: tuned.at(0.5) for name, tuned in tune.parameters.items()}
    for name, tuned in tune.parameters.items():
        for end in tuned.ends:
            if complaint := _complaint(supernet, {**middle, name: end}, name):
                yield Problem(path=f"tune.parameters.{name}", message=f"reaches {end!r}: {complaint}")
                break


def _unchangeable(tune: Tune) -> Iterator[Problem]:
    for name, tuned in tune.parameters.items():
        path = f"tune.parameters.{name}"
        if name in _FIXED_IN_TRAINING:
            message = "cannot change between two epochs, as method 'pbt' would have it; use asha, optuna or nevergrad"
            yield Problem(path=path, message=message)
        elif name in _ABOVE_ZERO_IN_TRAINING and min(tuned.ends) <= 0:
            message = (
                "reaches 0, which leaves the term out, but method 'pbt' changes weights during training; begin above 0"
            )
            yield Problem(path=path, message=message)


def _complaint(supernet: Supernet, values: Mapping[str, Any], name: str) -> str | None:
    """Return why a supernet with these values is refused, None if it is not."""
    try:
        with_parameters(supernet, values)
    except ValidationError as error:
        problem = next(problems_in(error))
        ending = "; write integer or choice" if "must be an integer" in problem.message else ""
        return f"{problem.message}{ending}"
    return None
