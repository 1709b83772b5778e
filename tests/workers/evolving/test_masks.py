from __future__ import annotations

from itertools import product

import pytest
import torch

from tests.workers.evolving.spaces import every_choice, gradients, small_masks, small_space
from workers.evolving.masks import Masks, active_genes
from workers.learners.gradient import score_function


def test_masks_cover_the_genes_that_tell_pairs_of_a_coupling_apart():
    space = small_space()
    assert active_genes(space, "independent") == [
        "little0_width", "little0_depth", "big0_width", "big0_depth", "big0_kind",
    ]  # fmt: skip


def test_masks_begin_uniform():
    for p in Masks(small_space(), "stem").probabilities().values():
        assert p.tolist() == pytest.approx([1 / len(p)] * len(p))


def test_the_mask_of_a_width_keeps_each_channel_with_the_probability_that_the_width_exceeds_it():
    masks = Masks(small_space(), "stem")
    masks.logits["little0_width"].data = torch.log(torch.tensor([0.25, 0.75]))
    keep = masks.keep("little0_width")
    assert keep[:8].tolist() == pytest.approx([1.0] * 8)
    assert keep[8:].tolist() == pytest.approx([0.75] * 8)


def test_the_mask_of_a_depth_keeps_blocks():
    masks = Masks(small_space(), "stem")
    assert masks.keep("big0_depth").tolist() == pytest.approx([1.0, 1.0, 0.5])


def test_exploration_keeps_every_choice_possible():
    masks = small_masks(spread=100.0)
    assert min(p.min().item() for p in masks.probabilities().values()) < 1e-6
    masks.exploration = 0.2
    assert min(p.min().item() for p in masks.probabilities().values()) == pytest.approx(0.1)


def test_draws_follow_the_probabilities():
    masks, generator = small_masks(), torch.Generator().manual_seed(1)
    draws = [masks.draw(generator)["big0_width"] for _ in range(400)]
    assert sum(draws) / 400 == pytest.approx(masks.probabilities()["big0_width"][1].item(), abs=0.08)


def test_the_score_function_is_the_gradient_of_the_expected_loss():
    masks = small_masks("triangular", genes=3)
    search = type("Search", (), {"masks": masks})
    losses = {tuple(c.values()): torch.rand((), generator=torch.Generator().manual_seed(i))
              for i, c in enumerate(every_choice(masks))}  # fmt: skip
    weight = {tuple(c.values()): masks.log_probability(c).exp() for c in every_choice(masks)}
    sum(weight[k] * losses[k] for k in losses).backward()
    exact = gradients(masks)
    estimates = []
    for one, other in product(every_choice(masks), repeat=2):
        keys = tuple(one.values()), tuple(other.values())
        share = (weight[keys[0]] * weight[keys[1]]).detach()
        estimates.append(share * score_function(search, [one, other], [losses[k] for k in keys]))
    torch.stack(estimates).sum().backward()
    assert torch.allclose(gradients(masks), exact, atol=1e-5)


def test_an_update_goes_downhill_by_no_more_than_its_rate():
    masks = Masks(small_space(), "stem")
    before = masks.logits["big0_width"].detach().clone()
    (1e-3 * masks.probabilities()["big0_width"][1]).backward()
    masks.update(rate=0.5)
    moved = masks.logits["big0_width"].detach() - before
    assert moved.tolist() == pytest.approx([0.5, -0.5], abs=1e-3)
    assert masks.logits["big0_width"].grad is None


def test_a_point_of_the_masks_is_one_of_the_space():
    masks = small_masks("triangular")
    for choice in every_choice(masks):
        assert masks.point(choice)["coupling"] == "triangular"
        masks.space.plan(masks.point(choice))
