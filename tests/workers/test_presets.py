"""The presets `small` and `mobile`, at sides that keep tests short; the same records make them at their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nas_service.layers import params
from nas_service.pair_space import PairSpace
from nas_service.plan import COUPLINGS, PairPlan
from nas_service.presets import PRESETS
from tests.workers.test_export import calibrated, run
from tests.workers.test_network import measured_macs
from workers.export import export_pair
from workers.network import Network, Pair
from workers.supernet import Supernet

SIDES = {"small": 32, "mobile": 64}
RANDOM_PAIRS = 12


def space_of(name: str) -> PairSpace:
    return PairSpace(PRESETS[name], channels=3, resolution=SIDES[name], classes=10)


def extremes(space: PairSpace) -> list[PairPlan]:
    return [space.plan(space.extreme(c, largest=large)) for c in COUPLINGS for large in (True, False)]


def assert_modules_are_the_records(plan: PairPlan) -> None:
    """Build the pair, with whatever its memory holds for weights, run it once, and count."""
    with torch.device("meta"):
        pair = Pair(plan)
    pair.to_empty(device="cpu").eval()
    image = torch.zeros(1, 3, plan.little.resolution, plan.little.resolution)
    assert measured_macs(pair, image=image) == plan.little_macs + plan.tail_macs
    assert sum(p.numel() for p in pair.little.parameters()) == params(plan.little.layers())
    both = [*plan.little.layers(), *plan.tail_layers()]
    assert sum(p.numel() for p in pair.parameters()) == params(both)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_modules_of_the_extremes_have_the_macs_and_parameters_of_their_records(name):
    for plan in extremes(space_of(name)):
        assert_modules_are_the_records(plan)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_modules_of_random_pairs_have_the_macs_and_parameters_of_their_records(name):
    space, rng = space_of(name), np.random.default_rng(0)
    for _ in range(RANDOM_PAIRS):
        assert_modules_are_the_records(space.plan(space.sample(rng)))


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_extracted_pairs_compute_what_the_supernet_does(name):
    space, rng = space_of(name), np.random.default_rng(2)
    supernet, x = Supernet(space), torch.randn(4, 3, SIDES[name], SIDES[name])
    for coupling in COUPLINGS:
        plan = space.plan({**space.sample(rng), "coupling": coupling})
        with torch.no_grad():
            torch.testing.assert_close(supernet.extract(plan).train()(x), supernet(x, plan), atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_graphs_of_mobile_decide_like_torch(coupling):
    space = PairSpace(PRESETS["mobile"], channels=3, resolution=64, classes=10)
    kinds = {name: "inverted_se" for name in space.names if name.endswith("_kind")}
    plan = space.plan({**space.extreme(coupling, largest=False), **kinds, "little_resolution": 48})
    pair, images = calibrated(space, plan)
    with torch.inference_mode():
        little, escalated = pair(images)
    models = export_pair(pair, router="msp")
    got = run(models, images.contiguous().numpy())
    for name, expected in (("little", little), ("big", escalated)):
        np.testing.assert_allclose(got[name], expected.numpy(), atol=1e-4)
        assert (got[name].argmax(1) == expected.argmax(1).numpy()).all()
    assert (b"Resize" in models.little) == (coupling in ("independent", "nested"))
    assert b"HardSigmoid" in models.little


def test_a_little_that_sees_the_image_smaller_is_the_same_net_on_the_resized_image():
    space = PairSpace(PRESETS["mobile"], channels=3, resolution=64, classes=10)
    plan = space.plan({**space.extreme("independent", largest=False), "little_resolution": 32})
    pair = Pair(plan).eval()
    alone = Network(space.plan({**space.extreme("independent", largest=False), "little_resolution": 64}).little).eval()
    alone.load_state_dict(pair.little.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(
            pair(x)[0], alone(F.avg_pool2d(x, 2))
        )  # at half the side, bilinear is the mean of four


def test_a_gate_scales_each_channel_by_the_hard_sigmoid_of_what_pooling_makes_of_it():
    space = PairSpace(PRESETS["mobile"], channels=3, resolution=64, classes=10)
    plan = space.plan({**space.extreme("independent", largest=False), "big0_kind": "inverted_se"})
    block = Pair(plan).eval().big.blocks[1]
    expand, filter_, _, squeeze, excite, _, project = list(block.units)
    x = torch.randn(2, block.units[0].convolution.in_channels, 8, 8)
    with torch.inference_mode():
        y = filter_(expand(x))
        gate = F.relu6(excite(squeeze(y.mean((2, 3), keepdim=True))) + 3) / 6
        torch.testing.assert_close(block(x), project(y * gate))
