from __future__ import annotations

import pytest
import torch
from torch import nn

from nas_service.errors import InvalidRequestError
from nas_service.layers import macs, params
from workers.baselines.exit_network import ExitNetwork
from workers.baselines.exit_plan import place_exits
from workers.baselines.msdnet import MsdNet
from workers.baselines.msdnet_plan import MsdPlan
from workers.baselines.multi_exit import Classifier, as_multi_exit, drawn, scored

MSD = MsdPlan(channels=1, resolution=8, classes=10, width=8, growth=8, factors=(1, 2, 2), step=0)


def net_of(kind, pair, *, boosted=False):
    if kind == "msdnet":
        return MsdNet(MSD, boosted=boosted)
    if kind == "branchy":
        return ExitNetwork(place_exits(pair.big, [7744, 17000]), boosted=boosted)
    return Classifier(pair.big)


def costs_of(net):
    if isinstance(net, Classifier):
        return (macs(net.plan.layers()),), params(net.plan.layers())
    return net.plan.exit_macs(), net.plan.params()


def executed_macs(net, images, wanted):
    """Count the multiply-accumulates of every convolution and linear layer that runs."""
    spent = []

    def count(module, inputs, output):
        per_output = module.weight[0].numel()
        spent.append(per_output * output[0].numel())

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    net.eval().answers(images[:1], wanted)
    for hook in hooks:
        hook.remove()
    return sum(spent)


@pytest.mark.parametrize("kind", ["static", "branchy", "msdnet"])
def test_macs_and_parameters_of_the_plan_are_those_of_the_module(kind, pair):
    net, images = net_of(kind, pair), torch.randn(2, 1, 8, 8)
    costs, parameters = costs_of(net)
    assert sum(p.numel() for p in net.parameters()) == parameters
    for index, cost in enumerate(costs):
        assert executed_macs(net, images, [i <= index for i in range(net.exits)]) == cost


@pytest.mark.parametrize("kind", ["branchy", "msdnet"])
def test_heads_that_are_not_wanted_are_not_run(kind, pair):
    net, images = net_of(kind, pair), torch.randn(2, 1, 8, 8)
    last_alone = [False] * (net.exits - 1) + [True]
    early = sum(macs(net.plan.head_layers(h)) for h in net.plan.heads) if kind == "branchy" else None
    early = sum(macs(MSD.head(i)) for i in range(MSD.exits - 1)) if early is None else early
    assert executed_macs(net, images, last_alone) == costs_of(net)[0][-1] - early
    assert [logits is None for logits in net.answers(images, last_alone)] == [not want for want in last_alone]


@pytest.mark.parametrize("kind", ["branchy", "msdnet"])
def test_boosted_exits_add_up_without_gradient_to_the_ones_before(kind, pair):
    net, images = net_of(kind, pair, boosted=True).eval(), torch.randn(4, 1, 8, 8)
    own = net.heads(images, [True] * net.exits)
    summed = net(images)
    torch.testing.assert_close(summed[1], own[0] + own[1])
    torch.testing.assert_close(summed[2], own[0] + own[1] + own[2])
    summed[2].sum().backward()
    first = net.early[0].linear if kind == "branchy" else net.classifiers[0].linear
    assert first.weight.grad is None


def test_weights_are_drawn_from_the_seed_alone(pair):
    one, two, other = (drawn(Classifier(pair.big), seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.network.head.weight, other.network.head.weight)


@pytest.mark.parametrize("kind", ["static", "branchy", "msdnet"])
def test_scoring_recalibrates_and_folds_a_copy(kind, pair):
    net, images = drawn(net_of(kind, pair), seed=0), torch.randn(128, 1, 8, 8)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    plain = scored(net, [images])
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    with torch.no_grad():
        for ours, theirs in zip(plain(images), net.train()(images), strict=True):
            torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0.05)


def test_a_module_of_another_kind_is_refused(pair):
    with pytest.raises(InvalidRequestError, match="got a Linear of unknown exits but need a net of 1; train the"):
        as_multi_exit(nn.Linear(2, 2), exits=1)
    with pytest.raises(InvalidRequestError, match="got a Classifier of 1 exits but need a net of 2"):
        as_multi_exit(Classifier(pair.big), exits=2)
