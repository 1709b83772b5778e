"""Putting a learned router into a little's ONNX graph, in place of the score that is there.

The router's nodes are computed in float, also in a quantised graph: they read the dequantised logits and, if the router
wants it, what enters the classifier's last layer. Everything that only the old score needed is dropped.
"""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto

from nas_service.errors import InvalidRequestError
from workers.routing.learned import LearnedRouter

_PREFIX = "router/"
_PASS_THROUGH = ("QuantizeLinear", "DequantizeLinear", "Identity")


def with_learned_router(little: bytes, router: LearnedRouter) -> bytes:
    """Return the graph `little` (`image` to `logits`, `score`, `carry_*`) with the router's score.

    Raises:
        InvalidRequestError: a graph without logits and score, with another number of classes or features than the
            router was fitted on, or whose last layer is not linear while the router wants what enters it.
    """
    model = onnx.load_model_from_string(little)
    outputs = [output.name for output in model.graph.output]
    if "logits" not in outputs or "score" not in outputs:
        raise InvalidRequestError(f"the graph's outputs are {outputs}; give a little with `logits` and `score`")
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    sources = {"logits": "logits"}
    if router.features.pooled:
        sources["pooled"] = _head_input(model.graph)
    _check_fit(model, router, sources)
    _drop_score(model.graph)
    _append(model.graph, _export(router, opset=opset).graph, sources)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _export(router: LearnedRouter, *, opset: int) -> ModelProto:
    features = router.features
    arguments: tuple[torch.Tensor, ...] = (torch.zeros(1, features.classes),)
    names = ["logits"]
    if features.pooled:
        arguments, names = (*arguments, torch.zeros(1, features.pooled)), ["logits", "pooled"]
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch deprecates this exporter, but the little's graph comes from it too
        torch.onnx.export(
            router.eval(),
            arguments,
            buffer,  # type: ignore[arg-type]
            input_names=names,
            output_names=["score"],
            opset_version=opset,
            dynamo=False,
        )
    return onnx.load_model_from_string(buffer.getvalue())


def _check_fit(model: ModelProto, router: LearnedRouter, sources: dict[str, str]) -> None:
    """Raise unless the graph's logits and features are as wide as those that the router was fitted on."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.value_info, *graph.output)}
    widths = {key: shapes[name][-1].dim_value for key, name in sources.items() if name in shapes}
    wanted = {"logits": router.features.classes, "pooled": router.features.pooled}
    if any(width != wanted[key] for key, width in widths.items()):
        raise InvalidRequestError(
            f"a router for {wanted['logits']} logits and {wanted['pooled']} pooled features does not fit a graph with "
            f"{widths}; fit it on this pair's outputs"
        )


def _drop_score(graph: GraphProto) -> None:
    """Remove the nodes and constants that only `score` needs, in place."""
    wanted = {output.name for output in graph.output if output.name != "score"}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    constants = [constant for constant in graph.initializer if constant.name in wanted]
    _replace(graph.node, kept[::-1])
    _replace(graph.initializer, constants)
    _replace(graph.value_info, [])


def _head_input(graph: GraphProto) -> str:
    """Return the name of what the last linear layer multiplies."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers["logits"]
    while node.op_type in _PASS_THROUGH:
        node = makers[node.input[0]]
    if node.op_type != "Gemm":
        raise InvalidRequestError(f"logits come from {node.op_type}, not from a linear layer; fit a router on logits")
    return str(node.input[0])


def _append(graph: GraphProto, added: GraphProto, sources: dict[str, str]) -> None:
    """Append the router's nodes under names of their own; its inputs are the graph's `sources`."""

    def renamed(name: str) -> str:
        return sources.get(name, name if name in ("", "score") else _PREFIX + name)

    for node in added.node:
        copy = graph.node.add()
        copy.CopyFrom(node)
        copy.name, copy.doc_string = _PREFIX + node.name, ""
        _replace(copy.input, [renamed(name) for name in node.input])
        _replace(copy.output, [renamed(name) for name in node.output])
    for constant in added.initializer:
        copied = graph.initializer.add()
        copied.CopyFrom(constant)
        copied.name = renamed(constant.name)


def _replace(field, values) -> None:  # type: ignore[no-untyped-def]
    """Set a repeated field of a protocol buffer."""
    kept = list(values)
    del field[:]
    field.extend(kept)
