"""Quantisation-aware fine-tuning: a pair learns on while its weights and activations are rounded as in int8.

Rounding is simulated where onnxruntime's quantiser rounds (see `workers.quantize.ptq`), with the straight-through
gradient (Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018). Departures: BatchNorm is folded before training, since a few epochs at a small learning rate need no new
statistics; and the float pair teaches, beside the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas_service.errors import InvalidRequestError
from workers.data.augment import augment, normalise
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.errors import TrainingCollapsedError
from workers.evaluation import fold
from workers.network import Network, Pair, TailNetwork, UnitBlock
from workers.train_config import one_cycle

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


class ActivationRounding(nn.Module):
    """Rounds a tensor to 256 levels of a range that follows what it sees in training mode.

    Args:
        share: Share of the values, in (0.5, 1], that the range keeps at either end; 1 keeps all.
    """

    low: Tensor
    high: Tensor

    def __init__(self, *, share: float) -> None:
        super().__init__()
        self.share, self.seen, self.rounds = share, False, True
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

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
        weight = _MOMENTUM if self.seen else 1.0
        self.low.lerp_(low.clamp(max=0).to(self.low.dtype), weight)
        self.high.lerp_(high.clamp(min=0).to(self.high.dtype), weight)
        self.seen = True


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


def fine_tune_rounded(
    pair: Pair, dataset: Dataset, splits: Splits, *, share: float = 1.0, config: QatConfig | None = None
) -> Pair:
    """Return a copy of `pair`, with BatchNorm folded, that has learnt to be rounded; on the pair's own device.

    Args:
        pair: Recalibrated; it stays as it is and teaches.
        dataset: The data set that the splits index.
        splits: Only the weights split is learnt from.
        share: Share of an activation's values, in (0.5, 1], that its range keeps at either end.
        config: How to train.

    Raises:
        TrainingCollapsedError: the loss is no number.
    """
    config = config or QatConfig()
    device = next(pair.parameters()).device
    teacher, student = fold(pair).to(device), RoundedPair(pair, share=share).to(device).train()
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.SGD(student.parameters(), lr=config.learning_rate, momentum=0.9, nesterov=True)
    indices = torch.from_numpy(splits.weights)
    size = min(config.batch_size, len(indices))
    steps = config.epochs * (len(indices) // size)
    for step in range(steps):
        if step % (steps // config.epochs) == 0:
            order = indices[torch.randperm(len(indices), generator=generator)]
        if step == steps // 2:
            student.freeze()
        start = step % (steps // config.epochs) * size
        chosen = order[start : start + size]
        images = augment(dataset.train_images[chosen].to(device), dataset.augmentation, generator=generator)
        x = normalise(images, dataset.mean, dataset.std)
        if step == 0:
            student.watch(x)
        loss = _loss(student, teacher, x, dataset.train_labels[chosen].to(device))
        if not torch.isfinite(loss):
            raise TrainingCollapsedError(
                f"the loss of int8 fine-tuning was {loss.item()} in step {step + 1}; set finalists.qat_epochs to 0"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), config.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, steps, peak=config.learning_rate)
        optimizer.step()
    return student.learnt(pair).eval()


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
