from __future__ import annotations

import pytest
import torch

from nas_service.errors import InvalidRequestError
from workers.cotraining.cost import MULTIPLIER_MAX, CostConstraint, PairCost, expected_cost
from workers.cotraining.router import EscalationRouter


def test_expected_cost_is_the_little_always_and_the_tail_on_escalation():
    escalation = torch.tensor([0.0, 1.0, 0.5, 0.5])
    assert float(expected_cost(escalation, little=2.0, tail=10.0)) == 7.0


def test_the_costs_gradient_reaches_the_router():
    router, logits = EscalationRouter(4), torch.randn(8, 4)
    constraint = CostConstraint(rate=1.0)
    constraint.multiplier.fill_(1.0)
    expected = expected_cost(router(logits).sigmoid(), little=1.0, tail=3.0)
    constraint(expected, target=1.5).backward()
    bias = router.learned.body.bias.grad
    assert bias is not None
    assert float(bias) == pytest.approx(0.25 * 3.0 / 1.5)  # sigmoid' at 0, times tail over target


def test_the_costs_gradient_reaches_masks_that_the_costs_are_computed_from():
    mask = torch.full((4,), 0.5, requires_grad=True)
    little, tail = 2.0 * mask[:2].sum(), 5.0 * mask.sum()
    constraint = CostConstraint(rate=1.0)
    constraint.multiplier.fill_(1.0)
    constraint(expected_cost(torch.tensor([0.2, 0.6]), little=little, tail=tail), target=1.0).backward()
    torch.testing.assert_close(mask.grad, torch.tensor([4.0, 4.0, 2.0, 2.0]))


def test_the_multiplier_rises_while_the_constraint_is_broken_and_falls_to_zero_when_met():
    constraint, seen = CostConstraint(rate=0.1), []
    for cost in [2.0] * 5 + [0.5] * 15:
        constraint(torch.tensor(cost), target=1.0)
        constraint.ascend()
        seen.append(float(constraint.multiplier))
    assert seen[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert seen[5:] == sorted(seen[5:], reverse=True)
    assert seen[-1] == 0.0


def test_a_met_constraint_adds_nothing_and_pulls_nowhere():
    constraint, cost = CostConstraint(rate=0.1), torch.tensor(0.9, requires_grad=True)
    constraint.multiplier.fill_(5.0)
    loss = constraint(cost, target=1.0)
    loss.backward()
    assert float(loss.detach()) == float(cost.grad) == 0.0


def test_a_target_that_cannot_be_met_does_not_drown_the_rest():
    constraint = CostConstraint(rate=1e3)
    constraint(torch.tensor(5.0), target=1.0)
    constraint.ascend()
    assert float(constraint.multiplier) == MULTIPLIER_MAX


def test_violations_of_one_step_are_averaged_and_then_forgotten():
    constraint = CostConstraint(rate=1.0)
    for cost in (1.5, 2.5):
        constraint(torch.tensor(cost), target=1.0)
    constraint.ascend()
    constraint.ascend()
    assert float(constraint.multiplier) == 1.0


def test_a_pairs_cost_is_its_macs(micro):
    plan = micro.plan(micro.extreme("stem", largest=True))
    cost = PairCost.of(plan)
    assert (cost.little, cost.tail, cost.reference) == (
        plan.little_macs,
        plan.tail_macs,
        plan.little_macs + plan.tail_macs,
    )
    with pytest.raises(InvalidRequestError, match="the reference cost is 0 but must be above 0"):
        PairCost(little=0.0, tail=0.0, reference=0.0)
