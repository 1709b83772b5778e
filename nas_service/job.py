"""A job: what to search, train or measure, on which data, with what means; checked before anything starts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from edge_agent.records import stable_hash
from nas_service.errors import InvalidRequestError
from nas_service.job_compare import Compare, compare_problems
from nas_service.job_part import Part
from nas_service.job_parts import (
    DATASETS,
    NO_ORIGIN,
    Dataset,
    Evaluation,
    EvaluatorResources,
    Finalists,
    Logging,
    Measurement,
    Resources,
    Space,
    Strategy,
    Supernet,
    Text,
    TrainerResources,
)
from nas_service.job_problem import InvalidJobError, Problem, problems_in, unknown_keys
from nas_service.job_state import TRANSITIONS, JobState
from nas_service.job_tune import Tune, tune_problems
from nas_service.objective import ALLOWED, Objective
from nas_service.presets import PRESETS
from nas_service.strict_yaml import load_yaml

__all__ = [
    "DATASETS",
    "TRANSITIONS",
    "Compare",
    "Dataset",
    "Evaluation",
    "EvaluatorResources",
    "Finalists",
    "InvalidJobError",
    "JobSpec",
    "JobState",
    "Logging",
    "Measurement",
    "Problem",
    "Resources",
    "Space",
    "Strategy",
    "Supernet",
    "TrainerResources",
    "Tune",
    "parse_job",
]

# What this version runs; the rest of what a job can say is refused by name rather than left undone.
KINDS_THAT_RUN = ("search", "train", "tune", "compare", "measure")
HALVES_TIERS = ("probe", "screen", "rank")  # above these a pair is measured whole, which takes its final weights
DATASETS_THAT_RUN = ("digits", "fashion_mnist", "cifar10", "cifar100", "imagenet", "folder", "parquet")
MAX_OBJECTIVES = 4


def _objective(text: str) -> str:
    try:
        return Objective.parse(text).format()
    except InvalidRequestError as error:
        raise ValueError(str(error)) from None


def _bounded(text: str) -> str:
    if text == "error":
        raise ValueError("'error' cannot be bounded in a job; filter the front by --min-accuracy instead")
    return _objective(text)


def _few(objectives: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(objectives)) < len(objectives) or len(objectives) > MAX_OBJECTIVES:
        raise ValueError(f"is {list(objectives)} but must be 1 to {MAX_OBJECTIVES} objectives, and none twice")
    return objectives


def _shows(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError(f"is {name!r} but must be 1 to 100 printable characters")
    return name


def _as_list(strategy: Any) -> Any:
    return [strategy] if isinstance(strategy, (Mapping, Strategy)) else strategy


Bound = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


class JobSpec(Part):
    """A job as it was asked for; make one with `parse_job`, which explains what is wrong."""

    kind: Literal["search", "train", "tune", "compare", "measure"]
    name: Annotated[str, Field(strict=True, min_length=1, max_length=100), AfterValidator(_shows)]
    dataset: Dataset
    space: Space
    supernet: Supernet = Supernet()
    strategy: Annotated[tuple[Strategy, ...], BeforeValidator(_as_list)] = ()
    objectives: Annotated[tuple[Annotated[Text, AfterValidator(_objective)], ...], AfterValidator(_few)] = ()
    constraints: dict[Annotated[Text, AfterValidator(_bounded)], Bound] = Field(default_factory=dict)
    warm_start: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    evaluation: Evaluation = Evaluation()
    measurement: Measurement = Measurement()
    finalists: Finalists = Finalists()
    resources: Resources = Resources()
    tune: Tune | None = None
    compare: Compare | None = None
    logging: Logging = Logging()
    router: Literal["msp", "margin", "entropy", "learned"] = "msp"
    priority: Annotated[int, Field(strict=True, ge=0, le=9)] = 0
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-able data; `JobSpec.parse` is the exact inverse."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> JobSpec:
        """Return the spec that `data` holds.

        Raises:
            InvalidJobError: anything wrong or not part of this version; all problems are named at once.
        """
        if not isinstance(data, Mapping):
            raise InvalidJobError([Problem(path="", message=_not_a_mapping(data))])
        problems = list(unknown_keys(cls, data))
        try:
            spec = cls.model_validate(copy.deepcopy(dict(data)))
        except ValidationError as error:
            single = isinstance(data.get("strategy"), Mapping)
            problems += [_without_index(p) if single else p for p in problems_in(error)]
        else:
            problems += _unfit(spec)
        if problems:
            raise InvalidJobError(problems)
        return spec

    def hash(self) -> str:
        """Return the SHA-256 of the spec's canonical form."""
        return stable_hash(self.to_dict())

    def board_classes(self) -> tuple[str, ...]:
        """Return the board classes that objectives and constraints name, each once, in the order they appear."""
        named = [Objective.parse(text).board_class for text in (*self.objectives, *self.constraints)]
        return tuple(dict.fromkeys(c for c in named if c is not None))

    def parsed_objectives(self) -> tuple[Objective, ...]:
        """Return the objectives as values."""
        return tuple(Objective.parse(text) for text in self.objectives)

    def parsed_constraints(self) -> dict[Objective, float]:
        """Return the upper bound by objective."""
        return {Objective.parse(text): bound for text, bound in self.constraints.items()}


def parse_job(source: str | bytes | Mapping[str, Any]) -> JobSpec:
    """Return the job that YAML text or a mapping describes.

    Raises:
        InvalidRequestError: the text is not YAML.
        InvalidJobError: it describes no job that this version runs.
    """
    return JobSpec.parse(load_yaml(source) if isinstance(source, (str, bytes)) else source)


def _not_a_mapping(data: Any) -> str:
    return (
        f"a job is a mapping of keys such as 'kind: search' but this is {type(data).__name__}; "
        f"keys: {', '.join(JobSpec.model_fields)}"
    )


def _without_index(problem: Problem) -> Problem:
    return Problem(path=problem.path.replace("strategy[0]", "strategy", 1), message=problem.message)


def _unfit(spec: JobSpec) -> list[Problem]:
    """Return what is wrong with a well-formed spec as a whole."""
    if spec.kind not in KINDS_THAT_RUN:
        return [_absent("kind", spec.kind, KINDS_THAT_RUN)]
    problems = [*_not_in_this_version(spec)]
    if DATASETS.get(spec.dataset.name) and spec.dataset.root is None:
        problems.append(Problem(path="dataset.root", message=f"is missing; say where {spec.dataset.name!r} lies"))
    if spec.kind != "measure" and spec.supernet == Supernet():
        return [*problems, Problem(path="supernet", message=NO_ORIGIN)]
    problems += _KIND_CHECKS[spec.kind](spec)
    return [*problems, *_without_effect(spec), *_training_twice(spec), *_small_parts(spec), *_idle_priority(spec)]


def _unfit_search(spec: JobSpec) -> Iterator[Problem]:
    if not spec.strategy:
        yield Problem(path="strategy", message="is missing; give {name, evaluations}, or a list of them")
    if not spec.objectives:
        yield Problem(path="objectives", message=f"is missing; a search needs at least one of: {ALLOWED}")
    yield from _meaningless(spec, "tune", "compare")
    if spec.warm_start and spec.supernet.checkpoint is None:
        message = (
            "takes over accuracies, which compare only where the weights are the same; set supernet.checkpoint to the "
            "supernet of those jobs (`nas show JOB`). What boards measured is used again in any case"
        )
        yield Problem(path="warm_start", message=message)
    for strategy in spec.strategy:
        cost = strategy.board_cost
        if cost is not None and cost.board_class not in spec.board_classes():
            message = f"counts on {cost.board_class!r}, where the job measures nothing; add {cost} to objectives"
            yield Problem(path="strategy.cost", message=message)
    if spec.finalists.audit and spec.supernet.epochs is None:
        message = "is missing; finalists.audit trains pairs alone for as many epochs as the supernet had"
        yield Problem(path="supernet.epochs", message=message)


def _unfit_train(spec: JobSpec) -> Iterator[Problem]:
    if spec.supernet.epochs is None:
        yield Problem(path="supernet.epochs", message="is missing; kind 'train' trains a supernet")
    yield from _meaningless(spec, "strategy", "objectives", "warm_start", "tune", "compare")


def _unfit_tune(spec: JobSpec) -> Iterator[Problem]:
    yield from _meaningless(spec, "strategy", "objectives", "warm_start", "compare")
    if spec.supernet.tuned is not None:
        yield Problem(path="supernet.tuned", message="means nothing to kind 'tune', which finds hyperparameters itself")
    if spec.resources.trainer != TrainerResources():
        message = (
            "means nothing to kind 'tune': every trial trains by itself; resources.evaluators says how many at once"
        )
        yield Problem(path="resources.trainer", message=message)
    if spec.tune is None:
        yield Problem(path="tune", message="is missing; give {method, trials, parameters: {NAME: {log: [LOW, HIGH]}}}")
    else:
        yield from tune_problems(spec.supernet, spec.tune)


def _unfit_compare(spec: JobSpec) -> Iterator[Problem]:
    yield from _meaningless(spec, "strategy", "warm_start", "tune")
    if spec.finalists != Finalists():
        message = "means nothing to kind 'compare', which finishes no candidate; search with the strategy that won"
        yield Problem(path="finalists", message=message)
    if spec.measurement.only is not None:
        message = "means nothing to kind 'compare': what one strategy would be spared hangs on what others had measured"
        yield Problem(path="measurement.only", message=message)
    if spec.measurement.near_front is not None:
        message = "means nothing to kind 'compare': how one strategy's are measured hangs on what others had found"
        yield Problem(path="measurement.near_front", message=message)
    if spec.evaluation.parts:
        message = "means nothing to kind 'compare': what one strategy is spared hangs on what others had found"
        yield Problem(path="evaluation.parts", message=message)
    if not spec.objectives:
        yield Problem(path="objectives", message=f"is missing; a comparison needs at least one of: {ALLOWED}")
    if spec.compare is None:
        yield Problem(path="compare", message="is missing; give {strategies: [NAME, NAME], seeds: 3, evaluations: 30}")
    else:
        yield from compare_problems(spec.compare, supernet=spec.supernet, objectives=spec.objectives)


def _unfit_measure(spec: JobSpec) -> Iterator[Problem]:
    yield from _meaningless(spec, "strategy", "warm_start", "tune", "compare")
    if spec.supernet != Supernet():
        message = "means nothing to kind 'measure': graphs are measured with untrained weights; remove it"
        yield Problem(path="supernet", message=message)
    if spec.measurement.only is not None:
        message = "means nothing to kind 'measure', which measures all that it has chosen; remove it"
        yield Problem(path="measurement.only", message=message)
    if spec.measurement.near_front is not None:
        message = "means nothing to kind 'measure', which has no front; remove it"
        yield Problem(path="measurement.near_front", message=message)
    if not spec.board_classes():
        message = "names no board class; say what is to be measured where, such as [latency_ms@rpi5]"
        yield Problem(path="objectives", message=message)


# What each kind of job needs, and what means nothing to it.
_KIND_CHECKS: dict[str, Callable[[JobSpec], Iterator[Problem]]] = {
    "search": _unfit_search,
    "train": _unfit_train,
    "tune": _unfit_tune,
    "compare": _unfit_compare,
    "measure": _unfit_measure,
}


def _meaningless(spec: JobSpec, *paths: str) -> Iterator[Problem]:
    for path in paths:
        if getattr(spec, path):
            yield Problem(path=path, message=f"means nothing to kind {spec.kind!r}; remove it")


def _training_twice(spec: JobSpec) -> Iterator[Problem]:
    """Yield what is wrong with strategies that search while the supernet is trained: it is trained once."""
    training = [strategy.name for strategy in spec.strategy if strategy.trains]
    if not training:
        return
    if len(training) > 1:
        yield Problem(
            path="strategy", message=f"has {' and '.join(training)}, but a supernet is trained by one of them"
        )
    if spec.supernet.epochs is None:
        yield Problem(
            path="supernet.epochs", message=f"is missing; {training[0]!r} searches while the supernet is trained"
        )
    if spec.supernet.shrinking:
        yield Problem(
            path="supernet.shrinking", message=f"decides which pairs are trained, as {training[0]!r} does; choose one"
        )


def _small_parts(spec: JobSpec) -> Iterator[Problem]:
    """Yield a batch that leaves fewer than two images for a part: BatchNorm needs two."""
    supernet, workers = spec.supernet, spec.resources.trainer.workers
    if supernet.batch_size // workers < 2 * supernet.accumulate and workers * supernet.accumulate > 1:
        yield Problem(
            path="supernet.batch_size",
            message=f"is {supernet.batch_size} but {workers} workers with {supernet.accumulate} parts each need at "
            f"least {2 * workers * supernet.accumulate}; raise it, or lower resources.trainer.workers or accumulate",
        )


def _without_effect(spec: JobSpec) -> Iterator[Problem]:
    terms = spec.supernet.cotraining
    if terms is None:
        return
    if spec.strategy and all(strategy.name == "gradient" for strategy in spec.strategy):
        own = {"cost": "strategy.targets and strategy.cost", "phases": "phases of its own"}
        for key, instead in own.items():
            if getattr(terms, key):
                message = f"does nothing with strategy 'gradient', which has {instead}; leave it out"
                yield Problem(path=f"supernet.cotraining.{key}", message=message)
    if not terms.gate:
        return
    if spec.finalists.fine_tune_epochs == 0 and (terms.phases is None or terms.phases.fine_tune == 0):
        yield Problem(
            path="supernet.cotraining.gate",
            message="is on while fine-tuning alone; set phases.fine_tune or finalists.fine_tune_epochs above 0",
        )


def _idle_priority(spec: JobSpec) -> Iterator[Problem]:
    if spec.priority and not spec.board_classes():
        message = "orders measurements on boards, and this job names no board class in its objectives; remove it"
        yield Problem(path="priority", message=message)


def _not_in_this_version(spec: JobSpec) -> Iterator[Problem]:
    if ":" not in spec.dataset.name and spec.dataset.name not in DATASETS_THAT_RUN:
        yield _absent("dataset.name", spec.dataset.name, DATASETS_THAT_RUN)
    if ":" not in spec.space.preset and spec.space.preset not in PRESETS:
        yield _absent("space.preset", spec.space.preset, PRESETS)
    if (tier := spec.measurement.tier) not in HALVES_TIERS:
        choice = f"choose one of {', '.join(HALVES_TIERS)}, and set finalists.tier to {tier!r}"
        yield Problem(path="measurement.tier", message=f"{tier!r} measures finished pairs, not a search's; {choice}")


def _absent(path: str, got: str, works: Iterable[str]) -> Problem:
    return Problem(path=path, message=f"{got!r} is not part of this version; what works: {', '.join(works)}")
