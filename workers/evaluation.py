"""Evaluating a pair: extract it, recalibrate its BatchNorm, run the plain module once, keep its outputs.

What is scored here is what is exported. All routers and thresholds are priced from the cached outputs; no image is run
twice.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from nas_service.plan import PairPlan
from workers.data.augment import augment, batches
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.errors import UncalibratedError
from workers.network import Pair, UnitBlock
from workers.protocol.outcomes import Outcomes
from workers.routers import LEARNED, SCORES, Router, check_router
from workers.routing.learned import FOLDS, RouterData, can_learn, crossfit_scores, fit_learned_router, untaught_router
from workers.routing.scored import Scored
from workers.supernet import Supernet

Net = TypeVar("Net", bound=nn.Module)
RECALIBRATION_IMAGES = 2000
RECALIBRATION_SEED = 0
BATCH = 125


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvaluationData:
    """The bytes that evaluation needs and no more: small enough to send to every evaluator.

    Attributes:
        recalibration: (R, C, H, W) uint8 images of the weights split, augmented as in training: the borders that
            cropping pads are part of what the weights are used to. Without them a CIFAR-10 pair lost 2 to 4 points.
        images: (N, C, H, W) uint8 images to score, of the validation split; the first k of them are spread over it.
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
        """Return up to `recalibration` evenly spaced weights images, augmented, and up to `limit` validation images.

        The same data, splits and counts give the same images.
        """
        weights = splits.weights[_spread(len(splits.weights), recalibration)]
        images = dataset.train_images[torch.from_numpy(weights)]
        generator = torch.Generator().manual_seed(RECALIBRATION_SEED)
        parts = [augment(part, dataset.augmentation, generator=generator) for part in images.split(BATCH)]
        chosen = splits.validation[_spread(len(splits.validation), limit or len(splits.validation))]
        chosen = chosen[_evenly(len(chosen))]
        return cls(
            recalibration=torch.cat(parts) if parts else images,
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

    @property
    def benefit(self) -> Tensor:
        """(N,) whether the little is wrong and the escalated prediction right: what a learned router foretells."""
        return torch.from_numpy(self.big_correct & ~self.little_correct)

    def rows(self, index: NDArray[np.int64]) -> Outputs:
        """Return the outputs of these images alone."""
        at = torch.from_numpy(index)
        return Outputs(
            little_logits=self.little_logits[at], escalated_logits=self.escalated_logits[at], labels=self.labels[index]
        )

    def fitted(self, router: str) -> Router:
        """Return `router`, ready to score; `learned` is fitted on all of these outputs.

        Its own scores of these outputs look better than they are: thresholds for it need others, or `scores`.
        """
        check_router(router)
        if router != LEARNED:
            return Router(name=router)
        if not can_learn(self.benefit):
            return Router(name=LEARNED, learned=untaught_router(self.little_logits.shape[1]))
        return Router(name=LEARNED, learned=fit_learned_router(self._router_data()))

    def scores(self, router: str) -> NDArray[np.float32]:
        """Return (N,) the scores of `router`; those of `learned` are cross-fitted.

        The search scores candidates on the very outputs that its router learns from. On them the router would know
        which inputs escalation mended, so each input is scored by a router that was fitted on the other folds. Outputs
        of the weights split would not do instead: there the little is hardly ever wrong, and the labels vanish.
        """
        if router != LEARNED:
            return Router(name=router).scores(self.little_logits)
        if not can_learn(self.benefit, folds=FOLDS):
            return untaught_router(self.little_logits.shape[1]).scores(self.little_logits)
        return crossfit_scores(self._router_data())

    def _router_data(self) -> RouterData:
        return RouterData(logits=self.little_logits, benefit=self.benefit)

    def curve(self, router: str) -> Curve:
        """Return accuracy and escalation rate at every threshold of `router`."""
        return Curve.from_outputs(self.scores(router), self.little_correct, self.big_correct)

    def scored(self, router: Router) -> Scored:
        """Return what routing by `router` depends on; a learned one must have been fitted on other images."""
        outcomes = Outcomes(
            scores=router.scores(self.little_logits),
            little_correct=self.little_correct,
            escalated_correct=self.big_correct,
        )
        predicted = self.little_logits.argmax(1).numpy()
        return Scored(outcomes=outcomes, predicted=predicted, classes=self.little_logits.shape[1])


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


def evaluate(
    supernet: Supernet,
    plan: PairPlan,
    context: EvaluationContext,
    *,
    parts: Sequence[float] = (),
    hopeless: Callable[[Outputs], bool] = lambda outputs: False,
) -> Evaluation:
    """Return the accuracy of `plan` at every threshold, with the weights of `supernet`, which stays as it is.

    Args:
        supernet: Has the weights.
        plan: The pair.
        context: The images.
        parts: Shares of the images, ascending, in (0, 1), after which to ask whether it is worth going on.
        hopeless: Is asked with the outputs so far; True ends the evaluation with these.

    Raises:
        InvalidRequestError: the plan is of another space, or outputs are not finite.
    """
    started = time.perf_counter()
    pair = supernet.extract(plan)
    extracted = time.perf_counter()
    recalibrate(pair, context.recalibration)
    recalibrated = time.perf_counter()
    outputs = _infer_in_parts(pair, context, parts, hopeless)
    seconds = {
        "extract": extracted - started,
        "recalibrate": recalibrated - extracted,
        "infer": time.perf_counter() - recalibrated,
    }
    return Evaluation(pair=pair, outputs=outputs, seconds=seconds)


def recalibrate(pair: nn.Module, images: Iterable[Tensor]) -> None:
    """Set every BatchNorm's statistics to their mean over the batches of `images`, and leave `pair` in eval mode.

    A pair, or any other net that is run on images.
    """
    for norm in _norms(pair):
        norm.reset_running_stats()
        norm.momentum = None  # torch: a cumulative average
    pair.train()
    with torch.inference_mode():
        for batch in images:
            pair(batch)
    pair.eval()


def fold(pair: Net) -> Net:
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


def infer(pair: Pair, images: Iterable[Tensor], *, labels: NDArray[np.int64]) -> Outputs:
    """Return the outputs of a recalibrated pair, folded, on normalised batches.

    Raises:
        UncalibratedError: if a BatchNorm has no statistics.
        InvalidRequestError: if outputs are not finite.
    """
    return _outputs(_run(fold(pair), images), labels)


def _infer_in_parts(
    pair: Pair, context: EvaluationContext, parts: Sequence[float], hopeless: Callable[[Outputs], bool]
) -> Outputs:
    folded = fold(pair)
    results: list[tuple[Tensor, Tensor]] = []
    for end in [*(round(part * len(context.batches)) for part in parts), len(context.batches)]:
        results += _run(folded, context.batches[len(results) : end])
        outputs = _outputs(results, context.labels) if results else None
        if outputs is not None and (len(results) == len(context.batches) or hopeless(outputs)):
            return outputs
    raise InvalidRequestError("there are no images to score on")


def _run(folded: Pair, images: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    with torch.inference_mode():
        return [folded(batch) for batch in images]


def _outputs(results: Sequence[tuple[Tensor, Tensor]], labels: NDArray[np.int64]) -> Outputs:
    """Return the outputs of batches; `labels` may go on beyond them."""
    little, escalated = (torch.cat([r[i] for r in results]).float().cpu() for i in (0, 1))
    return Outputs(little_logits=little, escalated_logits=escalated, labels=labels[: len(little)])


def _norms(pair: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in pair.modules() if isinstance(module, nn.BatchNorm2d)]


def _evenly(count: int) -> NDArray[np.int64]:
    """Return positions 0 to count - 1 in an order of which every beginning is spread over all of them.

    The golden ratio's multiples, as in Kronecker sequences; data sets often lie in order of their classes.
    """
    multiples = (np.arange(count) * ((5**0.5 - 1) / 2)) % 1.0
    return np.argsort(np.argsort(multiples, kind="stable"), kind="stable")


def _spread(available: int, wanted: int) -> NDArray[np.int64]:
    """Return up to `wanted` evenly spaced positions of `available`."""
    count = min(available, wanted)
    return (np.arange(count, dtype=np.int64) * available) // max(count, 1)
