from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nas_service.layers import params
from nas_service.plan import PairPlan
from tests.workers.conftest import DEFINITIONS, space_of
from workers.bank import convolutions, crop, tail_slices
from workers.network import Pair
from workers.supernet import Supernet


def random_plans(name: str, count: int, *, seed: int = 0):
    space, rng = space_of(name), np.random.default_rng(seed)
    return [space.plan(space.sample(rng)) for _ in range(count)]


def measured_macs(module: torch.nn.Module, *, image: torch.Tensor) -> int:
    """Count in the running module: every weight is used once for each output pixel."""
    total = 0

    def count(layer, _, output):
        nonlocal total
        total += layer.weight.numel() * output.shape[2:].numel()

    handles = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.inference_mode():
        module(image)
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize("name", DEFINITIONS)
def test_macs_and_parameters_of_modules_equal_those_of_records(name):
    for plan in random_plans(name, 120):
        pair = Pair(plan).eval()
        image = torch.zeros(1, plan.little.channels, plan.little.resolution, plan.little.resolution)
        assert measured_macs(pair.little, image=image) == plan.little_macs
        assert measured_macs(pair, image=image) == plan.little_macs + plan.tail_macs
        big_records = plan.tail_layers() if plan.coupling == "triangular" else plan.big.layers()
        for network, records in ((pair.little, plan.little.layers()), (pair.big, big_records)):
            assert sum(p.numel() for p in network.parameters()) == params(records)
        if plan.coupling != "triangular":
            assert measured_macs(pair.big, image=image) == plan.big_macs


@pytest.mark.parametrize("name", DEFINITIONS)
def test_parameters_of_a_pair_are_the_elements_of_the_supernet_that_learn(name):
    space = space_of(name)
    supernet = Supernet(space)
    x = torch.randn(4, space.channels, space.resolution, space.resolution)
    for plan in random_plans(name, 12, seed=1):
        supernet.zero_grad(set_to_none=True)
        little, escalated = supernet(x, plan)
        (little.square().sum() + escalated.square().sum()).backward()
        used = sum(selected_elements(plan, name, p) for name, p in supernet.named_parameters() if p.grad is not None)
        assert plan.params() == used - 1  # less alpha, a constant of the exported graph


def selected_elements(plan: PairPlan, name: str, parameter: nn.Parameter) -> int:
    """Return the size of the union of what both halves slice of one tensor, from the shapes of their modules."""
    table, _, key = name.partition(".")
    mask = torch.zeros(parameter.shape, dtype=torch.bool)
    tail = [part for parts in tail_slices(plan) for part in parts if part and part.record.operation == "conv"]
    for network, parts in ((plan.little, convolutions(plan.little)), (plan.big, tail or convolutions(plan.big))):
        for part in parts:
            if key == (part.weight if table == "weights" else part.norm) and table in ("weights", "scales", "shifts"):
                start, count = part.start, part.record.out_channels
                (crop(mask, part.record, start=start) if table == "weights" else mask[start : start + count]).fill_(
                    True
                )
        if key == network.head and table in ("heads", "biases"):
            (mask[:, : network.blocks[-1].out_channels] if table == "heads" else mask).fill_(True)
    return int(mask.sum()) if table != "alphas" else 1


def test_blocks_that_run_once_are_one_module():
    plan = next(p for p in random_plans("micro", 50) if p.coupling == "stem" and p.shared_blocks == 2)
    pair = Pair(plan)
    assert all(pair.little.blocks[i] is pair.big.blocks[i] for i in range(2))
    assert pair.little.blocks[2] is not pair.big.blocks[2]
    assert sum(p.numel() for p in pair.parameters()) == plan.params()


def test_escalated_logits_add_the_littles_by_alpha():
    plan = next(p for p in random_plans("micro", 50) if p.coupling == "nested")
    pair = Pair(plan, alpha=0.25).eval()
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        little, escalated = pair(x)
        torch.testing.assert_close(escalated, pair.big(x) + 0.25 * little)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_folding_leaves_outputs_as_they_are(name):
    for plan in random_plans(name, 4):
        pair = Pair(plan, alpha=0.5)
        x = torch.randn(16, plan.little.channels, plan.little.resolution, plan.little.resolution)
        with torch.no_grad():
            pair.train()(x)
            expected = pair.eval()(x)
            for block in dict.fromkeys((*pair.little.blocks, *pair.big.blocks)):
                block.fold()
            assert not [m for m in pair.modules() if isinstance(m, nn.BatchNorm2d)]
            torch.testing.assert_close(pair(x), expected, atol=1e-4, rtol=1e-4)
