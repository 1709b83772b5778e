from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas_service.errors import InvalidRequestError
from tests.workers.conftest import DEFINITIONS, space_of
from workers.supernet import Supernet


def images(space, count: int = 8) -> torch.Tensor:
    shape = (count, space.channels, space.resolution, space.resolution)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)


def some_plans(space, count: int):
    rng = np.random.default_rng(0)
    extremes = [space.extreme(c, largest=large) for c in space.definition.couplings for large in (True, False)]
    return [space.plan(point) for point in [*extremes, *(space.sample(rng) for _ in range(count))]]


def perturbed(space) -> Supernet:
    """A supernet whose every tensor matters: no scale is 1, no shift 0."""
    supernet = Supernet(space)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for table in (supernet.scales, supernet.shifts, supernet.biases):
            for tensor in table.values():
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return supernet


@pytest.mark.parametrize("name", DEFINITIONS)
def test_extracted_pair_computes_what_the_supernet_does(name):
    space = space_of(name)
    supernet, x = perturbed(space), images(space)
    for plan in some_plans(space, 25):
        with torch.no_grad():
            expected = supernet(x, plan)
            outputs = supernet.extract(plan).train()(x)  # in train mode BatchNorm uses the batch's statistics, too
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["micro", "every-kind"])
def test_forward_spends_the_macs_of_the_plan_so_a_shared_stem_runs_once(name):
    space = space_of(name)
    supernet = Supernet(space)
    for plan in some_plans(space, 10):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            supernet(images(space, 2), plan)
        assert counter.get_total_flops() == 2 * 2 * (plan.little_macs + plan.tail_macs)


def test_forward_depends_on_images_plan_and_weights_alone():
    space = space_of("micro")
    supernet, x = Supernet(space), images(space)
    plans = some_plans(space, 5)
    with torch.no_grad():
        first = [supernet(x, plan) for plan in plans]
        again = [supernet(x, plan) for plan in reversed(plans)][::-1]
    assert all(torch.equal(a, b) for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True))


def test_extracting_copies_so_the_supernet_cannot_be_changed_through_it():
    space = space_of("micro")
    supernet, plan = Supernet(space), some_plans(space, 0)[0]
    before = {name: p.clone() for name, p in supernet.named_parameters()}
    with torch.no_grad():
        for parameter in supernet.extract(plan).parameters():
            parameter.zero_()
    assert all(torch.equal(p, before[name]) for name, p in supernet.named_parameters())


def test_each_coupling_learns_its_own_combination_weight():
    space = space_of("micro")
    supernet = Supernet(space)
    for plan in some_plans(space, 0):
        supernet.zero_grad(set_to_none=True)
        supernet(images(space), plan)[1].square().sum().backward()
        assert [name for name, alpha in supernet.alphas.items() if alpha.grad is not None] == [plan.coupling]


def test_escalated_logits_send_no_gradient_into_the_littles_own_weights():
    space = space_of("micro")
    supernet = Supernet(space)
    supernet(images(space), space.plan(space.extreme("independent", largest=True)))[1].square().sum().backward()
    touched = {name for name, p in supernet.named_parameters() if p.grad is not None}
    assert touched
    assert not [name for name in touched if "/little" in name or ".little" in name]


def test_a_nested_little_reads_the_banks_of_the_big():
    space = space_of("micro")
    supernet = Supernet(space)
    supernet(images(space), space.plan(space.extreme("nested", largest=False)))[0].square().sum().backward()
    touched = [name for name, p in supernet.weights.named_parameters() if p.grad is not None]
    assert touched
    assert all(name.startswith("big/") for name in touched)


def test_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    space = space_of("micro")
    one = Supernet(space, seed=3)
    torch.rand(5)
    two, other = Supernet(space, seed=3), Supernet(space, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("method", ["forward", "extract"])
def test_a_plan_of_another_space_is_refused(method):
    supernet, foreign = Supernet(space_of("micro")), space_of("tiny")
    plan = foreign.plan(foreign.extreme("stem", largest=True))
    arguments = (torch.zeros(1, 3, 32, 32), plan) if method == "forward" else (plan,)
    with pytest.raises(InvalidRequestError, match="the supernet of space 'micro' lacks; use plans of the space"):
        getattr(supernet, method)(*arguments)
