"""How a supernet is trained, as a value; and the learning rate that follows from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nas_service.errors import InvalidRequestError
from workers.cotraining.terms import CoTraining

WARM_UP = 0.3
FINAL_FACTOR = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Hyperparameters of supernet training or of fine-tuning one pair.

    Attributes:
        epochs: Passes over the weights split.
        batch_size: Images in a step; a last smaller batch is left out.
        learning_rate: Peak of the one-cycle schedule.
        momentum: Of SGD with Nesterov's correction.
        weight_decay: On convolutions and heads; never on BatchNorm, biases or the combination weights.
        random_pairs: Random pairs in a step, beside the largest and the smallest.
        distillation: Share, in [0, 1], of the teacher in the loss of every big but the largest.
        little_distillation: Share, in [0, 1], of the own pair's escalated logits in the loss of a little.
        temperature: Of the distillation.
        label_smoothing: In [0, 1).
        cotraining: Terms besides labels and in-place distillation, and the phases of the run.
        clip_norm: The gradient's norm is clipped to this.
        rollbacks: How often a collapsed epoch is repeated from the last checkpoint, at half the learning rate.
        autocast: bfloat16 where it pays; on GPUs only.
        accumulate: Parts that a step's batch is run in; their gradients are added up before the optimiser's step.
        compile: Whether torch compiles the model's forward and backward passes.
        threads: Threads of the process that trains; more than one gives up bit-exact resuming.
        seed: Of initial weights, order, augmentation and random pairs.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    random_pairs: int = 1
    distillation: float = 0.5
    little_distillation: float = 0.5
    temperature: float = 1.0
    label_smoothing: float = 0.0
    cotraining: CoTraining = field(default_factory=CoTraining)
    clip_norm: float = 5.0
    rollbacks: int = 1
    autocast: bool = False
    accumulate: int = 1
    compile: bool = False
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "threads", "accumulate"):
            if getattr(self, name) < 1:
                raise InvalidRequestError(f"{name} is {getattr(self, name)} but must be at least 1")
        for name in ("distillation", "little_distillation", "momentum", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidRequestError(f"{name} is {getattr(self, name):g} but must lie in [0, 1]")
        for name in ("learning_rate", "temperature", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidRequestError(f"{name} is {getattr(self, name):g} but must be above 0 and finite")
        if min(self.random_pairs, self.rollbacks, self.weight_decay) < 0:
            raise InvalidRequestError("random_pairs, rollbacks and weight_decay must be at least 0")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-able data, the exact inverse of `from_dict`.

        Co-training that is all defaults, and compilation that is off, are left out, so that checkpoints from before
        there was any still fit.
        """
        data = asdict(self)
        if not self.compile:
            del data["compile"]
        if self.cotraining == CoTraining():
            del data["cotraining"]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainConfig:
        """Return the configuration in `data`; InvalidRequestError for unknown keys."""
        if unknown := sorted(set(data) - {f.name for f in fields(cls)}):
            raise InvalidRequestError(
                f"unknown training key {unknown[0]!r}; choose from: {', '.join(f.name for f in fields(cls))}"
            )
        terms = CoTraining.from_dict(data.get("cotraining", {}))
        return cls(**{**data, "cotraining": terms})


def one_cycle(step: int, steps: int, *, peak: float) -> float:
    """Return the learning rate of step `step` of `steps`: linear to `peak` in the first 30 %, then a half cosine.

    After Smith and Topin (Super-Convergence, 2019); a pure function, so that resuming needs no schedule state.
    """
    rise = max(1, round(steps * WARM_UP))
    if step < rise:
        return peak * (step + 1) / rise
    progress = (step - rise) / max(1, steps - rise)
    return peak * (FINAL_FACTOR + (1 - FINAL_FACTOR) * (1 + math.cos(math.pi * progress)) / 2)
