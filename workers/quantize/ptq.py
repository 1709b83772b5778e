"""Post-training static quantisation of a pair's graphs, by onnxruntime's quantiser.

Activations are uint8 with one scale for each tensor, weights int8 with one for each output channel, in QDQ form: a
runtime without integer kernels still runs the file. Weights take 7 of their 8 bits, so that the sums of two products
that x86 without VNNI forms in 16 bits never saturate: 255 * 64 * 2 < 2^15. Without that, one bundle would answer
differently on different boards (onnxruntime's documentation on quantisation, `reduce_range`).

The logits and the score are computed in float from int8 features, and the tensors between the halves are float32.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from torch import Tensor

from nas_service.errors import InvalidRequestError
from workers.export import IR_VERSION, OPSET, ExportedPair
from workers.quantize.graph import float_nodes, with_batch_of_one, with_free_batch
from workers.quantize.running import GraphRunner, little_values

Method = Literal["minmax", "percentile-99.99", "percentile-99.9", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
# Pooling stays in float: it is little work, and its mean of few values would lose most.
OPERATORS = ["Conv", "Gemm", "MatMul", "Relu", "Clip", "Add", "Concat", "Slice", "MaxPool", "AveragePool"]

Values = dict[str, NDArray[np.float32]]


def quantise_pair(models: ExportedPair, batches: Callable[[], Iterable[Tensor]], *, method: str) -> ExportedPair:
    """Return both graphs in int8.

    The big's ranges are those of what the int8 little hands to it, as it will be in use.

    Args:
        models: The two graphs in float.
        batches: Makes normalised images (N, C, H, W) of the calibration split, anew at every call; none is kept.
        method: How a tensor's range follows from its values: one of `METHODS`, or `percentile-P`.

    Raises:
        InvalidRequestError: an unknown method, no images, or activations that are not finite.
    """
    little = quantise(models.little, lambda: ({"image": b.numpy()} for b in batches()), method=method)
    runner = GraphRunner(little)
    big = quantise(models.big, lambda: little_values(runner, batches()), method=method)
    return ExportedPair(little=little, big=big)


def quantise(model: bytes, values: Callable[[], Iterable[Values]], *, method: str) -> bytes:
    """Return one graph in int8; `values` makes its inputs for images of the calibration split, batch by batch.

    Raises:
        InvalidRequestError: as in `quantise_pair`.
    """
    kind, options = _calibration(method)
    fixed = onnx.load_model_from_string(model)
    free = with_free_batch(fixed)
    prepared = onnx.shape_inference.infer_shapes(free or fixed)
    add_pre_process_metadata(prepared)
    names = [value.name for value in fixed.graph.input]
    rows = _rows(values(), names, one_by_one=free is None)
    with tempfile.TemporaryDirectory(prefix="nas-quantise-") as folder:
        source, ranges, target = (Path(folder) / name for name in ("float.onnx", "ranges.json", "int8.onnx"))
        onnx.save_model(prepared, source)
        _calibrate(source, rows, kind=kind, options=options, folder=Path(folder), ranges=ranges)
        quantize_static(
            os.fspath(source),
            os.fspath(target),
            None,
            calibration_cache_path=ranges,
            calibrate_method=kind,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=float_nodes(fixed),
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )
        return _portable(onnx.load_model(target))


class _Reader(CalibrationDataReader):
    """Gives one batch: ranges are gathered batch by batch, so that no more than one is in memory."""

    def __init__(self, values: Values) -> None:
        self._values: Values | None = values

    def get_next(self) -> Values | None:
        values, self._values = self._values, None
        return values


def _rows(values: Iterable[Values], names: Sequence[str], *, one_by_one: bool) -> Iterable[Values]:
    for batch in values:
        wanted = {name: np.ascontiguousarray(batch[name]) for name in names}
        if not one_by_one:
            yield wanted
            continue
        for index in range(len(wanted[names[0]])):
            yield {name: value[index : index + 1] for name, value in wanted.items()}


def _calibrate(
    source: Path, rows: Iterable[Values], *, kind: Any, options: dict[str, Any], folder: Path, ranges: Path
) -> None:
    """Write the range of every tensor that will be quantised to the file `ranges`."""
    with contextlib.redirect_stdout(io.StringIO()):  # onnxruntime's calibrators print
        found = _ranges(source, rows, kind=kind, options=options, folder=folder)
    for name, data in found.items():
        if not np.isfinite(np.asarray(data.range_value, dtype=np.float64)).all():
            raise InvalidRequestError(f"activation {name!r} is not finite on calibration images; train the pair again")
    save_tensors_data(found, ranges)


def _ranges(source: Path, rows: Iterable[Values], *, kind: Any, options: dict[str, Any], folder: Path) -> Any:
    calibrator = create_calibrator(
        source,
        OPERATORS,
        augmented_model_path=os.fspath(folder / "augmented.onnx"),
        calibrate_method=kind,
        extra_options={"symmetric": False, **options},
    )
    count = 0
    for row in rows:
        if bad := [name for name, value in row.items() if not np.isfinite(value).all()]:
            raise InvalidRequestError(f"{bad[0]} is not finite for some calibration images; train the pair again")
        calibrator.collect_data(_Reader(row))
        count += len(next(iter(row.values())))
    if not count:
        raise InvalidRequestError("the calibration split is empty; quantising needs images to find ranges from")
    return calibrator.compute_data()


def _calibration(method: str) -> tuple[Any, dict[str, Any]]:
    if method == "minmax":
        return CalibrationMethod.MinMax, {}
    if method == "entropy":
        return CalibrationMethod.Entropy, {}
    name, _, share = method.partition("-")
    if name == "percentile" and share.replace(".", "", 1).isdigit() and 50 < float(share) <= 100:
        return CalibrationMethod.Percentile, {"percentile": float(share)}
    raise InvalidRequestError(
        f"unknown calibration method {method!r}; choose one of: {', '.join(METHODS)}, or percentile-P with P above 50"
    )


def _portable(model: ModelProto) -> bytes:
    """Return the file as old runtimes load it, with nothing in it but the graph."""
    fixed = with_batch_of_one(model)
    fixed.ir_version = IR_VERSION
    fixed.producer_name, fixed.producer_version = "biglittle-nas", ""
    del fixed.metadata_props[:]
    kept = [entry for entry in fixed.opset_import if entry.domain in ("", "ai.onnx")]
    del fixed.opset_import[:]
    fixed.opset_import.extend(kept)
    assert [entry.version for entry in fixed.opset_import] == [OPSET]
    for node in fixed.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(fixed, full_check=True)
    data: bytes = fixed.SerializeToString(deterministic=True)
    return data
