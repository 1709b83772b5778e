from __future__ import annotations

import pytest
import torch

from nas_service.errors import InvalidRequestError
from nas_service.plan import PairPlan
from tests.workers.conftest import space_of
from workers.evolving.settings import Shrinking
from workers.evolving.shrinking import open_choices
from workers.sampling import Sandwich

TINY = space_of("tiny")
SHRINKING = Shrinking(delay=0.2, opened=0.8)


def choices(progress: float) -> dict[str, tuple]:
    return open_choices(TINY, SHRINKING, progress=progress)


@pytest.mark.parametrize(
    ("progress", "kernels", "depths", "widths"),
    [(0.1, 1, 1, 1), (0.4, 2, 1, 1), (0.6, 2, 3, 1), (0.7, 2, 3, 3), (0.8, 2, 3, 4)],
)
def test_kernels_depths_and_widths_open_in_turn_from_the_largest_down(progress, kernels, depths, widths):
    now = choices(progress)
    assert [len(now[f"little1_{name}"]) for name in ("kernel", "depth", "width")] == [kernels, depths, widths]
    assert all(now[name][-1] == values[-1] for name, values in TINY.choices.items())


def test_in_the_end_everything_is_open():
    assert choices(1.0) == TINY.choices


def test_kinds_and_couplings_are_open_from_the_start():
    assert choices(0.0)["coupling"] == TINY.choices["coupling"]
    assert choices(0.0)["big0_kind"] == TINY.choices["big0_kind"]


def test_a_limited_sandwich_draws_what_is_open():
    sandwich, generator = Sandwich(TINY, random_pairs=2), torch.Generator().manual_seed(0)
    sandwich.limit(choices(0.1))
    for step in range(8):
        for plan in sandwich(step, generator):
            assert isinstance(plan, PairPlan)
            assert plan.big.blocks[-1].out_channels == 128
    sandwich.limit(choices(1.0))
    assert min(plan.big.blocks[-1].out_channels for step in range(8) for plan in sandwich(step, generator)) == 80


def test_shrinking_that_does_not_rise_is_refused():
    with pytest.raises(InvalidRequestError, match=r"shrinking from 0.8 to 0.5 must rise within \[0, 1\]"):
        Shrinking(delay=0.8, opened=0.5)
