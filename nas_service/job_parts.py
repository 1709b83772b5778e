"""The parts of a job, each checked by itself; what is optional has the default that is written here."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from edge_agent.records import RecordError, check_sha256
from nas_service.errors import InvalidRequestError
from nas_service.job_cotraining import CoTraining
from nas_service.job_part import Part
from nas_service.layers import Activation
from nas_service.objective import Objective
from nas_service.spelling import nearest

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
WITH_COLUMNS = ("parquet",)
WITH_RESOLUTION = ("imagenet", "folder", "parquet")
PRESETS = ("micro", "tiny", "small", "mobile")
ADDS_UP = ("macs", "latency_ms", "energy_mj")  # costs of which escalation adds its own
TRAINING_STRATEGIES = ("gradient", "coevolve")
STRATEGIES = ("random", "nsga2", "evolution", "tpe", "linas", "auto", *TRAINING_STRATEGIES)

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def _checked_dataset(name: str) -> str:
    return (
        name
        if _IMPORT_PATH.fullmatch(name)
        else _one_of(name, tuple(DATASETS), what="data set", or_="package.module:function")
    )


def checked_strategy(name: str) -> str:
    """Return the name of a strategy; ValueError with the nearest one if it is none."""
    return _one_of(name, STRATEGIES, what="strategy")


def is_training_strategy(name: str) -> bool:
    """Return whether a strategy's search is part of training a supernet."""
    return name in TRAINING_STRATEGIES


def _checked_preset(name: str) -> str:
    return name if _IMPORT_PATH.fullmatch(name) else _one_of(name, PRESETS, what="preset", or_="package.module:object")


def _checked_cost(text: str) -> str:
    try:
        cost = Objective.parse(text)
    except InvalidRequestError as error:
        raise ValueError(str(error)) from None
    if cost.name not in ADDS_UP:
        raise ValueError(
            f"is {text!r} but an image's cost by its route is one of: macs, latency_ms@CLASS, energy_mj@CLASS"
        )
    return cost.format()


def _one_of(name: str, known: tuple[str, ...], *, what: str, or_: str = "") -> str:
    if name not in known:
        other = f", or write {or_}" if or_ else ""
        raise ValueError(f"unknown {what} {name!r}{nearest(name, known)}; choose one of: {', '.join(known)}{other}")
    return name


def _checked_artefact(sha256: str) -> str:
    try:
        return check_sha256(sha256, what="the artefact")
    except RecordError as error:
        raise ValueError(f"{error}; `nas show JOB` lists a job's artefacts") from None


Target = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Amount = Annotated[float, Field(strict=True, ge=0, le=100_000, allow_inf_nan=False)]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=1000)]
Flag = Annotated[bool, Field(strict=True)]
Tier = Literal["probe", "screen", "rank", "final", "sustained"]
Coupling = Literal["independent", "stem", "nested", "triangular"]


def _differ(couplings: tuple[str, ...]) -> tuple[str, ...]:
    if not couplings or len(set(couplings)) < len(couplings):
        raise ValueError(f"is {list(couplings)} but must name at least one coupling, and none twice")
    return couplings


class Dataset(Part):
    """The images; `root` stays as written and is resolved where the service runs."""

    name: Annotated[Text, AfterValidator(_checked_dataset)]
    root: Text | None = None
    image_column: Text | None = None
    label_column: Text | None = None
    resolution: Annotated[int, Field(strict=True, ge=8, le=1024)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Dataset:
        if self.resolution is not None and self.name in DATASETS and self.name not in WITH_RESOLUTION:
            raise ValueError(f"data set {self.name!r} has a resolution of its own; remove resolution")
        if (self.image_column or self.label_column) and self.name in DATASETS and self.name not in WITH_COLUMNS:
            raise ValueError(f"data set {self.name!r} has no columns to name; remove image_column and label_column")
        return self


class Space(Part):
    """What to search: a preset or `package.module:object`, and what differs from it: couplings allowed, activation."""

    preset: Annotated[Text, AfterValidator(_checked_preset)]
    couplings: Annotated[tuple[Coupling, ...], AfterValidator(_differ)] | None = None
    activation: Activation | None = None


class AugmentationChange(Part):
    """What training does to images where that is not the data set's own way; `workers.data.augmentation` explains."""

    pad: Annotated[int, Field(strict=True, ge=0, le=512)] | None = None
    flip: Flag | None = None
    randaugment: Annotated[int, Field(strict=True, ge=0, le=10)] | None = None
    magnitude: Annotated[int, Field(strict=True, ge=0, le=30)] | None = None
    mixup: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)] | None = None
    cutmix: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)] | None = None


NO_ORIGIN = "needs either 'epochs' (train one) or 'checkpoint' (use a trained one), and not both"


class Supernet(Part):
    """How the supernet is trained, or the checkpoint (an artefact's SHA-256) that replaces training.

    A batch is run in `accumulate` parts, for less memory. `compile` has torch compile the supernet, which it does anew
    for every pair: it is for spaces of few pairs on GPUs. What is left out has the trainer's default. `tuned` names a
    job of kind `tune`, whose best hyperparameters replace what is said here. Only kind `measure` does without any.
    """

    epochs: Count | None = None
    checkpoint: Annotated[Text, AfterValidator(_checked_artefact)] | None = None
    batch_size: Count = 128
    learning_rate: Annotated[float, Field(strict=True, gt=0, le=100, allow_inf_nan=False)] = 0.1
    weight_decay: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)] | None = None
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] | None = None
    random_pairs: Annotated[int, Field(strict=True, ge=0, le=64)] | None = None
    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] | None = None
    clip_norm: Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)] | None = None
    rollbacks: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    train_fraction: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = 1.0
    augmentation: AugmentationChange | None = None
    cotraining: CoTraining | None = None
    shrinking: Flag = False
    accumulate: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    compile: Flag = False
    tuned: Text | None = None

    @model_validator(mode="after")
    def _has_one_origin(self) -> Supernet:
        untouched = all(getattr(self, name) == field.default for name, field in type(self).model_fields.items())
        if (self.epochs is None) == (self.checkpoint is None) and not untouched:
            raise ValueError(NO_ORIGIN)
        if self.tuned is not None and self.checkpoint is not None:
            raise ValueError("has 'tuned' and 'checkpoint', but what is trained needs no hyperparameters; remove one")
        return self


class Strategy(Part):
    """One searcher, how many candidates it may evaluate, and how many are in flight at once.

    `gradient` and `coevolve` search while the supernet is trained; what they found is then evaluated as candidates.
    `targets` are the expected cost of an image, one search by `gradient` for each target and coupling: up to 1 as a
    share of the largest pair's big. `cost` says what they count: MACs, or `latency_ms` or `energy_mj` on a board class,
    predicted from halves that its boards measure first. `every` is how many epochs lie between two steps of `coevolve`.
    """

    name: Annotated[Text, AfterValidator(checked_strategy)]
    evaluations: Count
    concurrency: Annotated[int, Field(strict=True, ge=1, le=1024)] = 8
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=64)] | None = None
    cost: Annotated[Text, AfterValidator(_checked_cost)] | None = None
    every: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None

    @property
    def board_cost(self) -> Objective | None:
        """What the search during training counts on a board class; None if it counts MACs."""
        cost = None if self.cost is None else Objective.parse(self.cost)
        return cost if cost is not None and cost.measured else None

    @property
    def trains(self) -> bool:
        """Whether the search is part of training the supernet."""
        return is_training_strategy(self.name)

    @model_validator(mode="after")
    def _has_its_own_keys(self) -> Strategy:
        for key, owner in (("targets", "gradient"), ("cost", "gradient"), ("every", "coevolve")):
            if getattr(self, key) is not None and self.name != owner:
                raise ValueError(f"{key} means nothing to strategy {self.name!r}, only to {owner!r}; remove it")
        if self.name == "coevolve" and self.evaluations < 2:
            raise ValueError(f"evaluations is {self.evaluations}, but the population of 'coevolve' needs at least 2")
        return self


class Evaluation(Part):
    """How accuracies are counted: on every image of the validation split, unless `parts` lets poor pairs go earlier.

    `parts` are shares of the images, ascending. After each, a pair is let go that could not reach the front even if it
    were `doubt` standard errors better than it looks on these images. No parts: every pair is seen to the end.
    """

    parts: Annotated[tuple[Annotated[float, Field(strict=True, gt=0, lt=1)], ...], Field(max_length=10)] = ()
    doubt: Annotated[float, Field(strict=True, gt=0, le=10)] = 2.0

    @model_validator(mode="after")
    def _ascends(self) -> Evaluation:
        if any(later <= earlier for earlier, later in itertools.pairwise(self.parts)):
            raise ValueError(f"parts are {list(self.parts)} but must ascend")
        return self


class Measurement(Part):
    """How carefully boards measure a candidate, and how long the search waits for them.

    `only: promising` leaves out candidates that, by what similar halves cost, cannot reach the front; None leaves
    out none. `near_front` is a higher tier, at which a candidate that may be on the front is measured again before it
    counts. `pairs` is how many pairs of the space a job of kind `measure` measures.
    """

    tier: Tier = "screen"
    near_front: Literal["screen", "rank"] | None = None
    only: Literal["promising"] | None = None
    pairs: Annotated[int, Field(strict=True, ge=1, le=300)] = 50
    timeout_s: Annotated[float, Field(strict=True, gt=0, le=7 * 86400, allow_inf_nan=False)] = 900.0

    @model_validator(mode="after")
    def _raises(self) -> Measurement:
        tiers = get_args(Tier)
        if self.near_front is not None and tiers.index(self.near_front) <= tiers.index(self.tier):
            raise ValueError(f"near_front is {self.near_front!r} but must be a higher tier than {self.tier!r}")
        return self


class Risk(Part):
    """A guarantee: with probability 1 - delta, routing adds at most epsilon (0.01 is one point) to the error."""

    epsilon: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.01
    delta: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.05


class Finalists(Part):
    """How many of the front's candidates are finished and bundled, and how (tier None: as the search measured).

    `temperature` scales the score's softmax where that harms no threshold on average; `class_thresholds` adds operating
    points with a threshold for each predicted class, `risk` one with a guarantee. All are fitted on calibration images.
    `int8` adds a quantised variant to the bundle; where rounding costs more than half a point, it is fine-tuned for
    `qat_epochs` epochs. `audit` trains so many of the search's pairs alone, from scratch, for as many epochs as the
    supernet, to see whether shared weights order pairs as training of their own does.
    """

    count: Annotated[int, Field(strict=True, ge=0, le=1000)] = 5
    fine_tune_epochs: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 0
    int8: Flag = False
    qat_epochs: Annotated[int, Field(strict=True, ge=0, le=1000)] = 2
    tier: Tier | None = None
    temperature: Flag = True
    class_thresholds: Flag = False
    risk: Risk | None = None
    audit: Annotated[int, Field(strict=True, ge=0, le=1000)] = 0


class TrainerResources(Part):
    """How many processes train the supernet together, each on its share of every batch, and what each may take."""

    workers: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    cpus: Amount = 1.0
    gpus: Amount = 0.0

    @model_validator(mode="after")
    def _has_whole_gpus(self) -> TrainerResources:
        if self.workers > 1 and self.gpus not in (0, 1):
            raise ValueError(f"gpus is {self.gpus:g} for each of {self.workers} workers; give each 1, or 0 for CPUs")
        return self


class EvaluatorResources(Part):
    """How many candidates are evaluated at once, and what each may take."""

    count: Annotated[int, Field(strict=True, ge=1, le=4096)] = 1
    cpus: Amount = 1.0
    gpus: Amount = 0.0


class Logging(Part):
    """Where a job's curves go beside the store: a folder for TensorBoard, and an MLflow tracking server by its URI."""

    tensorboard: Flag = False
    mlflow: Text | None = None


class Resources(Part):
    """What the job may take of the cluster."""

    trainer: TrainerResources = TrainerResources()
    evaluators: EvaluatorResources = EvaluatorResources()
