"""Quantisation-aware fine-tuning: a pair learns on while its weights and activations are rounded as in int8.

Rounding is simulated where onnxruntime's quantiser rounds (see `workers.quantize.ptq`), with the straight-through
gradient (Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018). Departures: BatchNorm is folded before training, since a few epochs at a small learning rate need no new
statistics; and the float pair teaches, beside the labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge_agent.records import stable_hash
from nas_service.errors import InvalidRequestError
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.errors import TrainingCollapsedError
from workers.evaluation import EvaluationContext, fold
from workers.learner import Backward, Batch, PlainLearner
from workers.network import Network, Pair, TailNetwork, UnitBlock
from workers.train_config import TrainConfig
from workers.trainer import EpochReport, Trainer

WEIGHT_LIMIT = 64  # 7 bits: see workers.quantize.ptq
ACTIVATION_LIMIT = 255
_SAMPLE = 1 << 13  # a quantile sorts them
_MOMENTUM = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class QatConfig:
    """How a pair is fine-tuned for int8.

    Attributes:
        epochs: Passes over the weights split.
        learning_rate: Peak of the one-cycle schedule of SGD with Nesterov momentum 0.9.
        batch_size: Images in a step; a last smaller batch is left out.
        clip_norm: The gradient's norm is clipped to this.
        seed: Of order and augmentation.
    """

    epochs: int = 2
    learning_rate: float = 0.01
    batch_size: int = 128
    clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise InvalidRequestError(
                f"epochs is {self.epochs} and batch_size {self.batch_size} but both must be at least 1"
            )
        if not self.learning_rate > 0 or not self.clip_norm > 0:
            raise InvalidRequestError(
                f"learning_rate is {self.learning_rate:g} and clip_norm {self.clip_norm:g} but both must be above 0"
            )

    def training(self) -> TrainConfig:
        """Return it in the words of all trainings."""
        return TrainConfig(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            clip_norm=self.clip_norm,
            weight_decay=0.0,
            seed=self.seed,
        )


class ActivationRounding(nn.Module):
    """Rounds a tensor to 256 levels of a range that follows what it sees in training mode.

    Args:
        share: Share of the values, in (0.5, 1], that the range keeps at either end; 1 keeps all.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, *, share: float) -> None:
        super().__init__()
        self.share, self.rounds = share, True
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` rounded and clipped; the gradient passes where nothing was clipped."""
        if self.training:
            self._watch(x.detach())
        if not self.rounds:
            return x
        scale = ((self.high - self.low) / ACTIVATION_LIMIT).clamp_min(1e-8)
        zero = (-self.low / scale).round().clamp(0, ACTIVATION_LIMIT).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, ACTIVATION_LIMIT)

    def _watch(self, x: Tensor) -> None:
        if self.share < 1:
            values = x.flatten()[:: max(1, x.numel() // _SAMPLE)].float()
            low, high = torch.quantile(values, torch.tensor([1 - self.share, self.share], device=x.device))
        else:
            low, high = x.aminmax()
        weight = torch.where(self.seen, _MOMENTUM, 1.0).to(self.low.dtype)
        self.low.lerp_(low.clamp(max=0).to(self.low.dtype), weight)
        self.high.lerp_(high.clamp(min=0).to(self.high.dtype), weight)
        self.seen.fill_(True)


class WeightRounding(nn.Module):
    """Rounds a weight to 129 levels for each output channel, symmetrically around 0."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = True

    def forward(self, weight: Tensor) -> Tensor:
        """Return `weight` (out, ...) rounded; the gradient passes unchanged."""
        if not self.rounds:
            return weight
        limits = weight.detach().flatten(1).abs().amax(1)
        scale = (limits / WEIGHT_LIMIT).clamp_min(1e-8)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -WEIGHT_LIMIT, WEIGHT_LIMIT)


class RoundedUnit(nn.Module):
    """A unit of a block whose output is rounded."""

    def __init__(self, unit: nn.Module, *, share: float) -> None:
        super().__init__()
        self.unit, self.rounding = unit, ActivationRounding(share=share)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the unit's output, rounded."""
        rounded: Tensor = self.rounding(self.unit(*inputs))
        return rounded


class RoundedPair(nn.Module):
    """A folded pair that computes as its int8 graphs will; trained in place.

    Args:
        pair: Recalibrated; it stays as it is.
        share: Share of the values that ranges keep at either end.
    """

    def __init__(self, pair: Pair, *, share: float) -> None:
        super().__init__()
        self.image = ActivationRounding(share=share)
        self.pair = fold(pair)
        for block in [module for module in self.pair.modules() if isinstance(module, UnitBlock)]:
            for index, unit in enumerate(block.units):
                block.units[index] = RoundedUnit(unit, share=share)
        for layer in _layers(self.pair):
            parametrize.register_parametrization(layer, "weight", WeightRounding())
        for network in (self.pair.little, self.pair.big):
            assert isinstance(network, (Network, TailNetwork))
            network.head = nn.Sequential(ActivationRounding(share=share), network.head)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the little's and the escalated logits, both (N, classes), of images (N, C, H, W)."""
        little, escalated = self.pair(self.image(x))
        return little, escalated

    def watch(self, x: Tensor) -> None:
        """Let the ranges follow the float pair's activations for images (N, C, H, W), as calibration finds them."""
        roundings = [m for m in self.modules() if isinstance(m, (ActivationRounding, WeightRounding))]
        for module in roundings:
            module.rounds = False
        with torch.no_grad():
            self.train()(x)
        for module in roundings:
            module.rounds = True

    def freeze(self) -> None:
        """Keep the ranges that were seen so far."""
        for module in self.modules():
            if isinstance(module, ActivationRounding):
                module.eval()

    def learnt(self, pair: Pair) -> Pair:
        """Return `pair`, folded, with the weights learnt here, unrounded."""
        result = fold(pair)
        with torch.no_grad():
            for target, source in zip(_layers(result), _layers(self.pair), strict=True):
                target.weight.copy_(source.get_parameter("parametrizations.weight.original"))
                if target.bias is not None and source.bias is not None:
                    target.bias.copy_(source.bias)
        return result


class RoundedLearner(PlainLearner):
    """A pair learns to be rounded from labels and from itself unrounded; the second half of the run keeps the ranges.

    Args:
        rounded: Trained in place.
        pair: The pair that it was made of, recalibrated; it stays as it is and teaches.
    """

    def __init__(self, rounded: RoundedPair, pair: Pair) -> None:
        plan, share = pair.plan, rounded.image.share
        identity = {"name": f"int8-{plan.coupling}", "hash": stable_hash(asdict(plan)), "share": share}
        super().__init__(rounded, classes=plan.little.classes, identity=identity)
        self.rounded, self.teacher = rounded, fold(pair)

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Learn from one batch; `all` is the sum of both halves' losses."""
        if batch.step == 0:
            self.rounded.watch(batch.images)
        if batch.step >= batch.steps // 2:
            self.rounded.freeze()
        loss = _loss(self.rounded, self.teacher, batch.images, batch.labels)
        if not torch.isfinite(loss):
            raise TrainingCollapsedError(
                f"the loss of int8 fine-tuning was {loss.item()} in step {batch.step + 1}; "
                "set finalists.qat_epochs to 0"
            )
        backward(loss)
        return {"all": loss.detach()}

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        """Return nothing: what counts is what the int8 graphs say, and those are made at the end."""
        return {}


def fine_tune_rounded(
    rounded: RoundedPair,
    pair: Pair,
    dataset: Dataset,
    splits: Splits,
    config: QatConfig | None = None,
    *,
    resume: bytes | None = None,
) -> Iterator[EpochReport]:
    """Train `rounded` in place, on the pair's own device, and yield after every epoch; `learnt` then has the weights.

    Args:
        rounded: Made of the pair.
        pair: Recalibrated; it stays as it is and teaches.
        dataset: The data set that the splits index; its images are not mixed with each other.
        splits: Only the weights split is learnt from.
        config: How to train.
        resume: A checkpoint of this training to go on from; a finished one gives its weights and nothing to do.

    Raises:
        InvalidRequestError: the checkpoint `resume` is damaged, or of another pair, range, data split or configuration.
        TrainingCollapsedError: the loss is no number.
    """
    plain = replace(dataset, augmentation=replace(dataset.augmentation, mixup=0.0, cutmix=0.0))
    device = str(next(pair.parameters()).device)
    terms = (config or QatConfig()).training()
    yield from Trainer(RoundedLearner(rounded, pair), plain, splits, terms, device=device).epochs(resume)


def _loss(student: RoundedPair, teacher: Pair, x: Tensor, labels: Tensor) -> Tensor:
    """Return, for both halves, the mean of cross-entropy with the labels and with the teacher's answer."""
    with torch.no_grad():
        taught = teacher(x)
    losses = []
    for logits, target in zip(student(x), taught, strict=True):
        losses += [F.cross_entropy(logits, labels), F.cross_entropy(logits, target.softmax(1))]
    return torch.stack(losses).sum() / 2


def _layers(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
