from __future__ import annotations

from itertools import pairwise

import pytest

from nas_service.errors import InvalidRequestError
from workers.baselines.msdnet_plan import MsdPlan, match_macs

PLAN = MsdPlan(channels=3, resolution=32, classes=10)


def test_blocks_grow_linearly():
    assert MsdPlan(channels=3, resolution=32, classes=10, exits=4, base=2, step=1).block_sizes() == (2, 3, 4, 5)


def test_the_finest_scale_is_dropped_after_each_third_of_the_layers():
    layers = MsdPlan(channels=3, resolution=32, classes=10, exits=3, base=2, step=0).layers()
    assert [[part.scale for part in layer.scales] for layer in layers] == [
        [0, 1, 2],
        [0, 1, 2],
        [1, 2],
        [1, 2],
        [2],
        [2],
    ]
    assert [bool(layer.transition) for layer in layers] == [False, False, True, False, True, False]


def test_a_coarse_scale_takes_half_of_its_new_channels_from_the_finer_one():
    finest, *coarser = PLAN.layers()[0].scales
    assert (finest.finer, finest.same[-1].out_channels) == ((), 8)
    assert [(p.same[-1].out_channels, p.finer[-1].out_channels, p.finer[-1].stride) for p in coarser] == [
        (8, 8, 2),
        (16, 16, 2),
    ]


def test_every_layer_reads_what_all_layers_before_it_made():
    first, second = MsdPlan(channels=3, resolution=32, classes=10, exits=3, base=2, step=0).layers()[:2]
    for before, after in zip(first.scales, second.scales, strict=True):
        added = sum(path[-1].out_channels for path in (before.same, before.finer) if path)
        assert after.same[0].in_channels == before.same[0].in_channels + added


@pytest.mark.parametrize("exits", [3, 4, 5])
@pytest.mark.parametrize("target", [2.2e6, 12e6, 25e6])
def test_the_last_exit_matches_the_macs_asked_for(exits, target):
    plan = match_macs(MsdPlan(channels=3, resolution=32, classes=10, stem_stride=2, exits=exits), target)
    costs = plan.exit_macs()
    assert 0.9 * target <= costs[-1] <= target
    assert len(costs) == exits
    assert all(a < b for a, b in pairwise(costs))


def test_with_macs_enough_the_sources_own_scales_are_kept():
    assert match_macs(PLAN, 25e6).factors == (1, 2, 4)


def test_macs_that_no_msdnet_reaches_are_refused():
    small = MsdPlan(channels=1, resolution=8, classes=10)
    with pytest.raises(InvalidRequestError, match=r"no MSDNet of 3 exits comes near 38,400 MACs: the smallest costs"):
        match_macs(small, 38400)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4}, "give at least 8 channels"),
        ({"exits": 1}, "give at least 2, 2, 1 and 0"),
        ({"growth": 8, "factors": (1, 1)}, "halves to fewer than 8 channels at a coarser scale; give more growth"),
        ({"resolution": 4}, "images of 4x4 are too small for 3 scales; use fewer"),
    ],
)
def test_an_msdnet_that_cannot_be_is_refused(change, message):
    with pytest.raises(InvalidRequestError, match=message):
        MsdPlan(**{"channels": 3, "resolution": 32, "classes": 10, **change})
