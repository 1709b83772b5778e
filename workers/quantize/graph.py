"""What quantising has to know of a graph: which nodes stay in float, and how it runs on many images at once."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import GraphProto, ModelProto

BATCH_AXIS = "batch"
# A graph with these may hold the batch of 1 as a constant, so it is run image by image.
_SHAPES_INSIDE = {"Reshape", "Expand", "Tile", "ConstantOfShape"}


def float_nodes(model: ModelProto) -> list[str]:
    """Return the names of the nodes that quantisation leaves in float.

    Of a little, what only the score needs: quantised, a score has so few values that a quarter of them tie. Of a big,
    what combines its logits with the little's.
    """
    graph = model.graph
    outputs = {output.name for output in graph.output}
    found: set[int] = set()
    if "score" in outputs:
        found = _behind(graph, ["score"]) - _behind(graph, outputs - {"score"})
    if any(value.name == "little_logits" for value in graph.input):
        found |= _after(graph, "little_logits")
    return [node.name for index, node in enumerate(graph.node) if index in found]


def with_free_batch(model: ModelProto) -> ModelProto | None:
    """Return a copy of a batch-1 graph that takes any number of images, or None if it may hold its batch inside."""
    if any(node.op_type in _SHAPES_INSIDE for node in model.graph.node):
        return None
    return _with_batch(model, None)


def with_batch_of_one(model: ModelProto) -> ModelProto:
    """Return a copy whose inputs and outputs hold exactly one image: the inverse of `with_free_batch`."""
    return onnx.shape_inference.infer_shapes(_with_batch(model, 1))


def _with_batch(model: ModelProto, batch: int | None) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        axis = value.type.tensor_type.shape.dim[0]
        if batch is None:
            axis.dim_param = BATCH_AXIS
        else:
            axis.dim_value = batch
    del copy.graph.value_info[:]
    return copy


def _behind(graph: GraphProto, names: Iterable[str]) -> set[int]:
    """Return the positions of the nodes that the tensors `names` are computed by."""
    wanted, found = set(names), set()
    for index in reversed(range(len(graph.node))):  # nodes are in topological order
        if wanted & set(graph.node[index].output):
            found.add(index)
            wanted.update(graph.node[index].input)
    return found


def _after(graph: GraphProto, name: str) -> set[int]:
    """Return the positions of the nodes that read the tensor `name`, themselves or through others."""
    reached, found = {name}, set()
    for index, node in enumerate(graph.node):
        if reached & set(node.input):
            found.add(index)
            reached.update(node.output)
    return found
