"""Evaluating a pair: extract it, recalibrate its BatchNorm, run the plain module once, keep its outputs.

What is scored here is what is exported. All routers and thresholds are priced from the cached outputs; no image is run
twice.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from nas_service.plan import PairPlan
from workers.data.augment import batches
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.errors import UncalibratedError
from workers.network import Pair, UnitBlock
from workers.routers import SCORES, score_function
from workers.supernet import Supernet

RECALIBRATION_IMAGES = 2000
BATCH = 125


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationData:
    """The bytes that evaluation needs and no more: small enough to send to every evaluator.

    Attributes:
        recalibration: (R, C, H, W) uint8 images of the weights split, without augmentation.
        images: (N, C, H, W) uint8 images to score, of the validation split.
        labels: (N,) int64.
        mean: Per channel.
        std: Per channel.
        classes: Number of classes.
        split_hashes: SHA-256 by split.
    """

    recalibration: Tensor = field(repr=False)
    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    split_hashes: dict[str, str]

    @classmethod
    def of(
        cls, dataset: Dataset, splits: Splits, *, recalibration: int = RECALIBRATION_IMAGES, limit: int | None = None
    ) -> EvaluationData:
        """Return copies of up to `recalibration` evenly spaced weights images and up to `limit` validation images."""
        weights = splits.weights[_spread(len(splits.weights), recalibration)]
        chosen = splits.validation[_spread(len(splits.validation), limit or len(splits.validation))]
        return cls(
            recalibration=dataset.train_images[torch.from_numpy(weights)],
            images=dataset.train_images[torch.from_numpy(chosen)],
            labels=dataset.train_labels[torch.from_numpy(chosen)],
            mean=dataset.mean,
            std=dataset.std,
            classes=len(dataset.classes),
            split_hashes=splits.hashes,
        )


class EvaluationContext:
    """`EvaluationData` made ready once: normalised batches, so that evaluating costs little more than inference."""

    def __init__(self, data: EvaluationData, *, device: str = "cpu", batch: int = BATCH) -> None:
        self.recalibration = [b.to(device) for b in batches(data.recalibration, data.mean, data.std, size=batch)]
        self.batches = [b.to(device) for b in batches(data.images, data.mean, data.std, size=batch)]
        self.labels = data.labels.numpy()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outputs:
    """Cached outputs of one pair on one split: (N, classes) float32 logits of both routes, and (N,) labels."""

    little_logits: Tensor = field(repr=False)
    escalated_logits: Tensor = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("little_logits", "escalated_logits"):
            logits = getattr(self, name)
            if bad := int((~torch.isfinite(logits)).any(dim=1).sum()):
                raise InvalidRequestError(f"{name} of {bad} of {len(logits)} images are not finite; train again")

    @property
    def little_correct(self) -> NDArray[np.bool_]:
        """(N,) whether the little is right."""
        return np.asarray(self.little_logits.argmax(1).numpy() == self.labels)

    @property
    def big_correct(self) -> NDArray[np.bool_]:
        """(N,) whether the escalated prediction is right."""
        return np.asarray(self.escalated_logits.argmax(1).numpy() == self.labels)

    def scores(self, router: str) -> NDArray[np.float32]:
        """Return (N,) the scores of `router`."""
        return np.asarray(score_function(router)(self.little_logits).numpy())

    def curve(self, router: str, *, at: Iterable[float] = ()) -> Curve:
        """Return accuracy and escalation rate at every threshold of `router`, and at those given in `at`."""
        return Curve.from_outputs(self.scores(router), self.little_correct, self.big_correct, at=at)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """What evaluating one pair gave.

    Attributes:
        pair: The plain, recalibrated module: the one to export.
        outputs: Its outputs on the validation images.
        seconds: `extract`, `recalibrate` and `infer`.
    """

    pair: Pair = field(repr=False)
    outputs: Outputs = field(repr=False)
    seconds: dict[str, float]

    @property
    def little_accuracy(self) -> float:
        """Share in [0, 1] that the little classifies rightly."""
        return float(self.outputs.little_correct.mean())

    @property
    def big_accuracy(self) -> float:
        """Share in [0, 1] that is classified rightly when everything is escalated."""
        return float(self.outputs.big_correct.mean())

    def curves(self) -> dict[str, Curve]:
        """Return the curve of every router."""
        return {router: self.outputs.curve(router) for router in SCORES}


def evaluate(supernet: Supernet, plan: PairPlan, context: EvaluationContext) -> Evaluation:
    """Return the accuracy of `plan` at every threshold, with the weights of `supernet`, which stays as it is.

    Raises:
        InvalidRequestError: the plan is of another space, or outputs are not finite.
    """
    started = time.perf_counter()
    pair = supernet.extract(plan)
    extracted = time.perf_counter()
    recalibrate(pair, context.recalibration)
    recalibrated = time.perf_counter()
    outputs = infer(pair, context.batches, labels=context.labels)
    seconds = {
        "extract": extracted - started,
        "recalibrate": recalibrated - extracted,
        "infer": time.perf_counter() - recalibrated,
    }
    return Evaluation(pair=pair, outputs=outputs, seconds=seconds)


def recalibrate(pair: Pair, images: Iterable[Tensor]) -> None:
    """Set every BatchNorm's statistics to their mean over the batches of `images`, and leave the pair in eval mode."""
    for norm in _norms(pair):
        norm.reset_running_stats()
        norm.momentum = None  # torch: a cumulative average
    pair.train()
    with torch.inference_mode():
        for batch in images:
            pair(batch)
    pair.eval()


def fold(pair: Pair) -> Pair:
    """Return a copy in eval mode with BatchNorm folded into the convolutions, as the exported graphs have it.

    Raises:
        UncalibratedError: if a BatchNorm has no statistics.
    """
    if any(not norm.num_batches_tracked for norm in _norms(pair)):
        raise UncalibratedError(
            "this pair's BatchNorm has no statistics, so its outputs would mean nothing; call recalibrate first"
        )
    folded = copy.deepcopy(pair).eval()
    for block in folded.modules():
        if isinstance(block, UnitBlock):
            block.fold()
    return folded


def infer(pair: Pair, images: Sequence[Tensor], *, labels: NDArray[np.int64]) -> Outputs:
    """Return the outputs of a recalibrated pair, folded, on normalised batches.

    Raises:
        UncalibratedError: if a BatchNorm has no statistics.
        InvalidRequestError: if outputs are not finite.
    """
    folded = fold(pair)
    with torch.inference_mode():
        results = [folded(batch) for batch in images]
    little, escalated = (torch.cat([r[i] for r in results]).float().cpu() for i in (0, 1))
    return Outputs(little_logits=little, escalated_logits=escalated, labels=labels)


def _norms(pair: Pair) -> list[nn.BatchNorm2d]:
    return [module for module in pair.modules() if isinstance(module, nn.BatchNorm2d)]


def _spread(available: int, wanted: int) -> NDArray[np.int64]:
    """Return up to `wanted` evenly spaced positions of `available`."""
    count = min(available, wanted)
    return (np.arange(count, dtype=np.int64) * available) // max(count, 1)
