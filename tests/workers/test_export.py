from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nas_service.errors import InvalidRequestError
from nas_service.plan import COUPLINGS
from tests.workers.conftest import DEFINITIONS, space_of
from workers.errors import UncalibratedError
from workers.evaluation import infer, recalibrate
from workers.export import ExportedPair, export_big, export_little, export_pair
from workers.network import Pair
from workers.routers import SCORES
from workers.supernet import Supernet


def session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(models: ExportedPair, images: np.ndarray) -> dict[str, np.ndarray]:
    """Run both graphs image by image, as a board does."""
    little, big = session(models.little), session(models.big)
    results: dict[str, list[np.ndarray]] = {"little": [], "score": [], "big": []}
    for image in images:
        feed = {"image": image[None]}
        values = dict(zip([o.name for o in little.get_outputs()], little.run(None, feed), strict=True))
        known = {**feed, **values, "little_logits": values["logits"]}
        escalated = big.run(["logits"], {i.name: known[i.name] for i in big.get_inputs()})[0]
        for name, value in (("little", values["logits"]), ("score", values["score"]), ("big", escalated)):
            results[name].append(value)
    return {name: np.concatenate(values) for name, values in results.items()}


def calibrated(space, plan) -> tuple[Pair, torch.Tensor]:
    pair = Supernet(space).extract(plan)
    shape = (64, space.channels, space.resolution, space.resolution)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    recalibrate(pair, [images])
    return pair, images


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_graphs_decide_like_the_scored_outputs(trained, context, coupling):
    supernet = trained[0]
    pair = supernet.extract(supernet.space.plan(supernet.space.extreme(coupling, largest=True)))
    recalibrate(pair, context.recalibration)
    images = [*context.batches, *context.recalibration]
    outputs = infer(pair, images, labels=np.zeros(643, dtype=np.int64))
    got = run(export_pair(pair, router="margin"), torch.cat(images).contiguous().numpy())
    for name, expected in (("little", outputs.little_logits), ("big", outputs.escalated_logits)):
        np.testing.assert_allclose(got[name], expected.numpy(), atol=1e-4)
        assert (got[name].argmax(1) == expected.numpy().argmax(1)).all()
    thresholds = outputs.curve("margin").thresholds
    agreement = [(got["score"] < t) == (outputs.scores("margin") < t) for t in thresholds]
    assert np.mean(agreement) >= 0.999


@pytest.mark.parametrize("name", DEFINITIONS)
def test_random_pairs_of_every_space_come_out_the_same(name):
    space, rng = space_of(name), np.random.default_rng(0)
    for _ in range(3):
        pair, images = calibrated(space, space.plan(space.sample(rng)))
        with torch.inference_mode():
            little, escalated = pair(images[:8])
        got = run(export_pair(pair, router="msp"), images[:8].contiguous().numpy())
        np.testing.assert_allclose(got["little"], little.numpy(), atol=1e-4)
        np.testing.assert_allclose(got["big"], escalated.numpy(), atol=1e-4)


@pytest.mark.parametrize("router", SCORES)
def test_the_score_in_the_graph_is_the_routers(micro, router):
    pair, images = calibrated(micro, micro.plan(micro.extreme("stem", largest=False)))
    with torch.inference_mode():
        expected = SCORES[router](pair(images)[0])
    got = run(export_pair(pair, router=router), images.contiguous().numpy())["score"]
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("coupling", "outputs", "inputs"),
    [
        ("independent", ["logits", "score"], ["image", "little_logits"]),
        ("nested", ["logits", "score"], ["image", "little_logits"]),
        ("stem", ["logits", "score", "carry_stem"], ["carry_stem", "little_logits"]),
    ],
)
def test_inputs_and_outputs_have_the_names_and_static_shapes_of_the_contract(micro, coupling, outputs, inputs):
    plan = micro.plan(micro.extreme(coupling, largest=True))
    models = export_pair(calibrated(micro, plan)[0], router="margin")
    little, big = session(models.little), session(models.big)
    assert [(i.name, i.shape) for i in little.get_inputs()] == [("image", [1, 1, 8, 8])]
    assert [o.name for o in little.get_outputs()] == outputs
    assert [o.shape for o in little.get_outputs()][:2] == [[1, 10], [1]]
    assert [i.name for i in big.get_inputs()] == inputs
    assert [(o.name, o.shape) for o in big.get_outputs()] == [("logits", [1, 10])]


def test_graphs_load_on_old_runtimes_and_hold_folded_weights_alone(micro):
    plan = micro.plan(micro.extreme("stem", largest=True))
    models = export_pair(calibrated(micro, plan)[0], router="entropy")
    stored = 0
    for data in (models.little, models.big):
        model = onnx.load_model_from_string(data)
        assert model.ir_version <= 8
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
        assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
        stored += sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    assert plan.deployed_weights() <= stored <= plan.deployed_weights() + 8  # alpha and constants of the graph


def test_the_same_pair_gives_the_same_bytes_and_stays_as_it_is(micro):
    pair, images = calibrated(micro, micro.plan(micro.extreme("nested", largest=True)))
    with torch.inference_mode():
        before = pair(images)
    one, two = export_pair(pair, router="margin"), export_pair(pair, router="margin")
    with torch.inference_mode():
        after = pair(images)
    assert (one.little, one.big) == (two.little, two.big)
    assert all(torch.equal(b, a) for b, a in zip(before, after, strict=True))


def test_bytes_say_nothing_of_the_machine_that_made_them(micro):
    pair, _ = calibrated(micro, micro.plan(micro.extreme("stem", largest=True)))
    assert b".py" not in export_little(pair, router="margin")


@pytest.mark.parametrize("export", [lambda pair: export_little(pair, router="margin"), export_big])
def test_a_pair_without_statistics_is_not_exported(micro, export):
    with pytest.raises(UncalibratedError, match="call recalibrate before exporting it"):
        export(Supernet(micro).extract(micro.plan(micro.extreme("stem", largest=True))))


@pytest.mark.parametrize(
    ("router", "message"), [("oracle", "unknown router 'oracle'"), ("learned", "'learned' without a fitted module")]
)
def test_a_router_that_cannot_be_put_into_a_graph_is_refused(micro, router, message):
    pair, _ = calibrated(micro, micro.plan(micro.extreme("stem", largest=True)))
    with pytest.raises(InvalidRequestError, match=message):
        export_little(pair, router=router)
