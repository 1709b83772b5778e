from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_service.block import Block, unfold
from nas_service.errors import InvalidRequestError
from nas_service.feasibility import analytic_costs, check_feasible, smallest
from nas_service.layers import macs
from nas_service.pair_space import PairSpace, SpaceDefinition, StageChoices
from nas_service.plan import PairPlan
from nas_service.presets import MICRO, PRESETS, TINY
from nas_service.space import load_definition
from nas_service.triangle import TailBlock, tail_blocks

SHAPES = {"micro": (1, 8), "tiny": (3, 32)}
NARROW = SpaceDefinition(
    name="narrow",
    stem_widths=(8,),
    stem_stride=1,
    strides=(2,),
    little=(StageChoices(widths=(12,), depths=(1,)),),
    big=(StageChoices(widths=(16,), depths=(1,)),),
)


def space_of(name: str, **options) -> PairSpace:
    channels, resolution = SHAPES[name]
    definition = replace(PRESETS[name], couplings=("triangular",))
    return PairSpace(definition, channels=channels, resolution=resolution, classes=10, **options)


def random_plans(name: str, count: int) -> list[PairPlan]:
    space, rng = space_of(name), np.random.default_rng(0)
    return [space.plan(space.sample(rng)) for _ in range(count)]


def block(kind: str = "separable", slot: str = "stage0.0", *, read: int, write: int, **options) -> Block:
    return Block(kind=kind, in_channels=read, out_channels=write, bank="big", slot=slot, norm="x", **options)


STEM = block("conv", "stem.0", read=3, write=16)


def tails_of(little: list[Block], big: list[Block], *, side: int = 8) -> tuple[TailBlock, ...]:
    halves = ([(b, side) for b in (STEM, *half)] for half in (little, big))
    return tail_blocks(*halves, shared=1)


def widths(tail: TailBlock) -> list[tuple[int, int, int] | None]:
    """Channels read, channels written and channels that come before them, of each layer."""
    return [r and (r.in_channels, r.out_channels, layer.start) for layer in tail.layers for r in (layer.record,)]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("conv", [(32, 24, 24)]),
        ("separable", [(8, 8, 24), (32, 24, 24)]),
        ("residual", [(32, 24, 24), (48, 24, 24), (32, 24, 24), (24, 24, 24)]),
        ("inverted", [(32, 16, 48), (16, 16, 48), (64, 24, 24)]),
    ],
)
def test_the_tail_computes_the_channels_past_the_littles_from_all(kind, expected):
    little = [block(read=16, write=24), block(kind, "stage1.0", read=24, write=24, stride=2, expansion=2)]
    big = [block(read=16, write=32), block(kind, "stage1.0", read=32, write=48, stride=2, expansion=2)]
    assert widths(tails_of(little, big)[1]) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("conv", [(48, 24, 24)]),
        ("separable", [(48, 48, 0), (48, 24, 24), (24, 24, 24)]),
        ("residual", [(48, 48, 0), (48, 24, 24), (24, 24, 24)]),
        ("inverted", [(48, 96, 0), (96, 96, 0), (96, 24, 24), (24, 24, 24)]),
    ],
)
def test_inside_a_block_that_the_little_lacks_all_is_new_and_outside_the_littles_channels_stay(kind, expected):
    first = (block(read=16, write=24), block(read=16, write=48))
    tail = tails_of([first[0]], [first[1], block(kind, "stage0.1", read=48, write=48, expansion=2)])[1]
    assert tail.lacking
    assert widths(tail) == expected


def test_a_depthwise_layer_without_channels_of_its_own_is_not_there():
    tail = tails_of([block(read=16, write=24)], [block(read=16, write=48)])[0]
    assert widths(tail) == [None, (16, 24, 24)]


@pytest.mark.parametrize(
    ("little", "big", "message"),
    [
        (
            [block(read=16, write=28)],
            [block(read=16, write=32)],
            "has 32 channels and the little 28, but .* at least 8",
        ),
        ([block(read=16, write=24, kernel=5)], [block(read=16, write=32)], "separable 5 stride 1 in the little but"),
        ([block("conv", read=16, write=24)], [block(read=16, write=32)], "has the same in both"),
        ([block("conv", "stage9.0", read=16, write=24)], [block(read=16, write=32)], "not all among the big's"),
        ([], [block(read=16, write=32)], "lacks block stage0.0, which changes the resolution or the width"),
    ],
)
def test_a_little_that_is_no_part_of_the_big_is_refused(little, big, message):
    with pytest.raises(InvalidRequestError, match=message):
        tails_of(little, big)


@pytest.mark.parametrize("name", SHAPES)
def test_genes_fold_into_littles_that_are_part_of_the_big(name):
    space, rng = space_of(name), np.random.default_rng(1)
    for _ in range(200):
        point = space.fold(space.sample(rng))
        plan, shared = space.plan(point), space.plan(point).shared_blocks
        assert space.fold(point) == point
        assert plan.little.blocks[:shared] == plan.big.blocks[:shared]
        by_slot = {b.slot: b for b in plan.big.blocks}
        for b in plan.little.blocks[shared:]:
            twin = by_slot[b.slot]
            assert (b.kind, b.kernel, b.stride) == (twin.kind, twin.kernel, twin.stride)
            assert twin.out_channels - b.out_channels >= 8


def test_stages_of_equal_width_come_first_and_are_the_littles_alone():
    space = space_of("micro")
    point = {**space.extreme("triangular", largest=True), "big0_width": 16, "little0_width": 16}
    plan = space.plan(point)
    assert [b.slot for b in plan.big.blocks[: plan.shared_blocks]] == ["stem.0", "stem.1", "stage0.0"]
    assert space.fold({**point, "big0_depth": 1}) == space.fold({**point, "big0_depth": 2})
    tail_slots = {tail.block.slot for tail in plan.tail_blocks()}
    assert tail_slots == {"stage1.0", "stage1.1", "stage1.2"}


def test_after_a_wider_stage_of_the_big_no_stage_is_of_equal_width():
    space = space_of("micro")
    point = {**space.extreme("triangular", largest=True), "big0_width": 24, "little1_width": 24, "big1_width": 24}
    plan = space.plan(point)
    assert (plan.little.blocks[-1].out_channels, plan.big.blocks[-1].out_channels) == (16, 24)


@pytest.mark.parametrize("name", SHAPES)
def test_little_and_tail_cost_the_dense_big_less_the_weights_into_the_littles_channels(name):
    for plan in random_plans(name, 100):
        dense, little_head = macs(plan.big.layers()), macs(plan.little.head_layers())
        assert plan.tail_macs == macs(plan.tail_layers())
        assert plan.little_macs + plan.tail_macs == plan.big_macs + little_head
        assert plan.big_macs == dense - absent_macs(plan)
        assert plan.tail_macs < dense  # what escalation costs in a nested pair of these widths


def absent_macs(plan: PairPlan) -> int:
    """Return the MACs of the dense big's weights that lead from its own channels to the little's."""
    littles = {b.slot: unfold(b, size) for b, size in plan.little.sizes()}
    total = 0
    for b, size in list(plan.big.sizes())[plan.shared_blocks :]:
        records = [r for r in unfold(b, size) if r.operation == "conv"]
        mirrors = [r for r in littles.get(b.slot, ()) if r.operation == "conv"]
        for record, mirror in zip(records, mirrors, strict=bool(mirrors)):
            if record.groups == 1:
                pixels = record.kernel**2 * record.size**2
                total += pixels * mirror.out_channels * (record.in_channels - mirror.in_channels)
        if not mirrors:
            kept = next(t.start for t in plan.tail_blocks() if t.block.slot == b.slot)
            total += records[-1].kernel ** 2 * records[-1].size ** 2 * kept * records[-1].in_channels
    return total


def test_structures_differ_wherever_the_graphs_do():
    space = space_of("tiny")
    base = space.fold({**space.extreme("triangular", largest=True), "little1_depth": 1})
    deeper = space.fold({**base, "little1_depth": 2})
    wider = space.fold({**base, "big1_width": 112})
    keys = [space.plan(p).structures("margin") for p in (base, deeper, wider)]
    assert len({k["big"] for k in keys}) == len({k["little"] for k in keys[:2]}) + 1 == 3
    assert keys[0] == space.plan(base).structures("margin")


def test_the_little_of_a_triangular_pair_is_measured_with_what_it_carries():
    space = PairSpace(TINY, channels=3, resolution=32, classes=10)
    point = {**space.extreme("triangular", largest=False), "coupling": "triangular"}
    triangular = space.plan(point)
    alone = PairPlan(coupling="independent", little=triangular.little, big=triangular.little)
    assert triangular.structures("msp")["little"] != alone.structures("msp")["little"]


def test_constraints_are_met_where_only_a_wider_little_meets_them():
    free = space_of("tiny")
    least = min(analytic_costs(free.plan(p))["params"] for p in smallest(free))
    wider = min(
        analytic_costs(free.plan({**p, "little0_width": w, "little1_width": v}))["params"]
        for p in smallest(free)
        for w in (16, 24, 32, 40)
        for v in (32, 48, 64)
    )
    assert wider < least
    check_feasible(space_of("tiny", constraints={"params": wider}))
    with pytest.raises(InvalidRequestError, match=r"the smallest has \d+ \(coupling triangular\)"):
        check_feasible(space_of("tiny", constraints={"params": wider / 2}))


def test_a_space_whose_little_cannot_be_narrow_enough_is_refused():
    with pytest.raises(
        InvalidRequestError,
        match="smallest width 12 exceeds the big's 16 less 8, so not every big has",
    ):
        replace(NARROW, couplings=("triangular",))
    with pytest.raises(InvalidRequestError, match="has no coupling 'triangular'"):
        load_definition("tests.nas_service.test_triangle:NARROW", couplings=["triangular"])


@pytest.mark.parametrize("definition", [MICRO, TINY])
def test_presets_have_every_coupling(definition):
    assert set(definition.couplings) == {"independent", "stem", "nested", "triangular"}
