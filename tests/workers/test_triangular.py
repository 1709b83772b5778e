"""What makes a pair triangular: the big goes on from the little's activations and computes only what they lack."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

from edge_agent.runtime import Pair as DeployedPair
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from tests.workers.conftest import DEFINITIONS
from tests.workers.test_export import run, session
from workers.bundle import BundleOptions, build_bundle
from workers.evaluation import evaluate, infer, recalibrate
from workers.export import export_pair
from workers.network import Network, Pair
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import fine_tune


def triangular(name: str) -> PairSpace:
    definition, channels, resolution = DEFINITIONS[name]
    definition = replace(definition, couplings=("triangular",))
    return PairSpace(definition, channels=channels, resolution=resolution, classes=10)


def random_plans(space: PairSpace, count: int) -> list[PairPlan]:
    rng = np.random.default_rng(0)
    extremes = [space.extreme("triangular", largest=large) for large in (True, False)]
    return [space.plan(point) for point in [*extremes, *(space.sample(rng) for _ in range(count))]]


def images(space: PairSpace, count: int = 8) -> Tensor:
    shape = (count, space.channels, space.resolution, space.resolution)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)


def calibrated(space: PairSpace, plan: PairPlan) -> Pair:
    pair = Supernet(space).extract(plan)
    recalibrate(pair, [images(space, 32)])
    return pair


class Reads(dict[str, Tensor]):
    """Tensors by name, and the names that were asked for."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__(tensors)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.names.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_inside_the_big_the_littles_activations_are_those_of_the_little_alone(name):
    space, x = triangular(name), images(triangular(name))
    for plan in random_plans(space, 8):
        pair = calibrated(space, plan)
        alone = Network(plan.little).eval()
        alone.load_state_dict(pair.little.state_dict())
        with torch.inference_mode():
            logits, carried = pair.answer(x)
            reads = Reads(carried)
            pair.escalate(reads, logits)
            expected = activations_of(alone, x)
        assert "carry_pool" in reads.names
        for read in reads.names:
            torch.testing.assert_close(carried[read], expected[read], atol=1e-6, rtol=0)


def activations_of(network: Network, x: Tensor) -> dict[str, Tensor]:
    """Return the outputs of blocks and of their layers, by hooks, under the names of the contract."""
    found: dict[str, Tensor] = {}

    def keep(name: str):
        return lambda module, inputs, output: found.update({name: output.clone()})

    for block in network.blocks:
        name = f"carry_{block.slot.replace('.', '_')}"
        block.register_forward_hook(keep(name))
        for index, unit in enumerate(block.units):
            unit.register_forward_hook(keep(f"{name}_{index}"))
    network(x)
    return {**found, "carry_pool": found[name].mean((2, 3))}


@pytest.mark.parametrize("name", ["micro", "tiny"])
def test_the_bigs_own_channels_read_the_littles_and_each_other(name):
    space, x = triangular(name), images(triangular(name))
    plans = [p for p in random_plans(space, 24) if {t.block.kind for t in p.tail_blocks()} <= {"conv", "separable"}]
    assert len(plans) > 5
    for plan in plans:
        pair = calibrated(space, plan)
        with torch.inference_mode():
            little, escalated = pair(x)
            expected = by_hand(pair, x) + pair.alpha * little
        torch.testing.assert_close(escalated, expected, atol=1e-5, rtol=1e-4)


def by_hand(pair: Pair, x: Tensor) -> Tensor:
    """Return the big's logits, block by block, for kinds `conv` and `separable`."""
    littles = {block.slot: block for block in pair.little.blocks}
    theirs, own = pair.little.features(x, pair.shared_blocks), torch.zeros(0)
    for tail, block in zip(pair.plan.tail_blocks(), pair.big.blocks, strict=True):
        present = iter(block.units)
        units = [None if layer.record is None else next(present) for layer in tail.layers]
        twin = littles.get(tail.block.slot)
        both = torch.cat((theirs, own), 1) if own.numel() else theirs
        if tail.block.kind == "conv":
            own, theirs = units[0](both), twin(theirs) if twin else theirs
            continue
        depthwise, pointwise, *add = units
        if twin:
            filtered = twin.units[0](theirs)
            mixed = pointwise(torch.cat((filtered, depthwise(own)), 1) if depthwise else filtered)
        else:
            mixed = pointwise(depthwise(both))
        own, theirs = add[0](mixed, own) if add else mixed, twin(theirs) if twin else theirs
    return pair.big.head(torch.cat((theirs, own), 1).mean((2, 3)))


@pytest.mark.parametrize("name", DEFINITIONS)
def test_neither_graph_computes_more_than_its_records_so_nothing_of_the_little_twice(name):
    space = triangular(name)
    for plan in random_plans(space, 3):
        models = export_pair(calibrated(space, plan), router="margin")
        assert macs_of(models.little) == plan.little_macs
        assert macs_of(models.big) == plan.tail_macs
        big = onnx.load_model_from_string(models.big)
        inputs = {value.name for value in big.graph.input}
        assert "image" not in inputs
        assert all(name == "little_logits" or name.startswith("carry_") for name in inputs)
        assert inputs <= {name for node in big.graph.node for name in node.input}
        littles = {value.name for value in onnx.load_model_from_string(models.little).graph.output}
        assert inputs - {"little_logits"} == littles - {"logits", "score"}


def macs_of(data: bytes) -> int:
    """Count in the graph: every weight is used once for each output pixel."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data)).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.value_info, *graph.output)}
    nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return sum(weights[node.input[1]].size * int(np.prod(shapes[node.output[0]][2:])) for node in nodes)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_gradients_reach_every_part(name):
    space = triangular(name)
    plan = space.plan(space.extreme("triangular", largest=True))
    pair = Supernet(space).extract(plan).train()
    little, escalated = pair(images(space))
    (little.logsumexp(1).sum() + escalated.logsumexp(1).sum()).backward()
    assert not [name for name, p in pair.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_what_the_big_learns_reaches_the_little_through_what_is_carried_but_not_through_its_logits():
    space = triangular("micro")
    supernet, plan = Supernet(space), space.plan(space.extreme("triangular", largest=True))
    supernet(images(space), plan)[1].square().sum().backward()
    touched = {name for name, p in supernet.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert any(name.startswith("scales.") and name.endswith("/triangular") for name in touched)
    assert {"heads.tail", "alphas.triangular"} <= touched
    assert "heads.triangular" not in touched


def test_no_weight_leads_from_the_bigs_own_channels_to_the_littles():
    space = triangular("micro")
    supernet, plan = Supernet(space), space.plan(space.extreme("triangular", largest=True))
    little, big = plan.little.blocks[-1], plan.big.blocks[-3]
    assert (little.slot.split(".")[0], big.slot) == ("stage1", "stage1.0")
    supernet(images(space), plan)[1].square().sum().backward()
    gradient = supernet.weights["big/stage1_0/residual/0"].grad
    assert gradient is not None
    assert gradient[: little.out_channels, plan.little.blocks[-3].out_channels :].abs().sum() == 0
    assert gradient[little.out_channels :].abs().sum() > 0


@pytest.fixture(scope="module")
def learnt(digits, splits) -> tuple[Supernet, PairPlan]:
    """A micro pair after three epochs alone, the big deeper than the little."""
    space = triangular("micro")
    plan = space.plan({**space.extreme("triangular", largest=True), "little1_depth": 1})
    assert any(tail.lacking for tail in plan.tail_blocks())
    supernet = Supernet(space)
    list(fine_tune(supernet, plan, digits, splits, TrainConfig(epochs=3, batch_size=64)))
    return supernet, plan


def test_a_triangular_pair_learns_and_the_big_adds_to_the_little(learnt, context):
    evaluation = evaluate(*learnt, context)
    assert evaluation.big_accuracy > 0.8
    assert evaluation.big_accuracy >= evaluation.little_accuracy


@pytest.fixture
def bundle(learnt, context, digits, splits, tmp_path) -> Path:
    pair = learnt[0].extract(learnt[1])
    recalibrate(pair, context.recalibration)
    data = build_bundle(pair, digits, splits, BundleOptions(router="margin"), candidate="cand-1").data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_deployed_pair_carries_by_name_and_computes_what_the_cluster_did(bundle, digits):
    with DeployedPair.load(bundle, operating_point="always") as pair:
        report = pair.verify_parity()
        picture = digits.test_images[0].permute(1, 2, 0).contiguous().numpy()
        assert pair.predict(picture).route == "big"
    assert (report.route_mismatches, report.label_mismatches) == (0, 0)
    assert report.n > 30
    assert report.max_abs_error < 1e-4


def test_graphs_of_a_lacking_block_decide_like_the_scored_outputs(learnt, context):
    pair = learnt[0].extract(learnt[1])
    recalibrate(pair, context.recalibration)
    outputs = infer(pair, context.batches, labels=context.labels)
    models = export_pair(pair, router="margin")
    got = run(models, torch.cat(context.batches).contiguous().numpy())
    np.testing.assert_allclose(got["big"], outputs.escalated_logits.numpy(), atol=1e-4)
    assert (got["big"].argmax(1) == outputs.escalated_logits.numpy().argmax(1)).all()
    decided = [(got["score"] < t) == (outputs.scores("margin") < t) for t in outputs.curve("margin").thresholds]
    assert np.mean(decided) >= 0.999
    assert {o.name for o in session(models.little).get_outputs()} > {"logits", "score", "carry_pool"}
