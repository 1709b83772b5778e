"""A job: what to search, train or measure, on which data, with what means; checked before anything starts."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from edge_agent.records import stable_hash
from nas_service.errors import InvalidRequestError
from nas_service.job_problem import InvalidJobError, Problem, problems_in, unknown_keys
from nas_service.job_state import TRANSITIONS, JobState
from nas_service.objective import ALLOWED, Objective, nearest
from nas_service.strict_yaml import load_yaml

__all__ = [
    "DATASETS",
    "TRANSITIONS",
    "Dataset",
    "EvaluatorResources",
    "Finalists",
    "InvalidJobError",
    "JobSpec",
    "JobState",
    "Measurement",
    "Problem",
    "Resources",
    "Space",
    "Strategy",
    "Supernet",
    "TrainerResources",
    "parse_job",
]

# Whether a data set needs a folder or file of its own; `digits` comes with scikit-learn.
DATASETS = {
    "digits": False,
    "fashion_mnist": True,
    "cifar10": True,
    "cifar100": True,
    "imagenet": True,
    "folder": True,
    "parquet": True,
}
PRESETS = ("micro", "tiny", "small", "mobile")
STRATEGIES = ("random", "nsga2", "evolution", "tpe", "linas", "auto")
KINDS_THAT_RUN = ("search", "train")
TIERS_THAT_RUN = ("probe", "screen", "rank")
MAX_OBJECTIVES = 4

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Amount = Annotated[float, Field(strict=True, ge=0, le=100_000, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=1000)]
Flag = Annotated[bool, Field(strict=True)]
Tier = Literal["probe", "screen", "rank", "final", "sustained"]
Coupling = Literal["independent", "stem", "nested", "triangular"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dataset(_Part):
    """The images; `root` stays as written and is resolved where the service runs."""

    name: Text
    root: Text | None = None
    image_column: Text | None = None
    label_column: Text | None = None

    @model_validator(mode="after")
    def _fits(self) -> Dataset:
        if self.name not in DATASETS:
            raise ValueError(f"unknown data set {self.name!r}{nearest(self.name, list(DATASETS))}; "
                             f"choose one of: {', '.join(DATASETS)}")  # fmt: skip
        if (self.image_column or self.label_column) and self.name not in ("folder", "parquet"):
            raise ValueError(f"data set {self.name!r} has no columns to name; remove image_column and label_column")
        return self


class Space(_Part):
    """What to search: a preset or `package.module:object`, and the couplings allowed (None: all of the preset's)."""

    preset: Text
    couplings: tuple[Coupling, ...] | None = None

    @field_validator("preset")
    @classmethod
    def _is_known(cls, preset: str) -> str:
        if preset not in PRESETS and not _IMPORT_PATH.fullmatch(preset):
            raise ValueError(f"unknown preset {preset!r}{nearest(preset, PRESETS)}; choose one of: "
                             f"{', '.join(PRESETS)}, or write package.module:object")  # fmt: skip
        return preset

    @field_validator("couplings")
    @classmethod
    def _differ(cls, couplings: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if couplings is not None and (not couplings or len(set(couplings)) < len(couplings)):
            raise ValueError(f"is {list(couplings)} but must name at least one coupling, and none twice")
        return couplings


class Supernet(_Part):
    """How the supernet is trained, or the checkpoint (an artefact's SHA-256) that replaces training."""

    epochs: Count | None = None
    checkpoint: Text | None = None
    batch_size: Count = 128
    learning_rate: Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)] = 0.1
    train_fraction: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _has_one_origin(self) -> Supernet:
        if (self.epochs is None) == (self.checkpoint is None):
            raise ValueError("needs either 'epochs' (train one) or 'checkpoint' (use a trained one), and not both")
        return self


class Strategy(_Part):
    """One searcher, how many candidates it may evaluate, and how many are in flight at once."""

    name: Text
    evaluations: Count
    concurrency: Annotated[int, Field(strict=True, ge=1, le=1024)] = 8

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in STRATEGIES:
            raise ValueError(f"unknown strategy {name!r}{nearest(name, STRATEGIES)}; "
                             f"choose one of: {', '.join(STRATEGIES)}")  # fmt: skip
        return name


class Measurement(_Part):
    """How carefully boards measure a candidate, and how long the search waits for them."""

    tier: Tier = "screen"
    timeout_s: Annotated[float, Field(strict=True, gt=0, le=7 * 86400, allow_inf_nan=False)] = 900.0


class Finalists(_Part):
    """How many of the front's candidates are finished and bundled, and how."""

    count: Annotated[int, Field(strict=True, ge=0, le=1000)] = 5
    fine_tune_epochs: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 0
    int8: Flag = False
    tier: Tier | None = None


class TrainerResources(_Part):
    """What supernet training may take."""

    cpus: Amount = 1.0
    gpus: Amount = 0.0


class EvaluatorResources(_Part):
    """How many candidates are evaluated at once, and what each may take."""

    count: Annotated[int, Field(strict=True, ge=1, le=4096)] = 1
    cpus: Amount = 1.0
    gpus: Amount = 0.0


class Resources(_Part):
    """What the job may take of the cluster."""

    trainer: TrainerResources = TrainerResources()
    evaluators: EvaluatorResources = EvaluatorResources()


def _as_list(strategy: Any) -> Any:
    return [strategy] if isinstance(strategy, (Mapping, Strategy)) else strategy


class JobSpec(_Part):
    """A job as it was asked for; make one with `parse_job`, which explains what is wrong."""

    kind: Literal["search", "train", "tune", "compare", "measure"]
    name: Annotated[str, Field(strict=True, min_length=1, max_length=100)]
    dataset: Dataset
    space: Space
    supernet: Supernet
    strategy: Annotated[tuple[Strategy, ...], BeforeValidator(_as_list)] = ()
    objectives: tuple[Text, ...] = ()
    constraints: dict[str, Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]] = {}
    measurement: Measurement = Measurement()
    finalists: Finalists = Finalists()
    resources: Resources = Resources()
    router: Literal["msp", "margin", "entropy"] = "msp"
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0

    @field_validator("name")
    @classmethod
    def _shows(cls, name: str) -> str:
        if not name.strip() or not name.isprintable():
            raise ValueError(f"is {name!r} but must be 1 to 100 printable characters")
        return name

    @field_validator("objectives")
    @classmethod
    def _are_objectives(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        for text in objectives:
            _objective(text)
        if len(set(objectives)) < len(objectives) or len(objectives) > MAX_OBJECTIVES:
            raise ValueError(f"is {list(objectives)} but must be 1 to {MAX_OBJECTIVES} objectives, and none twice")
        return objectives

    @field_validator("constraints")
    @classmethod
    def _are_bounds(cls, constraints: dict[str, float]) -> dict[str, float]:
        for text in constraints:
            if _objective(text).name == "error":
                raise ValueError("'error' cannot be bounded in a job; filter the front by --min-accuracy instead")
        return constraints

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


def _objective(text: str) -> Objective:
    try:
        return Objective.parse(text)
    except InvalidRequestError as error:
        raise ValueError(str(error)) from None


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
        return [Problem(path="kind", message=f"{spec.kind!r} is not part of this version; "
                        f"what works: {', '.join(KINDS_THAT_RUN)}")]  # fmt: skip
    problems = []
    if DATASETS[spec.dataset.name] and spec.dataset.root is None:
        problems.append(Problem(path="dataset.root", message=f"is missing; say where {spec.dataset.name!r} lies"))
    if spec.kind == "search" and not spec.strategy:
        problems.append(Problem(path="strategy", message="is missing; a search needs {name, evaluations}, or a list"))
    if spec.kind == "search" and not spec.objectives:
        problems.append(Problem(path="objectives", message=f"is missing; a search needs at least one of: {ALLOWED}"))
    if spec.kind == "train" and spec.supernet.epochs is None:
        problems.append(Problem(path="supernet.epochs", message="is missing; kind 'train' trains a supernet"))
    if spec.finalists.int8:
        problems.append(Problem(path="finalists.int8", message="int8 is not part of this version; what works: false"))
    for path, tier in (("measurement.tier", spec.measurement.tier), ("finalists.tier", spec.finalists.tier)):
        if tier is not None and tier not in TIERS_THAT_RUN:
            problems.append(Problem(path=path, message=f"{tier!r} is not part of this version; "
                                    f"what works: {', '.join(TIERS_THAT_RUN)}"))  # fmt: skip
    return problems
