"""Which int8 form of a pair to ship: calibration methods compared, and fine-tuning where rounding costs too much.

Ranges come from images of the calibration split; what is best is decided on the validation split, on which neither
weights nor ranges nor thresholds depend. The test split is not looked at.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.data.augment import batches
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.errors import TrainingCollapsedError
from workers.evaluation import BATCH
from workers.export import ExportedPair, export_pair
from workers.network import Pair
from workers.quantize.ptq import METHODS, quantise_pair
from workers.quantize.qat import QatConfig, RoundedPair, fine_tune_rounded
from workers.quantize.running import GraphOutputs, run_pair
from workers.trainer import EpochReport

Weights = Literal["as trained", "fine-tuned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Config:
    """How the int8 form of a pair is made.

    Attributes:
        methods: Calibration methods to compare, at least one.
        qat: How to fine-tune where rounding alone loses more than `allowed_loss`; None never does.
        allowed_loss: Share of the images in [0, 1] that rounding may cost, of the little or of the escalated answers.
        calibration_images: At most so many, evenly spaced, of the calibration split give the ranges.
        validation_images: At most so many, evenly spaced, of the validation split decide.
        resume: The last checkpoint of a fine-tuning that was cut off, to go on from.
    """

    methods: tuple[str, ...] = METHODS
    qat: QatConfig | None = field(default_factory=QatConfig)
    allowed_loss: float = 0.005
    calibration_images: int = 512
    validation_images: int = 2000
    resume: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.methods:
            raise InvalidRequestError(f"methods is empty; give at least one of: {', '.join(METHODS)}")
        if not 0 <= self.allowed_loss <= 1:
            raise InvalidRequestError(f"allowed_loss is {self.allowed_loss:g} but must lie in [0, 1]")
        if min(self.calibration_images, self.validation_images) < 1:
            raise InvalidRequestError(
                f"calibration_images is {self.calibration_images} and validation_images {self.validation_images} but "
                "both must be at least 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attempt:
    """One int8 form: by rounding alone or after fine-tuning, one calibration method, and what it is worth.

    `little` and `big` are shares in [0, 1] of the validation images that are classified rightly; `distance` is the mean
    absolute difference of the logits to the float pair's.
    """

    models: ExportedPair = field(repr=False)
    weights: Weights
    method: str
    little: float
    big: float
    distance: float

    def rank(self) -> tuple[float, float]:
        """Return a key that is larger the better: right answers of both halves, then closeness to float."""
        return round(self.little + self.big, 9), -self.distance

    def to_dict(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        return {
            "weights": self.weights,
            "method": self.method,
            "validation_accuracy": {"little": self.little, "big": self.big},
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantised:
    """The int8 form chosen, the float pair behind it, all that were tried, and the float accuracy on as many images."""

    pair: Pair = field(repr=False)
    chosen: Attempt
    attempts: tuple[Attempt, ...]
    fp32_accuracy: dict[str, float]
    images: int
    notes: tuple[str, ...] = ()


def choose_int8(pair: Pair, dataset: Dataset, splits: Splits, *, config: Int8Config | None = None) -> Quantised:
    """Return what `choosing_int8` returns at last."""
    steps = choosing_int8(pair, dataset, splits, config=config)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(Quantised, end.value)


def choosing_int8(
    pair: Pair, dataset: Dataset, splits: Splits, *, config: Int8Config | None = None
) -> Generator[EpochReport, None, Quantised]:
    """Yield after every epoch of fine-tuning, if there is any, and return the best int8 form of `pair`.

    Its score is the margin, whatever the router will be.

    Args:
        pair: Recalibrated; it stays as it is.
        dataset: The data set that the splits index.
        splits: Calibration gives ranges, validation decides, weights are learnt from.
        config: How.

    Raises:
        InvalidRequestError: an empty calibration split, an unknown method, outputs that are not finite, or a checkpoint
            that is damaged or of another fine-tuning.
    """
    config = config or Int8Config()
    trial = _Trial(dataset, splits, config)
    exact = trial.run(export_pair(pair, router="margin"))
    attempts = trial.all(pair, exact, weights="as trained")
    best, source = max(attempts, key=Attempt.rank), pair
    notes: tuple[str, ...] = ()
    if config.qat is not None and _loss(best, exact) > config.allowed_loss:
        rounded = RoundedPair(pair, share=_share(best.method))
        try:
            yield from fine_tune_rounded(rounded, pair, dataset, splits, config.qat, resume=config.resume)
            tuned = rounded.learnt(pair).eval()
            more = trial.tuned(tuned, exact)
        except TrainingCollapsedError as error:
            more, notes = [], (f"fine-tuning for int8 failed, the weights stay as trained: {error}",)
        if more and (better := max(more, key=Attempt.rank)).rank() > best.rank():
            best, source = better, tuned
        attempts += more
    return Quantised(
        pair=source,
        chosen=best,
        attempts=tuple(attempts),
        fp32_accuracy=exact.accuracies,
        images=trial.images,
        notes=notes,
    )


def spread(indices: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return at most `limit` of `indices`, evenly spaced."""
    count = min(len(indices), limit)
    return indices[np.arange(count) * len(indices) // max(count, 1)]


def rows(dataset: Dataset, indices: NDArray[np.int64]) -> Iterable[Tensor]:
    """Yield the training images at `indices`, normalised, batch by batch."""
    chosen = torch.from_numpy(indices)
    return batches(dataset.train_images, dataset.mean, dataset.std, size=BATCH, chosen=chosen)


class _Trial:
    """Makes and scores int8 forms on fixed images."""

    def __init__(self, dataset: Dataset, splits: Splits, config: Int8Config) -> None:
        self._dataset, self._methods = dataset, config.methods
        self._ranges = spread(splits.calibration, config.calibration_images)
        self._validation = spread(splits.validation, config.validation_images)
        self._labels = dataset.train_labels[torch.from_numpy(self._validation)].numpy()
        if not len(self._ranges):
            raise InvalidRequestError("the calibration split is empty; quantising needs images to find ranges from")

    @property
    def images(self) -> int:
        return len(self._validation)

    def run(self, models: ExportedPair) -> GraphOutputs:
        return run_pair(models, rows(self._dataset, self._validation), labels=self._labels)

    def all(self, pair: Pair, exact: GraphOutputs, *, weights: Weights) -> list[Attempt]:
        models = export_pair(pair, router="margin")
        return [self._attempt(models, exact, weights=weights, method=method) for method in self._methods]

    def tuned(self, pair: Pair, exact: GraphOutputs) -> list[Attempt]:
        """Return the attempts of fine-tuned weights; TrainingCollapsedError if what they answer is no number."""
        try:
            return self.all(pair, exact, weights="fine-tuned")
        except InvalidRequestError as error:
            raise TrainingCollapsedError(str(error)) from error

    def _attempt(self, models: ExportedPair, exact: GraphOutputs, *, weights: Weights, method: str) -> Attempt:
        made = quantise_pair(models, lambda: rows(self._dataset, self._ranges), method=method)
        got = self.run(made)
        distances = [
            (getattr(got.outputs, name) - getattr(exact.outputs, name)).abs().mean().item()
            for name in ("little_logits", "escalated_logits")
        ]
        return Attempt(models=made, weights=weights, method=method, distance=sum(distances) / 2, **got.accuracies)


def _loss(attempt: Attempt, exact: GraphOutputs) -> float:
    """Return the share of images lost in the half that loses more."""
    return max(exact.accuracies["little"] - attempt.little, exact.accuracies["big"] - attempt.big)


def _share(method: str) -> float:
    """Return the share of values up to either end of a calibration method's ranges, as far as it says so."""
    name, _, percent = method.partition("-")
    return (100 + float(percent)) / 200 if name == "percentile" else 1.0  # what is cut is cut in halves at both ends
