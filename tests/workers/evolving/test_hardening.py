from __future__ import annotations

import torch

from tests.workers.evolving.spaces import every_choice, small_masks, small_space
from workers.evolving.hardening import harden
from workers.evolving.masks import Masks


def test_the_likeliest_pair_is_kept():
    masks = small_masks()
    best = max(every_choice(masks), key=lambda c: masks.log_probability(c).item())
    assert harden(masks, affordable=lambda choice: True) == best == masks.likeliest()


def test_of_the_affordable_pairs_the_likeliest_is_kept():
    masks = small_masks()
    affordable = every_choice(masks)[5:9]
    best = max(affordable, key=lambda c: masks.log_probability(c).item())
    assert harden(masks, affordable=lambda choice: choice in affordable) == best


def test_a_pair_that_breaks_a_constraint_is_never_kept():
    masks = Masks(small_space(params=6000), "nested")
    for logits in masks.logits.values():
        logits.data = torch.linspace(0, 5, len(logits))
    assert masks.space.plan(masks.point(masks.likeliest())).params() > 6000
    assert masks.space.plan(masks.point(harden(masks, affordable=lambda choice: True))).params() <= 6000


def test_if_nothing_is_affordable_the_likeliest_pair_is_kept():
    masks = small_masks()
    assert harden(masks, affordable=lambda choice: False) == masks.likeliest()


def test_if_no_pair_meets_the_constraints_the_smallest_is_kept():
    masks = Masks(small_space(params=10), "nested")
    assert set(harden(masks, affordable=lambda choice: True).values()) == {0}
