"""The moving average of a model's weights, as a teacher that lags behind and wavers less.

In-place bootstrapping (Li et al., Dynamic Slimmable Network, CVPR 2021): the average of the supernet, not the supernet
itself, gives the distillation targets. It is no part of what is shipped, but of every checkpoint.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn


class Average(nn.Module):
    """A copy of `model` that follows it: `average = decay average + (1 - decay) model` after every step.

    In the first steps the decay is smaller, `(1 + n) / (10 + n)`, so that the initial weights are soon forgotten.

    Args:
        model: Copied as it is.
        decay: In [0, 1).
    """

    steps: Tensor

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        super().__init__()
        self._decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def follow(self, model: nn.Module) -> None:
        """Move every parameter and floating buffer towards the model's; other buffers are copied."""
        steps = int(self.steps)
        share = 1 - min(self._decay, (1 + steps) / (10 + steps))
        self.steps += 1
        with torch.no_grad():
            for (_, mine), (_, theirs) in zip(_tensors(self.model), _tensors(model), strict=True):
                if mine.is_floating_point():
                    mine.lerp_(theirs, share)
                else:
                    mine.copy_(theirs)

    def forward(self, *inputs: object) -> tuple[Tensor, Tensor]:
        """Return the little's and the escalated logits (N, classes) of the average, without gradient."""
        with torch.no_grad():
            return cast(tuple[Tensor, Tensor], self.model(*inputs))


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]
