from __future__ import annotations

import pytest
import torch

from nas_service.class_cost import ClassCost
from nas_service.cost_predictor import fitted_predictor
from nas_service.half import halves_of
from nas_service.plan import COUPLINGS
from tests.nas_service.measured import made_up_ms
from tests.workers.evolving.spaces import every_choice, gradients, small_masks
from workers.cotraining.cost import expected_cost
from workers.cotraining.router import EscalationRouter
from workers.evolving.cost import Macs, MaskCost


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_the_cost_of_a_draw_is_exactly_its_plans(coupling):
    masks = small_masks(coupling)
    pricing = MaskCost(masks, Macs())
    for choice in every_choice(masks):
        costs = masks.space.plan(masks.point(choice)).costs()
        assert pricing.expected(choice).tolist() == [costs["little_macs"], costs["tail_macs"]]


def enumerated(masks, pricing) -> torch.Tensor:
    """Return the gradient of the expected worst-case cost, summed over every pair."""
    total = sum(masks.log_probability(c).exp() * sum(pricing.at(c)) for c in every_choice(masks))
    total.backward()
    return gradients(masks)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_the_gradient_is_that_of_the_expected_cost_over_all_pairs(coupling):
    masks = small_masks(coupling)
    pricing = MaskCost(masks, Macs())
    exact = enumerated(masks, pricing)
    for choice in every_choice(masks):
        share = masks.log_probability(choice).exp().detach()
        (share * pricing.expected(choice).sum()).backward()
    assert exact.abs().max() > 0
    assert torch.allclose(gradients(masks), exact, rtol=1e-3, atol=1.0)


def test_the_cost_of_some_genes_stands_for_all_without_bias():
    masks = small_masks()
    pricing, choice = MaskCost(masks, Macs()), every_choice(masks)[3]
    pricing.expected(choice).sum().backward()
    whole = gradients(masks)
    for name in masks.choices:
        (pricing.expected(choice, genes=[name]).sum() / len(masks.choices)).backward()
    assert torch.allclose(gradients(masks), whole, rtol=1e-5)


def test_the_expected_cost_moves_masks_of_both_halves_and_the_router():
    masks, router = small_masks(), EscalationRouter(10)
    choice = masks.draw(torch.Generator().manual_seed(0))
    little, tail = MaskCost(masks, Macs()).expected(choice)
    escalation = router(torch.randn(32, 10)).sigmoid().double()
    expected_cost(escalation, little=little, tail=tail).backward()
    for name in ("little0_width", "little0_depth", "big0_width", "big0_depth", "big0_kind"):
        assert masks.logits[name].grad.abs().sum() > 0, name
    assert sum(float(p.grad.abs().sum()) for p in router.parameters()) > 0


def test_what_the_router_seldom_escalates_weighs_less_on_the_bigs_masks():
    masks = small_masks("independent")
    choice, slopes = masks.draw(torch.Generator().manual_seed(0)), []
    for rate in (0.1, 0.8):
        little, tail = MaskCost(masks, Macs()).expected(choice)
        expected_cost(torch.full((4,), rate, dtype=torch.float64), little=little, tail=tail).backward()
        slopes.append({name: float(masks.logits[name].grad.abs().sum()) for name in masks.choices})
        masks.zero_grad(set_to_none=True)
    assert slopes[1]["big0_width"] == pytest.approx(8 * slopes[0]["big0_width"], rel=1e-4)
    assert slopes[1]["little0_width"] == pytest.approx(slopes[0]["little0_width"], rel=1e-4)


def test_milliseconds_on_a_board_class_are_a_measure_as_macs_are():
    masks = small_masks()
    pairs = [halves_of(masks.space.plan(masks.point(c))) for c in every_choice(masks)]
    halves = [half for pair in pairs for half in pair.values()][:60]
    cost = ClassCost(unit="ms on pi", predictor=fitted_predictor(halves, made_up_ms(halves)))
    pricing, choice = MaskCost(masks, cost), every_choice(masks)[0]
    little, tail = pricing.expected(choice)
    first = [pairs[0]["little"], pairs[0]["big"]]
    assert [little.item(), tail.item()] == pytest.approx(made_up_ms(first), rel=0.1)
    (little + tail).backward()
    assert gradients(masks).abs().max() > 0
