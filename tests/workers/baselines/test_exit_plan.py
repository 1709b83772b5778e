from __future__ import annotations

from dataclasses import replace

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.layers import macs
from workers.baselines.exit_plan import ExitHead, ExitPlan, place_exits


def test_an_exit_costs_what_the_backbone_ran_and_every_head_that_was_passed(pair):
    plan = place_exits(pair.big, [7744, 17000])
    first, second = (macs(plan.head_layers(head)) for head in plan.heads)
    assert plan.exit_macs() == (
        macs(pair.big.layers(stop=plan.heads[0].after)) + first,
        macs(pair.big.layers(stop=plan.heads[1].after)) + first + second,
        macs(pair.big.layers()) + first + second,
    )


@pytest.mark.parametrize("target", [6000, 7744, 12000, 16000])
def test_an_exit_is_as_deep_as_its_macs_pay_for(pair, target):
    plan = place_exits(pair.big, [target])
    deeper = ExitPlan(backbone=pair.big, heads=(ExitHead(after=plan.heads[0].after + 1),))
    assert 0.5 * target < plan.exit_macs()[0] <= target < deeper.exit_macs()[0]


def test_what_the_place_leaves_of_the_macs_goes_into_the_heads_own_blocks(pair):
    plan = place_exits(pair.big, [7744])
    bare = ExitPlan(backbone=pair.big, heads=(ExitHead(after=plan.heads[0].after),))
    assert plan.heads[0].blocks
    assert plan.exit_macs()[0] > bare.exit_macs()[0]


@pytest.mark.parametrize("places", [(), (0,), (5,), (3, 2), (2, 2)])
def test_exits_that_are_not_inside_the_net_in_order_are_refused(pair, places):
    with pytest.raises(InvalidRequestError, match=r"of a backbone of 5; place them after 1 to 4, ascending"):
        ExitPlan(backbone=pair.big, heads=tuple(ExitHead(after=place) for place in places))


def test_a_head_that_reads_other_channels_than_it_is_given_is_refused(pair):
    (head,) = place_exits(pair.big, [7744]).heads
    block = replace(head.blocks[0], in_channels=head.blocks[0].in_channels + 8)
    with pytest.raises(InvalidRequestError, match="channels but is given"):
        ExitPlan(backbone=pair.big, heads=(replace(head, blocks=(block,)),))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([100], "no exit at 100 MACs: the first place left costs 4,688; give more MACs or fewer exits"),
        ([30000, 30001, 30002], "give more MACs or fewer exits"),
        ([38400], "an exit at 38,400 MACs of a backbone of 38,400 is no early one; give less than the backbone"),
    ],
)
def test_macs_that_no_place_reaches_are_refused(pair, targets, message):
    with pytest.raises(InvalidRequestError, match=message):
        place_exits(pair.big, targets)
