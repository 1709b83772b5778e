"""Spaces small enough to enumerate, and masks over them."""

from __future__ import annotations

from itertools import product

import torch

from nas_service.pair_space import PairSpace, SpaceDefinition, StageChoices
from workers.evolving.masks import Masks

SMALL = SpaceDefinition(
    name="small-enough",
    stem_widths=(8,),
    stem_stride=1,
    strides=(2,),
    little=(StageChoices(widths=(8, 16), depths=(1, 2)),),
    big=(StageChoices(widths=(24, 32), depths=(2, 3), kinds=("separable", "residual")),),
    couplings=("independent", "stem", "nested", "triangular"),
)


def small_space(**constraints: float) -> PairSpace:
    return PairSpace(SMALL, channels=1, resolution=8, classes=10, constraints=constraints)


def small_masks(coupling: str = "nested", *, spread: float = 1.0, genes: int | None = None) -> Masks:
    """Return masks with unequal probabilities, over the first `genes` of the genes."""
    masks = Masks(small_space(), coupling)  # type: ignore[arg-type]
    for name in list(masks.choices)[genes:] if genes else ():
        del masks.choices[name], masks.logits[name]
    generator = torch.Generator().manual_seed(0)
    for logits in masks.logits.values():
        logits.data = spread * torch.randn(len(logits), generator=generator)
    return masks


def every_choice(masks: Masks) -> list[dict[str, int]]:
    ranges = [range(len(values)) for values in masks.choices.values()]
    return [dict(zip(masks.choices, indexes, strict=True)) for indexes in product(*ranges)]


def gradients(masks: Masks) -> torch.Tensor:
    """Return all logits' gradients as one vector, and clear them."""
    parts = [torch.zeros_like(z) if z.grad is None else z.grad.clone() for z in masks.logits.values()]
    masks.zero_grad(set_to_none=True)
    return torch.cat(parts)
