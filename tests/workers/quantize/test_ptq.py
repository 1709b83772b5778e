"""Both graphs in int8: what is rounded, what stays float, and that the answers are the float pair's."""

from __future__ import annotations

import weakref

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from nas_service.errors import InvalidRequestError
from nas_service.plan import COUPLINGS
from tests.workers.conftest import space_of
from tests.workers.test_export import calibrated, run, session
from workers.data.augment import normalise
from workers.evaluation import recalibrate
from workers.export import ExportedPair, export_pair
from workers.quantize.graph import float_nodes, with_batch_of_one, with_free_batch
from workers.quantize.ptq import METHODS, quantise, quantise_pair
from workers.quantize.running import run_pair
from workers.routers import SCORES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(digits) -> torch.Tensor:
    return normalise(digits.train_images[:1000], digits.mean, digits.std).contiguous()


@pytest.fixture(scope="module")
def labels(digits) -> np.ndarray:
    return digits.train_labels[:1000].numpy()


def finished(trained, context, coupling: str):
    supernet = trained[0]
    pair = supernet.extract(supernet.space.plan(supernet.space.extreme(coupling, largest=True)))
    recalibrate(pair, context.recalibration)
    return pair


def untrained(coupling: str = "stem", *, router: str = "margin") -> tuple[ExportedPair, torch.Tensor]:
    space = space_of("micro")
    pair, images = calibrated(space, space.plan(space.extreme(coupling, largest=True)))
    return export_pair(pair, router=router), images.contiguous()


def in_int8(models: ExportedPair, images: torch.Tensor, method: str = "minmax") -> ExportedPair:
    return quantise_pair(models, lambda: images.split(64), method=method)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_an_int8_pair_answers_like_the_float_pair(trained, context, images, labels, coupling):
    models = export_pair(finished(trained, context, coupling), router="margin")
    exact = run_pair(models, images.split(250), labels=labels)
    got = run_pair(in_int8(models, images[:256]), images.split(250), labels=labels)
    for half in ("little", "big"):
        assert got.accuracies[half] == pytest.approx(exact.accuracies[half], abs=0.02)
    agreement = got.outputs.escalated_logits.argmax(1) == exact.outputs.escalated_logits.argmax(1)
    assert agreement.float().mean() > 0.95


@pytest.mark.parametrize(
    "router", ["margin", pytest.param("msp", marks=pytest.mark.slow), pytest.param("entropy", marks=pytest.mark.slow)]
)
def test_int8_scores_are_as_many_as_float_scores(trained, context, images, labels, router):
    models = export_pair(finished(trained, context, "stem"), router=router)
    exact = run_pair(models, images.split(250), labels=labels)
    got = run_pair(in_int8(models, images[:256]), images.split(250), labels=labels)
    assert len(np.unique(got.scores)) >= 0.99 * len(np.unique(exact.scores))
    np.testing.assert_allclose(got.scores, SCORES[router](got.outputs.little_logits).numpy(), atol=1e-5)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_inputs_and_outputs_are_those_of_the_float_graphs(coupling):
    models, images = untrained(coupling)
    made = in_int8(models, images)
    for before, after in ((models.little, made.little), (models.big, made.big)):
        old, new = session(before), session(after)
        for of in ("get_inputs", "get_outputs"):
            want = [(v.name, v.shape, v.type) for v in getattr(old, of)()]
            assert [(v.name, v.shape, v.type) for v in getattr(new, of)()] == want
            assert {v.type for v in getattr(new, of)()} == {"tensor(float)"}


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_every_layer_is_in_int8_of_seven_bits_and_old_runtimes_load_it(coupling):
    models, images = untrained(coupling)
    made = in_int8(models, images)
    for data in (made.little, made.big):
        model = onnx.load_model_from_string(data)
        makers = {name: node for node in model.graph.node for name in node.output}
        weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
        assert layers
        assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (8, [("", 17)])
        for node in layers:
            assert [makers[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
            weight = weights[makers[node.input[1]].input[0]]
            assert weight.dtype == np.int8
            assert 60 < np.abs(weight.astype(int)).max() <= 64


@pytest.mark.parametrize("router", SCORES)
def test_nothing_after_the_logits_is_rounded(router):
    models, images = untrained(router=router)
    made = in_int8(models, images)
    for data, name in ((made.little, "logits"), (made.big, "little_logits")):
        model = onnx.load_model_from_string(data)
        reached, met = {name}, []
        for node in model.graph.node:
            if reached & set(node.input):
                reached |= set(node.output)
                met.append(node.op_type)
        assert met
        assert not {"QuantizeLinear", "DequantizeLinear"} & set(met)


def test_the_nodes_kept_in_float_are_the_routers_and_the_combinations():
    models, _ = untrained(router="margin")
    kinds = {}
    for data in (models.little, models.big):
        model = onnx.load_model_from_string(data)
        kept = set(float_nodes(model))
        kinds[data] = {node.op_type for node in model.graph.node if node.name in kept}
    assert {"Softmax", "TopK", "Sub"} <= kinds[models.little]
    assert kinds[models.little].isdisjoint({"Conv", "Gemm", "ReduceMean"})
    assert kinds[models.big] == {"Mul", "Add"}


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_many_images_at_once_give_what_a_board_computes_one_by_one(coupling):
    models, images = untrained(coupling)
    made = in_int8(models, images)
    single = run(made, images[:32].numpy())
    many = run_pair(made, [images[:32]], labels=np.zeros(32, dtype=np.int64))
    np.testing.assert_allclose(many.outputs.little_logits.numpy(), single["little"], atol=1e-5)
    np.testing.assert_allclose(many.outputs.escalated_logits.numpy(), single["big"], atol=1e-5)
    np.testing.assert_allclose(many.scores, single["score"], atol=1e-5)


def test_a_graph_with_its_batch_inside_is_run_image_by_image():
    node = onnx.helper.make_node("Reshape", ["image", "shape"], ["logits"])
    shape = numpy_helper.from_array(np.array([1, 4]), "shape")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [value("image", 1, [1, 1, 2, 2])], [value("logits", 1, [1, 4])], [shape]
    )
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    assert with_free_batch(model) is None


def test_freeing_the_batch_and_fixing_it_again_changes_no_shape():
    model = onnx.load_model_from_string(untrained()[0].little)
    free = with_free_batch(model)
    assert free is not None
    assert [v.type.tensor_type.shape.dim[0].dim_param for v in free.graph.input] == ["batch"]
    again = with_batch_of_one(free)
    assert list(again.graph.input) == list(model.graph.input)
    assert list(again.graph.output) == list(model.graph.output)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_graph_and_images_give_the_same_bytes_and_print_nothing(method, capfd):
    models, images = untrained()
    one, two = (in_int8(models, images, method) for _ in range(2))
    assert (one.little, one.big) == (two.little, two.big)
    assert capfd.readouterr() == ("", "")


def test_a_lower_percentile_clips_more():
    models, images = untrained()

    def image_scale(method: str) -> float:
        model = onnx.load_model_from_string(in_int8(models, images, method).little)
        return float(next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "image_scale"))

    assert image_scale("percentile-80") < image_scale("percentile-99.9") < image_scale("minmax")


def test_calibration_images_pass_through_one_batch_at_a_time():
    models, images = untrained()
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def batches():
        nonlocal most
        for chunk in images.split(8):
            copy = chunk.clone()
            most = max(most, sum(ref() is not None for ref in alive))
            alive.append(weakref.ref(copy))
            yield copy
            del copy

    quantise(models.little, lambda: ({"image": batch.numpy()} for batch in batches()), method="percentile-99.9")
    assert len(alive) == 8
    assert most <= 2


@pytest.mark.parametrize(
    ("images", "method", "message"),
    [
        (torch.zeros(0, 1, 8, 8), "minmax", "the calibration split is empty; quantising needs images to find ranges"),
        (torch.full((4, 1, 8, 8), torch.nan), "minmax", "image is not finite for some calibration images; train"),
        (torch.zeros(4, 1, 8, 8), "max", "unknown calibration method 'max'; choose one of: minmax, percentile-99.99"),
        (torch.zeros(4, 1, 8, 8), "percentile-101", "or percentile-P with P above 50"),
    ],
)
def test_what_cannot_be_quantised_is_said(images, method, message):
    models, _ = untrained()
    with pytest.raises(InvalidRequestError, match=message):
        quantise_pair(models, lambda: images.split(4) if len(images) else (), method=method)


def test_graphs_are_not_run_on_no_images():
    models, _ = untrained()
    with pytest.raises(InvalidRequestError, match="there are no images to run the graphs on; give a split with at"):
        run_pair(models, [], labels=np.zeros(0, dtype=np.int64))
