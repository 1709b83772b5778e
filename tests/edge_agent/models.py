"""Small real ONNX models (opset 17, IR 8), made with onnx.helper."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def _weights(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(values.astype(np.float32), name)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    weights: list[onnx.TensorProto],
) -> bytes:
    def infos(values: dict[str, list[int]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()]

    graph = helper.make_graph(nodes, "graph", infos(inputs), infos(outputs), weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def little_model(*, classes: int = 3, size: int = 8, channels: int = 8) -> bytes:
    """image -> logits, score (largest probability), carry_stem."""
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["stem"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["stem"], ["carry_stem"]),
        helper.make_node("GlobalAveragePool", ["carry_stem"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("ReduceMax", ["probabilities"], ["score"], axes=[1], keepdims=0),
    ]
    outputs = {"logits": [1, classes], "score": [1], "carry_stem": [1, channels, size, size]}
    weights = [_weights("w", channels, 3, 3, 3), _weights("head", channels, classes, seed=1)]
    return _model(nodes, {"image": [1, 3, size, size]}, outputs, weights)


def big_model(*, classes: int = 3, size: int = 8, channels: int = 8) -> bytes:
    """carry_stem, little_logits -> logits."""
    nodes = [
        helper.make_node("Conv", ["carry_stem", "w"], ["deep"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["deep"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["own"]),
        helper.make_node("Add", ["own", "little_logits"], ["logits"]),
    ]
    weights = [_weights("w", channels, channels, 3, 3, seed=2), _weights("head", channels, classes, seed=3)]
    inputs = {"carry_stem": [1, channels, size, size], "little_logits": [1, classes]}
    return _model(nodes, inputs, {"logits": [1, classes]}, weights)


def greedy_model(*, gib: int) -> bytes:
    """A small file whose run needs `gib` GiB of memory."""
    shape = numpy_helper.from_array(np.array([gib << 28], dtype=np.int64), "shape")
    one = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("Mul", ["count", "image"], ["dynamic"]),
        helper.make_node("Cast", ["dynamic"], ["size"], to=TensorProto.INT64),
        helper.make_node("Abs", ["size"], ["positive"]),
        helper.make_node("Min", ["positive", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "shape"], ["dims"]),
        helper.make_node("ConstantOfShape", ["dims"], ["huge"], value=one),
        helper.make_node("ReduceSum", ["huge"], ["logits"], keepdims=1),
    ]
    zero = numpy_helper.from_array(np.zeros(1, dtype=np.int64), "zero")
    count = numpy_helper.from_array(np.ones(1, dtype=np.float32), "count")
    return _model(nodes, {"image": [1]}, {"logits": [1]}, [shape, zero, count])


def dividing_model() -> bytes:
    """An integer division by zero for every input: newer runtimes refuse it, older ones die of SIGFPE."""
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "zero"], ["nothing"]),
        helper.make_node("Div", ["shape", "nothing"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["logits"], to=TensorProto.FLOAT),
    ]
    zero = numpy_helper.from_array(np.zeros(1, dtype=np.int64), "zero")
    return _model(nodes, {"image": [1]}, {"logits": [1]}, [zero])


def custom_operator_model() -> bytes:
    """A model with an operator of somebody's own domain."""
    node = helper.make_node("Frobnicate", ["image"], ["logits"], domain="com.example")
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("image", "logits")]
    graph = helper.make_graph([node], "graph", infos[:1], infos[1:])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return bytes(helper.make_model(graph, opset_imports=domains, ir_version=8).SerializeToString())


def endless_model() -> bytes:
    """A loop that does not end in this century."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Sin", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )
    steps = numpy_helper.from_array(np.array(1 << 60, dtype=np.int64), "steps")
    go = numpy_helper.from_array(np.array(True), "go")
    nodes = [helper.make_node("Loop", ["steps", "go", "image"], ["logits"], body=body)]
    return _model(nodes, {"image": [1]}, {"logits": [1]}, [steps, go])


def external_data_model() -> bytes:
    """A model whose weights are said to lie in /etc/passwd."""
    model = onnx.load_from_string(little_model())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return bytes(model.SerializeToString())
