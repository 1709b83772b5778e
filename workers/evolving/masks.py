"""Masks over the dimensions of a coupling's pairs: a trained probability for every choice of every gene.

A width's probabilities are a mask over channels, `keep[c] = P(width > c)`, a depth's one over blocks. A step draws a
pair, and what it draws is a slice of the supernet: a masked channel is not computed. So the masked forward is that of
the drawn pair itself, with BatchNorm over the channels that are there, in the norm set of its half; nothing is scaled
by a mask, and hardening changes nothing but the draw.

How the loss reaches the masks: by the score function with the other draw of the same batch as baseline
(`GradientLearner`), which is unbiased and needs no second estimator for kinds and kernels. Intended departure from PIT
(Risso et al., arXiv 2307.09488) and Gumbel gates: these multiply channels by a mask of 1 and pass its gradient straight
through. Behind BatchNorm that gradient is the one of the channel's own scale and shift, which training drives to zero,
so it soon tells nothing of what a channel is worth. How the cost reaches them: exactly (`workers.evolving.cost`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas_service.pair_space import PairSpace
from nas_service.plan import Coupling

Choice = dict[str, int]  # gene -> index of its value
PROBES = 32
BETAS = (0.9, 0.99)


class Masks(nn.Module):
    """A categorical distribution over each gene that matters to pairs of `coupling`; all start uniform.

    Args:
        space: The space.
        coupling: Of the pairs.
        exploration: Share of the probabilities, in [0, 1), that stays uniform.
    """

    logits: nn.ParameterDict
    count: Tensor

    def __init__(self, space: PairSpace, coupling: Coupling, *, exploration: float = 0.0) -> None:
        super().__init__()
        self.space, self.coupling = space, coupling
        self.choices = {name: space.choices[name] for name in active_genes(space, coupling)}
        self.logits = nn.ParameterDict({name: torch.zeros(len(v)) for name, v in self.choices.items()})
        self.exploration = exploration
        for name, values in self.choices.items():
            self.register_buffer(f"mean_{name}", torch.zeros(len(values)))
            self.register_buffer(f"square_{name}", torch.zeros(len(values)))
        self.register_buffer("count", torch.zeros(()))

    def probabilities(self) -> dict[str, Tensor]:
        """Return (choices,) probabilities of each gene; a share of `exploration` is uniform, so that none vanishes."""
        kept = 1 - self.exploration
        return {n: kept * F.softmax(z, 0) + self.exploration / len(z) for n, z in self.logits.items()}

    def keep(self, name: str) -> Tensor:
        """Return the mask of a width or depth: (largest value,) the probability that each channel or block is there."""
        values = torch.tensor(self.choices[name], device=self.logits[name].device)
        return self.probabilities()[name] @ (values[:, None] > torch.arange(int(values.max()))).float()

    def draw(self, generator: torch.Generator) -> Choice:
        """Return one choice for every gene."""
        with torch.no_grad():
            return {
                name: int(torch.multinomial(p.cpu(), 1, generator=generator))
                for name, p in self.probabilities().items()
            }

    def likeliest(self) -> Choice:
        """Return every gene's likeliest choice."""
        return {name: int(z.argmax()) for name, z in self.logits.items()}

    def log_probability(self, choice: Mapping[str, int]) -> Tensor:
        """Return the scalar log-probability of drawing `choice`."""
        return torch.stack([p[choice[name]].log() for name, p in self.probabilities().items()]).sum()

    def point(self, choice: Mapping[str, int]) -> dict[str, Any]:
        """Return the folded point of the space that `choice` stands for."""
        base = {name: values[0] for name, values in self.space.choices.items()}
        chosen = {name: self.choices[name][index] for name, index in choice.items()}
        return self.space.fold({**base, **chosen, "coupling": self.coupling})

    @torch.no_grad()
    def update(self, *, rate: float) -> None:
        """Move the logits by at most about `rate` along their gradients and clear these (Adam, Kingma and Ba, 2015).

        The steps' size does not depend on the loss's scale, so one rate serves every space and data set.
        """
        self.count += 1
        corrections = [1 - beta ** float(self.count) for beta in BETAS]
        for name, logits in self.logits.items():
            if logits.grad is None:
                continue
            mean, square = self.get_buffer(f"mean_{name}"), self.get_buffer(f"square_{name}")
            mean.lerp_(logits.grad, 1 - BETAS[0])
            square.lerp_(logits.grad.square(), 1 - BETAS[1])
            logits -= rate * (mean / corrections[0]) / ((square / corrections[1]).sqrt() + 1e-8)
            logits.grad = None


def active_genes(space: PairSpace, coupling: Coupling) -> list[str]:
    """Return the genes, in order, whose value can tell pairs of `coupling` apart."""
    return [name for name in space.names if name != "coupling" and any(_tells(space, coupling, name))]


def _tells(space: PairSpace, coupling: Coupling, name: str) -> Iterator[bool]:
    rng = np.random.default_rng(0)
    for _ in range(PROBES):
        point = {**space.sample(rng), "coupling": coupling}
        yield len({space.phenotype({**point, name: value}) for value in space.choices[name]}) > 1
