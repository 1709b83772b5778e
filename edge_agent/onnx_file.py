"""A look into an ONNX file before onnxruntime sees it, without onnx: is it whole, and all in itself?

ONNX is protobuf. The walk below follows only the fields that can hold tensors, reads no tensor data, and refuses
weights in other files, since a model from the network must not make the board open paths of its choosing. Field numbers
are those of onnx.proto3.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from edge_agent.errors import ModelRefusedError
from edge_agent.records import Artifact

_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_TENSOR_EXTERNAL_DATA = 13
_TENSOR_DATA_LOCATION = 14
_MAX_DEPTH = 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_model_file(path: Path) -> None:
    """Return if the file is a complete ONNX model with all its tensors inside.

    Raises:
        ModelRefusedError: If it is truncated, oversized, no ONNX, or points to external data.
    """
    size = path.stat().st_size
    if size == 0:
        raise ModelRefusedError("the model file is empty; export it again")
    if size > Artifact.MAX_BYTES:
        raise ModelRefusedError(f"the model file has {size} bytes but may have {Artifact.MAX_BYTES} at most; shrink it")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found_graph = False
        for number, kind, start, end in _fields(data, 0, size):
            if kind == _BYTES and number in _MESSAGES["model"]:
                found_graph |= number == 7
                _walk(data, start, end, _MESSAGES["model"][number], 0)
    if not found_graph:
        raise ModelRefusedError("the model file holds no ONNX graph; export it again")


def _walk(data: mmap.mmap, start: int, end: int, message: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ModelRefusedError(f"the model nests graphs deeper than {_MAX_DEPTH}; flatten it")
    for number, kind, first, last in _fields(data, start, end):
        if message == "tensor":
            if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and data[first] == 1):
                raise ModelRefusedError("the model keeps tensors in other files; export it with all data inside")
        elif kind == _BYTES and (inner := _MESSAGES[message].get(number)):
            _walk(data, first, last, inner, depth + 1)


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, start, end) of each field's value in data[start:end]."""
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        number, kind = tag >> 3, tag & 7
        first = position
        if kind == _VARINT:
            _, position = _varint(data, position, end)
        elif kind == _FIXED64:
            position += 8
        elif kind == _FIXED32:
            position += 4
        elif kind == _BYTES:
            length, first = _varint(data, position, end)
            position = first + length
        else:
            raise ModelRefusedError(f"the model file is damaged at byte {position}: wire type {kind} is not allowed")
        if position > end or number == 0:
            raise ModelRefusedError(f"the model file is truncated or damaged at byte {first}; fetch or export it again")
        yield number, kind, first, position


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ModelRefusedError(f"the model file is truncated or damaged at byte {position}; fetch or export it again")
