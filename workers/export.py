"""Exporting a pair: two static ONNX graphs that run on old onnxruntimes.

`little.onnx`: `image` -> `logits`, `score` and, if the halves share their first blocks, `carry_stem`.
`big.onnx`: `image` or `carry_stem`, and `little_logits` -> `logits`, the combination of both nets' included.
All are float32 with batch 1: `image` (1, C, H, W), `logits` (1, classes), `score` (1,). BatchNorm is folded into the
convolutions; weights are inside. The same pair gives the same bytes.
"""

from __future__ import annotations

import copy
import io
import warnings
from dataclasses import dataclass, field

import onnx
import torch
from torch import Tensor, nn

from nas_service.errors import InvalidRequestError
from workers.errors import UncalibratedError
from workers.network import Pair
from workers.routers import score_function

OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedPair:
    """The two graphs of one pair, as ONNX files."""

    little: bytes = field(repr=False)
    big: bytes = field(repr=False)


class _LittleGraph(nn.Module):
    def __init__(self, pair: Pair, router: str) -> None:
        super().__init__()
        self.pair, self.score = pair, score_function(router)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        carried = self.pair.little.features(image, self.pair.shared_blocks)
        logits = self.pair.little.tail(carried, self.pair.shared_blocks)
        outputs = (logits, self.score(logits))
        return (*outputs, carried) if self.pair.shared_blocks else outputs


class _BigGraph(nn.Module):
    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, carried: Tensor, little_logits: Tensor) -> Tensor:
        return self.pair.escalate(carried, little_logits)


def export_pair(pair: Pair, *, router: str) -> ExportedPair:
    """Return both graphs of a recalibrated `pair`; `router` is the score computed in the little's."""
    return ExportedPair(little=export_little(pair, router=router), big=export_big(pair))


def export_little(pair: Pair, *, router: str) -> bytes:
    """Return the little's graph, with the router's score, as an ONNX file.

    Raises:
        UncalibratedError: if a BatchNorm has no statistics.
        InvalidRequestError: unknown router.
    """
    plain = _portable(pair)
    outputs = ["logits", "score", "carry_stem"][: 3 if pair.shared_blocks else 2]
    return _export(_LittleGraph(plain, router), (_image(pair),), inputs=["image"], outputs=outputs)


def export_big(pair: Pair) -> bytes:
    """Return the graph that runs on escalation as an ONNX file; UncalibratedError without BatchNorm statistics."""
    plain = _portable(pair)
    with torch.inference_mode():
        carried = plain.little.features(_image(pair), pair.shared_blocks).clone()
    arguments = (carried, torch.zeros(1, pair.plan.big.classes))
    name = "carry_stem" if pair.shared_blocks else "image"
    return _export(_BigGraph(plain), arguments, inputs=[name, "little_logits"], outputs=["logits"])


def _image(pair: Pair) -> Tensor:
    side = pair.plan.little.resolution
    return torch.zeros(1, pair.plan.little.channels, side, side)


def _portable(pair: Pair) -> Pair:
    """Return a copy on the CPU, in eval mode and contiguous layout, so that the bytes depend on values alone."""
    norms = [m for m in pair.modules() if isinstance(m, nn.BatchNorm2d)]
    if any(not norm.num_batches_tracked for norm in norms):
        raise UncalibratedError("this pair's BatchNorm has no statistics; call recalibrate before exporting it")
    return copy.deepcopy(pair).to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def _export(module: nn.Module, arguments: tuple[Tensor, ...], *, inputs: list[str], outputs: list[str]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch deprecates this exporter, but its successor needs 20 times as long
        torch.onnx.export(
            module.eval(),
            arguments,
            buffer,  # type: ignore[arg-type]
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=False,
            do_constant_folding=True,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "biglittle-nas", ""
    for node in model.graph.node:
        node.doc_string = ""
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise InvalidRequestError(f"the exported graph is not valid ONNX: {error}; check the space's wiring") from None
    return model.SerializeToString(deterministic=True)
