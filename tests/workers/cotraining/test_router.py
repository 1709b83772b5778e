from __future__ import annotations

import pytest
import torch

from workers.cotraining.cost import expected_cost
from workers.cotraining.router import EscalationRouter, benefit, rate_penalty, router_loss
from workers.routing.learned import BODIES

GENERATOR = torch.Generator().manual_seed(0)
LITTLE, BIG = torch.randn(64, 5, generator=GENERATOR), 3 * torch.randn(64, 5, generator=GENERATOR)
TRUTH = BIG.argmax(1)


def taught(head: str = "logistic", *, cost: float = 0.0, rate: float = 0.0) -> EscalationRouter:
    router = EscalationRouter(5, head=head)
    optimiser = torch.optim.SGD(router.parameters(), lr=0.2)
    target = benefit(LITTLE, BIG, TRUTH)
    for _ in range(80):
        log_odds = router(LITTLE)
        loss = router_loss(log_odds, target) + rate * rate_penalty(log_odds, target=0.3)
        loss = loss + cost * expected_cost(log_odds.sigmoid(), little=0.01, tail=1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return router


def test_the_target_is_little_wrong_and_big_right():
    little = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    big = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([1, 1, 1, 1])
    assert benefit(little, big, labels).tolist() == [0.0, 1.0, 0.0, 0.0]
    soft = torch.tensor([[0.2, 0.8]]).expand(4, 2)
    assert benefit(little, big, soft).tolist() == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("head", sorted(BODIES))
def test_an_untaught_router_is_undecided_and_draws_nothing_from_the_global_generator(head):
    before = torch.get_rng_state()
    router = EscalationRouter(5, head=head)
    assert torch.equal(before, torch.get_rng_state())
    assert router(LITTLE).abs().max() == 0


def test_no_gradient_reaches_the_little():
    little = LITTLE.clone().requires_grad_()
    router_loss(EscalationRouter(5)(little), torch.ones(64)).backward()
    assert little.grad is None


@pytest.mark.parametrize("head", sorted(BODIES))
def test_a_taught_router_escalates_where_it_helps(head):
    router, target = taught(head).eval(), benefit(LITTLE, BIG, TRUTH).bool()
    escalation = router(LITTLE).sigmoid()
    assert escalation[target].mean() > escalation[~target].mean() + 0.05


def test_it_is_exported_as_the_learned_router_whose_score_is_the_negated_log_odds():
    router = taught().eval()
    learned = router.as_learned()
    torch.testing.assert_close(learned(LITTLE), -router(LITTLE))
    learned.mean.add_(1)
    assert not torch.equal(learned.mean, router.learned.mean)


def test_the_rate_penalty_keeps_a_costly_router_from_never_escalating():
    collapsed, guarded = (
        float(taught(cost=20.0, rate=rate).eval()(LITTLE).detach().sigmoid().mean()) for rate in (0.0, 20.0)
    )
    assert collapsed < 0.05
    assert 0.15 < guarded < 0.45


@pytest.mark.parametrize(("log_odds", "pull"), [(-200.0, -0.3), (200.0, 0.7)])
def test_the_rate_penalty_pulls_back_from_either_end_however_far(log_odds, pull):
    odds = torch.full((4,), log_odds, requires_grad=True)
    rate_penalty(odds, target=0.3).backward()
    assert float(odds.grad.sum()) == pytest.approx(pull, abs=1e-4)


@pytest.mark.parametrize(("target", "log_odds"), [(0.0, -20.0), (0.5, 0.0), (1.0, 20.0)])
def test_the_rate_penalty_is_zero_at_its_target_and_positive_elsewhere(target, log_odds):
    assert float(rate_penalty(torch.tensor([log_odds]), target=target)) == pytest.approx(0, abs=1e-5)
    assert float(rate_penalty(torch.tensor([1.0, 2.0]), target=target)) > 0
