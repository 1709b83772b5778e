"""What a training run trains, without epochs, files or optimisers: those are `workers.trainer`'s."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from workers.evaluation import EvaluationContext

Backward = Callable[[Tensor], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """What one step learns from.

    Attributes:
        images: (N, C, H, W) float32, augmented and normalised, channels last.
        labels: (N,) int64.
        targets: (N, classes) soft labels where images were mixed, else None.
        step: This step, from 0.
        steps: Steps of the whole run.
        generator: All that is drawn is drawn from it.
    """

    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    targets: Tensor | None = field(repr=False, default=None)
    step: int
    steps: int
    generator: torch.Generator = field(repr=False)


class Learner(Protocol):
    """A model and how it learns from one batch.

    Attributes:
        module: The model: its parameters and buffers are trained, saved and resumed.
        extras: What is trained and saved beside it but no part of what is shipped; may have no parameters.
        classes: Number of classes.
    """

    module: nn.Module
    extras: nn.Module
    classes: int

    def groups(self, *, weight_decay: float) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups: `params`, `weight_decay` and, if it is not 1, `lr_scale`."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a checkpoint to fit, JSON-able."""
        ...

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Prepare for epoch `epoch`, from 0, of `epochs`."""
        ...

    def learn(self, batch: Batch, backward: Backward) -> dict[str, Tensor]:
        """Run the model, hand every loss to `backward`, and return detached scalars by name.

        `loss` tells a collapse, and so does `little` where it is there: both must be comparable with a guess's
        cross-entropy.
        """
        ...

    def finish_step(self) -> None:
        """Do what follows the optimiser's step."""
        ...

    def watch(self, quick: EvaluationContext) -> dict[str, float]:
        """Return accuracies in [0, 1], by name, on a few validation images."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what is remembered beside tensors, JSON-able."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        ...


class PlainLearner:
    """What most learners have in common: nothing beside the model, nothing to remember, nothing to prepare."""

    def __init__(self, module: nn.Module, *, classes: int, identity: dict[str, Any]) -> None:
        self.module, self.classes = module, classes
        self.extras: nn.Module = nn.Module()
        self._identity = identity

    def groups(self, *, weight_decay: float) -> list[dict[str, Any]]:
        """Return the module's groups and, undecayed, the extras'."""
        extras = [p for p in self.extras.parameters() if p.requires_grad]
        groups = decayed_groups(self.module, weight_decay=weight_decay)
        return [*groups, {"params": extras, "weight_decay": 0.0}] if extras else groups

    def identity(self) -> dict[str, Any]:
        """Return what the constructor was given."""
        return self._identity

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Do nothing."""

    def finish_step(self) -> None:
        """Do nothing."""

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take nothing back."""


def decayed_groups(module: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Return two parameter groups: convolutions and heads are decayed, BatchNorm, biases and scalars never."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
