from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from nas_service.errors import InvalidRequestError
from workers.evaluation import EvaluationContext, fold, recalibrate
from workers.export import export_little
from workers.routing.features import pool_last_features
from workers.routing.learned import RouterData, fit_learned_router
from workers.routing.score_graph import with_learned_router

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["stem", "nested"])
def pair(request, micro, trained, data):
    """A trained, recalibrated pair, with normalised validation images."""
    pair = trained[0].extract(micro.plan(micro.extreme(request.param, largest=False)))
    context = EvaluationContext(data)
    recalibrate(pair, context.recalibration)
    return pair, torch.cat(context.batches)


def fitted(pair, images, *, kind="mlp", with_feature=True):
    plain = fold(pair)
    with torch.inference_mode():
        logits, _ = plain(images)
    pooled = pool_last_features(plain, [images]) if with_feature else None
    benefit = torch.arange(len(images)) % 3 == 0
    return fit_learned_router(RouterData(logits=logits, benefit=benefit, pooled=pooled), kind=kind), logits, pooled


def run(model: bytes, images: torch.Tensor) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(names, {"image": image[None].contiguous().numpy()}) for image in images]
    return {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(names)}


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
@pytest.mark.parametrize("with_feature", [False, True])
def test_the_graph_scores_as_the_router_does_and_says_the_same_otherwise(pair, kind, with_feature):
    module, images = pair
    router, logits, pooled = fitted(module, images, kind=kind, with_feature=with_feature)
    before = export_little(module, router="margin")
    got, old = run(with_learned_router(before, router), images), run(before, images)
    np.testing.assert_allclose(got["score"], router.scores(logits, pooled), atol=1e-3, rtol=1e-3)
    assert list(got) == list(old)
    for name in set(old) - {"score"}:
        np.testing.assert_array_equal(got[name], old[name])


def test_scores_keep_their_resolution(pair):
    module, images = pair
    router, *_ = fitted(module, images)
    scores = run(with_learned_router(export_little(module, router="msp"), router), images)["score"]
    assert len(np.unique(scores)) > 0.97 * len(scores)


def test_in_an_int8_graph_the_router_stays_in_float_and_keeps_its_resolution(pair, tmp_path):
    module, images = pair
    router, logits, pooled = fitted(module, images)
    (tmp_path / "float.onnx").write_bytes(export_little(module, router="msp"))
    feeds = iter([{"image": image[None].contiguous().numpy()} for image in images[:64]])
    reader = type("Reader", (CalibrationDataReader,), {"get_next": lambda self: next(feeds, None)})()
    quantize_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", reader)
    int8 = with_learned_router((tmp_path / "int8.onnx").read_bytes(), router)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load_model_from_string(int8).graph.node}
    scores = run(int8, images)["score"]
    assert len(np.unique(scores)) > 0.9 * len(scores)
    assert np.corrcoef(scores, router.scores(logits, pooled))[0, 1] > 0.9


def test_the_graph_keeps_to_the_contract_and_nothing_of_the_old_score_remains(pair):
    module, images = pair
    router, *_ = fitted(module, images, kind="logistic", with_feature=False)
    made = [with_learned_router(export_little(module, router=name), router) for name in ("msp", "entropy")]
    model, other = (onnx.load_model_from_string(data) for data in made)
    assert [node.op_type for node in model.graph.node] == [node.op_type for node in other.graph.node]
    assert made[0] == with_learned_router(export_little(module, router="msp"), router)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim] for o in model.graph.output}["score"] == [1]


def test_a_router_of_another_pair_does_not_fit(pair):
    little, benefit = export_little(pair[0], router="msp"), torch.arange(40) % 2 == 0
    classes = RouterData(logits=torch.randn(40, 7), benefit=benefit)
    features = RouterData(logits=torch.randn(40, 10), benefit=benefit, pooled=torch.randn(40, 3))
    for data, message in ((classes, "for 7 logits and 0 pooled"), (features, "for 10 logits and 3 pooled")):
        with pytest.raises(
            InvalidRequestError, match=f"{message} features does not fit .* fit it on this pair's outputs"
        ):
            with_learned_router(little, fit_learned_router(data))


def graph(output: str, *, operation: str = "Gemm") -> bytes:
    """Return a tiny graph from `image` (1, 3) to logits (1, 3), and `output`."""
    weights = helper.make_tensor("weights", TensorProto.FLOAT, (3, 3), np.eye(3).ravel().tolist())
    nodes = [
        helper.make_node(operation, ["image", "weights"], ["logits"]),
        helper.make_node("ReduceMax", ["logits"], [output], axes=[1], keepdims=0),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
              (("image", (1, 3)), ("logits", (1, 3)), (output, (1,)))]  # fmt: skip
    made = helper.make_graph(nodes, "little", values[:1], values[1:], [weights])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_a_graph_without_a_score_is_refused():
    data = RouterData(logits=torch.randn(40, 3), benefit=torch.arange(40) % 2 == 0)
    with pytest.raises(InvalidRequestError, match="give a little with `logits` and `score`"):
        with_learned_router(graph("certainty"), fit_learned_router(data))


def test_a_head_that_is_no_linear_layer_shows_no_feature():
    data = RouterData(logits=torch.randn(40, 3), benefit=torch.arange(40) % 2 == 0, pooled=torch.randn(40, 3))
    with pytest.raises(InvalidRequestError, match="logits come from Add, not from a linear layer"):
        with_learned_router(graph("score", operation="Add"), fit_learned_router(data))
