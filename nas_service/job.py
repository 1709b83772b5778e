"""A job: what to search, train or measure, on which data, with what means; checked before anything starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from edge_agent.records import stable_hash
from nas_service.errors import InvalidRequestError
from nas_service.job_compare import Compare
from nas_service.job_fit import unfit
from nas_service.job_part import Part
from nas_service.job_parts import (
    DATASETS,
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
from nas_service.job_tune import Tune
from nas_service.objective import Objective
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
            problems += unfit(spec)
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
