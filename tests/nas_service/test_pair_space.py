from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace, SpaceDefinition, StageChoices
from nas_service.plan import COUPLINGS, PairPlan
from nas_service.presets import MICRO, MOBILE, PRESETS, SMALL, TINY
from nas_service.space import load_definition

SHAPES = {"micro": (1, 8), "tiny": (3, 32), "small": (3, 32), "mobile": (3, 96)}


def space_of(name: str, **options) -> PairSpace:
    channels, resolution = SHAPES[name]
    return PairSpace(PRESETS[name], channels=channels, resolution=resolution, classes=10, **options)


def computed(plan: PairPlan) -> tuple[object, ...]:
    """Everything that distinguishes one pair from another: what is computed, and with which weights."""
    addresses = [(b.bank, b.slot, b.kind, b.norm) for half in (plan.little, plan.big) for b in half.blocks]
    return plan.coupling, plan.shared_blocks, plan.little.layers(), plan.big.layers(), plan.tail_layers(), addresses


@pytest.mark.parametrize("name", PRESETS)
def test_extremes_and_random_points_of_every_preset_decode_and_folding_is_final(name):
    space, rng = space_of(name), np.random.default_rng(0)
    extremes = [space.extreme(c, largest=large) for c in COUPLINGS for large in (True, False)]
    for point in [*extremes, *(space.sample(rng) for _ in range(200))]:
        folded = space.fold(point)
        assert space.fold(folded) == folded
        assert space.plan(folded) == space.plan(point)
        assert all(folded[name] in values for name, values in space.choices.items())


@pytest.mark.parametrize("name", PRESETS)
def test_genes_that_change_nothing_do_not_distinguish_candidates_and_the_others_do(name):
    space, rng = space_of(name), np.random.default_rng(1)
    for coupling in COUPLINGS:
        point = {**space.sample(rng), "coupling": coupling}
        here, phenotype = computed(space.plan(point)), space.phenotype(point)
        for other in space.neighbours(point):
            assert (computed(space.plan(other)) == here) == (space.phenotype(other) == phenotype), other


@pytest.mark.parametrize("name", PRESETS)
def test_the_smallest_pair_of_a_coupling_costs_less_than_the_largest_in_every_way(name):
    space = space_of(name)
    for coupling in COUPLINGS:
        small, large = (space.plan(space.extreme(coupling, largest=x)).costs() for x in (False, True))
        assert all(small[cost] < large[cost] for cost in small)


def test_halves_of_small_lie_in_the_regime_of_microcontrollers():
    space, rng = space_of("small"), np.random.default_rng(0)
    plans = [space.plan(space.sample(rng)) for _ in range(100)]
    assert 1e6 < np.median([p.little_macs for p in plans]) < 3e6
    assert 12e6 < np.median([p.big_macs for p in plans]) < 25e6


def test_mobile_has_every_choice_of_its_kind():
    genes = space_of("mobile").choices
    assert genes["big2_kernel"] == (3, 5, 7)
    assert genes["big2_expansion"] == (3, 4, 6)
    assert genes["big2_kind"] == ("inverted", "inverted_se")
    assert genes["little_resolution"] == (48, 72, 96)
    assert {"coupling", "stem_depth", "stem_width", "little0_width", "little0_depth"} <= set(genes)


@pytest.mark.parametrize("coupling", ["independent", "nested"])
def test_a_little_that_starts_from_the_image_may_see_it_smaller(coupling):
    space = space_of("mobile")
    point = {**space.extreme(coupling, largest=False), "little_resolution": 72}
    plan, whole = space.plan(point), space.plan({**point, "little_resolution": 96})
    assert [plan.little.resized, plan.big.resized, whole.little.resized] == [72, None, None]
    resize = plan.little.layers()[0]
    assert (resize.operation, resize.size, resize.macs, resize.params) == ("resize", 72, 0, 0)
    assert next(size for _, size in plan.little.sizes()) == 72
    assert plan.little_macs < whole.little_macs
    assert (plan.params(), plan.tail_macs) == (whole.params(), whole.tail_macs)
    assert plan.structures("msp")["little"] != whole.structures("msp")["little"]


@pytest.mark.parametrize("coupling", ["stem", "triangular"])
def test_a_little_whose_work_the_big_uses_sees_the_whole_image(coupling):
    space = space_of("mobile")
    points = [{**space.extreme(coupling, largest=True), "little_resolution": side} for side in (48, 96)]
    assert len({space.phenotype(point) for point in points}) == 1
    plan = space.plan(points[0])
    assert plan.little.resized is None
    with pytest.raises(InvalidRequestError, match=f"a {coupling} pair cannot resize the image"):
        replace(plan, little=replace(plan.little, resized=48))


@pytest.mark.parametrize("side", [15, 32])
def test_an_image_is_resized_to_no_less_than_half_and_to_less_than_itself(side):
    plan = space_of("tiny").plan(space_of("tiny").extreme("independent", largest=True))
    with pytest.raises(InvalidRequestError, match=f"of side 32 cannot be resized to {side}; choose a side from 0.5"):
        replace(plan.little, resized=side)


@pytest.mark.parametrize(
    ("name", "side", "needs"), [("micro", 3, 4), ("tiny", 7, 8), ("small", 7, 8), ("mobile", 63, 64)]
)
def test_images_that_are_too_small_are_refused_with_the_side_that_is_needed(name, side, needs):
    message = rf"images of {side}x{side} are too small for space '{name}', .* needs {needs}; use larger images"
    with pytest.raises(InvalidRequestError, match=message):
        PairSpace(PRESETS[name], channels=3, resolution=side, classes=10)
    space = PairSpace(PRESETS[name], channels=3, resolution=needs, classes=10)
    assert all(space.plan(space.extreme(c, largest=False)).little_macs > 0 for c in COUPLINGS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"couplings": ()}, "has no coupling; choose from: independent, stem, nested, triangular"),
        ({"couplings": ("lateral",)}, "unknown coupling 'lateral'; choose from"),
        ({"strides": (2,)}, "has 1 strides, 2 little and 2 big stages; give as many of each"),
        ({"strides": (2, 3)}, r"strides are 1 and \(2, 3\) but must be 1 or 2"),
        ({"little_scales": (0.4, 1.0)}, r"little_scales are \(0.4, 1.0\) but must ascend from 0.5 at least to 1"),
        ({"little_scales": (0.5,)}, "must ascend from 0.5 at least to 1 itself"),
        (
            {"little": MICRO.big, "big": MICRO.little},
            "the little's smallest width 16 exceeds the big's 8, so not every big has a nested little",
        ),
        (
            {"little": (replace(MICRO.little[0], kinds=("separabel",)), MICRO.little[1])},
            "unknown stage kind 'separabel'; choose one of: separable, fused, residual,",
        ),
        (
            {"little": (replace(MICRO.little[0], expansions=(2,)), MICRO.little[1])},
            "the little's smallest expansion 2 exceeds the big's 1, so not every big has a nested little",
        ),
    ],
)
def test_a_definition_that_has_no_legal_pair_is_refused(changes, message):
    with pytest.raises(InvalidRequestError, match=message):
        replace(MICRO, **changes)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"widths": ()}, r"stage widths are \(\) but must be ascending, without repeats, at least one"),
        ({"widths": (16, 8)}, "must be ascending"),
        ({"kinds": ("separable", "separable")}, r"stage kinds are .* without repeats"),
        ({"widths": (4, 8)}, r"stage widths \(4, 8\) must be at least 8"),
        ({"depths": (0, 1)}, r"depths \(0, 1\) at least 1"),
    ],
)
def test_choices_of_a_stage_that_make_no_block_are_refused(choices, message):
    with pytest.raises(InvalidRequestError, match=message):
        StageChoices(**{"widths": (8,), "depths": (1,), **choices})


def test_a_checkpoint_outlives_kinds_of_choices_that_its_space_does_not_use():
    definition = SpaceDefinition(
        name="plain", stem_widths=(8,), stem_stride=1, strides=(2,), little=MICRO.little[:1], big=MICRO.big[:1]
    )
    assert definition.hash() == "30a9f8cea7649a17eddf4df338cce80eb5511d58107747c69072c56d840f6ecd"
    assert replace(definition, activation="silu").hash() != definition.hash()
    assert replace(definition, little_scales=(0.75, 1.0)).hash() != definition.hash()
    assert replace(definition, blocks="a.b:C").hash() != definition.hash()


def test_a_space_has_one_activation_and_every_layer_that_had_a_relu_has_it():
    definition = load_definition("micro", activation="hardswish")
    relu, hardswish = (PairSpace(space, channels=1, resolution=8, classes=10) for space in (MICRO, definition))
    point = relu.extreme("stem", largest=True)
    kinds = [[layer.activation for layer in space.plan(point).big.layers()] for space in (relu, hardswish)]
    assert "relu" in kinds[0]
    assert kinds[1] == [kind and "hardswish" for kind in kinds[0]]


def test_an_activation_that_there_is_not_is_refused():
    with pytest.raises(InvalidRequestError, match="activation is 'tanh'; choose one of: relu, hardswish, silu"):
        load_definition("micro", activation="tanh")


def test_presets_differ_in_hash_and_are_found_by_name():
    assert len({definition.hash() for definition in (MICRO, TINY, SMALL, MOBILE)}) == 4
    assert all(load_definition(name) is definition for name, definition in PRESETS.items())
    with pytest.raises(InvalidRequestError, match=r"unknown space 'mobil'; did you mean 'mobile'\?"):
        load_definition("mobil")
