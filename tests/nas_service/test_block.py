from __future__ import annotations

import pytest

from nas_service.block import BLOCKS, Block, block_kinds, block_totals, reads, squeeze_width, unfold
from nas_service.errors import InvalidRequestError
from nas_service.layers import LayerRecord, totals

HERE = "tests.nas_service.test_block"
NOT_A_TABLE = 7


def grouped(block: Block, size: int) -> tuple[LayerRecord, ...]:
    """A convolution in four groups."""
    return (
        LayerRecord(
            operation="conv", in_channels=block.in_channels, out_channels=block.out_channels, size=size, groups=4
        ),
    )


def dense(block: Block, size: int) -> tuple[LayerRecord, ...]:
    return (LayerRecord(operation="linear", in_channels=block.in_channels, out_channels=block.out_channels),)


OWN = {"grouped": grouped, "dense": dense}
TAKEN = {"conv": grouped}


def block(kind: str, *, read: int = 16, write: int = 16, **options) -> Block:
    return Block(kind=kind, in_channels=read, out_channels=write, bank="big", slot="stage1.0", norm="big", **options)


def steps(records: tuple[LayerRecord, ...]) -> list[tuple[str, int, int, int]]:
    return [(r.operation, r.in_channels, r.out_channels, r.size) for r in records]


def test_squeeze_and_excitation_pools_squeezes_to_a_quarter_excites_and_scales():
    records = unfold(block("inverted_se", write=24, expansion=4, stride=2), 16)
    assert steps(records) == [
        ("conv", 16, 64, 16),
        ("conv", 64, 64, 8),
        ("pool", 64, 64, 1),
        ("conv", 64, 16, 1),
        ("conv", 16, 64, 1),
        ("scale", 64, 64, 8),
        ("conv", 64, 24, 8),
    ]
    assert [r.activation for r in records[2:6]] == [None, "relu", None, None]


@pytest.mark.parametrize(("plain", "gated"), [("separable", "separable_se"), ("inverted", "inverted_se")])
def test_squeeze_and_excitation_costs_two_layers_on_one_pixel(plain, gated):
    without, with_ = (block_totals(block(kind, read=32, write=32, expansion=1), 8) for kind in (plain, gated))
    width, inner = 32, 8
    assert with_.macs - without.macs == 2 * width * inner
    assert with_.deployed_weights - without.deployed_weights == 2 * width * inner + inner + width
    assert with_.params - without.params == 2 * width * inner + 2 * (inner + width)


@pytest.mark.parametrize(("channels", "width"), [(8, 8), (16, 8), (64, 16), (72, 16), (96, 24), (144, 32), (1344, 336)])
def test_the_squeeze_has_at_least_8_channels_and_steps_of_8(channels, width):
    assert squeeze_width(channels) == width


def test_wider_blocks_never_squeeze_narrower():
    widths = [squeeze_width(channels) for channels in range(8, 1500)]
    assert widths == sorted(widths)
    assert not [width for width in widths if width % 8]


@pytest.mark.parametrize("kind", BLOCKS)
def test_totals_are_the_sums_over_the_layers(kind):
    assert block_totals(block(kind, expansion=2), 8) == totals(unfold(block(kind, expansion=2), 8))


def test_which_genes_a_kind_reads_is_seen_in_its_layers():
    assert {kind for kind in BLOCKS if reads(kind, "expansion")} == {"inverted", "inverted_se"}
    assert all(reads(kind, "kernel") for kind in BLOCKS)
    assert not reads("grouped", "kernel", table=f"{HERE}:OWN")


def test_a_table_adds_the_users_kinds_to_those_there_are():
    table = f"{HERE}:OWN"
    assert set(block_kinds(table)) == {*BLOCKS, "grouped", "dense"}
    assert unfold(block("grouped", table=table), 4)[0].groups == 4
    assert unfold(block("separable", table=table), 4) == unfold(block("separable"), 4)


def test_widths_that_groups_do_not_divide_are_refused_with_the_block_that_has_them():
    message = r"block stage1.0 of kind 'grouped': 16 channels in, 18 out: not divisible into 4 groups; choose widths"
    with pytest.raises(InvalidRequestError, match=message):
        unfold(block("grouped", write=18, table=f"{HERE}:OWN"), 4)


def test_a_layer_that_no_block_may_have_is_refused():
    with pytest.raises(InvalidRequestError, match="'dense' has a layer of operation 'linear'; choose from: conv, add,"):
        unfold(block("dense", table=f"{HERE}:OWN"), 4)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("no.such.module:TABLE", r"cannot be imported: No module named .*; give package.module:object"),
        (f"{HERE}:MISSING", "cannot be imported: .*MISSING"),
        (HERE, "cannot be imported"),
        (f"{HERE}:NOT_A_TABLE", "is a int but must map block kinds to functions"),
        (f"{HERE}:TAKEN", "defines 'conv', which there is already; choose another name"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(table, message):
    with pytest.raises(InvalidRequestError, match=message):
        block_kinds(table)


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(InvalidRequestError, match="unknown block kind 'mixer'; choose one of: conv, separable,"):
        unfold(block("mixer"), 8)
