"""Halves as values, and the features that costs are predicted from: sums over layers, without weights."""

from __future__ import annotations

import numpy as np
import pytest

from nas_service.half import HalfStructure, halves_of
from nas_service.half_features import FEATURES, half_features, kind_of
from nas_service.layers import LayerRecord
from nas_service.pair_space import PairSpace
from nas_service.presets import TINY

SPACE = PairSpace(TINY, channels=3, resolution=32, classes=10)
CONV = LayerRecord(operation="conv", in_channels=8, out_channels=16, kernel=3, size=4)


def features(*layers, half="little", **carried):
    row = half_features([HalfStructure(half=half, layers=layers, **carried)])[0]
    return dict(zip(FEATURES, row, strict=True))


def test_the_halves_of_a_pair_are_its_little_and_what_escalation_adds():
    plan = SPACE.plan(SPACE.extreme("triangular", largest=True))
    halves = halves_of(plan)
    assert halves["little"].layers == plan.little.layers()
    assert halves["big"].layers == plan.tail_layers()


@pytest.mark.parametrize(("coupling", "passes"), [("independent", 0), ("nested", 0), ("stem", 1)])
def test_what_passes_between_halves_follows_from_the_coupling(coupling, passes):
    halves = halves_of(SPACE.plan(SPACE.extreme(coupling, largest=True)))
    assert {half.carried for half in halves.values()} == {passes}
    assert all((half.carried_values > 0) == (passes > 0) for half in halves.values())


def test_a_triangular_pair_passes_an_activation_for_each_layer_that_both_halves_have():
    halves = halves_of(SPACE.plan(SPACE.extreme("triangular", largest=True)))
    assert halves["big"].carried > 3


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "dense"),
        ({"kernel": 1}, "pointwise"),
        ({"groups": 8, "out_channels": 8}, "depthwise"),
        ({"groups": 8, "out_channels": 8, "kernel": 5}, "depthwise_wide"),
        ({"operation": "add", "kernel": 1, "in_channels": 16}, "add"),
    ],
)
def test_layers_are_of_the_kinds_that_runtimes_have_code_for(changes, kind):
    given = {"operation": "conv", "in_channels": 8, "out_channels": 16, "kernel": 3, "size": 4, **changes}
    assert kind_of(LayerRecord(**given)) == kind


def test_features_count_layers_macs_and_the_numbers_read_and_written():
    row = features(CONV, CONV)
    assert row["dense_layers"] == 2
    assert row["dense_macs"] == pytest.approx(2 * CONV.macs / 1e6)
    assert row["dense_values"] == pytest.approx(2 * (8 + 16) * 4**2 / 1e5)


def test_features_add_up_over_layers_beside_what_a_graph_costs_as_such():
    one, two = features(CONV), features(CONV, CONV)
    assert all(two[name] == pytest.approx(2 * one[name]) for name in FEATURES if name not in ("graph", "escalation"))
    assert (one["graph"], features(CONV, half="big")["escalation"]) == (1.0, 1.0)


def test_every_layer_of_a_real_pair_has_a_place_among_the_features():
    plan = SPACE.plan(SPACE.sample(np.random.default_rng(0)))
    row = features(*plan.little.layers())
    assert sum(row[n] for n in FEATURES if n.endswith("_layers")) == len(plan.little.layers())
