"""Exporting a pair: two static ONNX graphs that run on old onnxruntimes.

`little.onnx`: `image` -> `logits`, `score` and, if the halves share their first blocks, `carry_stem`; of a triangular
pair, all activations that the tail reads, named as in `workers.triangle`: `carry_stem_0`, `carry_stage0_0_1` and so on.
`big.onnx`: `image` or `carry_*`, and `little_logits` -> `logits`, the combination of both nets' included.
All are float32 with batch 1: `image` (1, C, H, W), `logits` (1, classes), `score` (1,). BatchNorm is folded into the
convolutions; weights are inside. The same pair gives the same bytes.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx
import torch
from torch import Tensor, nn

from nas_service.errors import InvalidRequestError
from workers.errors import UncalibratedError
from workers.network import Pair
from workers.routers import Router
from workers.routing.score_graph import with_learned_router

OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedPair:
    """The two graphs of one pair, as ONNX files."""

    little: bytes = field(repr=False)
    big: bytes = field(repr=False)


class _Reads(dict[str, Tensor]):
    """Activations by name, and which of them were read, in order."""

    def __init__(self, activations: Mapping[str, Tensor]) -> None:
        super().__init__(activations)
        self.names: dict[str, None] = {}

    def __getitem__(self, name: str) -> Tensor:
        self.names[name] = None
        return super().__getitem__(name)


class _LittleGraph(nn.Module):
    def __init__(self, pair: Pair, router: Router, names: Sequence[str]) -> None:
        super().__init__()
        self.pair, self.score, self.names = pair, router.score, names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        logits, carried = self.pair.answer(image)
        return (logits, self.score(logits), *(carried[name] for name in self.names))


class _BigGraph(nn.Module):
    def __init__(self, pair: Pair, names: Sequence[str]) -> None:
        super().__init__()
        self.pair, self.names = pair, names

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.pair.escalate(dict(zip(self.names, inputs[:-1], strict=True)), inputs[-1])


def export_pair(pair: Pair, *, router: str | Router) -> ExportedPair:
    """Return both graphs of a recalibrated `pair`; `router` is the score computed in the little's."""
    return ExportedPair(little=export_little(pair, router=router), big=export_big(pair))


def export_little(pair: Pair, *, router: str | Router) -> bytes:
    """Return the little's graph, with the router's score, as an ONNX file.

    A temperature and a learned router are nodes of it, in float32. The latter's are named `router/...` and can be put
    into a quantised graph by `with_learned_router`, too.

    Args:
        pair: Recalibrated.
        router: A name, or the fitted router; `learned` has to be fitted.

    Raises:
        UncalibratedError: if a BatchNorm has no statistics.
        InvalidRequestError: unknown or unfitted router, or one that was fitted on another pair's kind of outputs.
    """
    ready = Router(name=router) if isinstance(router, str) else router
    if ready.learned is None:
        return _export_little(pair, router=ready)
    return with_learned_router(_export_little(pair, router=Router(name="margin")), ready.learned)


def _export_little(pair: Pair, *, router: Router) -> bytes:
    plain = _portable(pair)
    names = [name for name in _carried(plain) if name != "image"]
    outputs = ["logits", "score", *names]
    return _export(_LittleGraph(plain, router, names), (_image(pair),), inputs=["image"], outputs=outputs)


def export_big(pair: Pair) -> bytes:
    """Return the graph that runs on escalation as an ONNX file; UncalibratedError without BatchNorm statistics."""
    plain = _portable(pair)
    carried = _carried(plain)
    arguments = (*carried.values(), torch.zeros(1, pair.plan.big.classes))
    return _export(_BigGraph(plain, list(carried)), arguments, inputs=[*carried, "little_logits"], outputs=["logits"])


def _carried(plain: Pair) -> dict[str, Tensor]:
    """Return what the big reads of the little, or the image, by name; the values are of a black image."""
    with torch.inference_mode():
        logits, activations = plain.answer(_image(plain))
        if plain.plan.coupling == "triangular":
            reads = _Reads(activations)
            plain.escalate(reads, logits)
            activations = {name: activations[name] for name in reads.names}
    return {name: value.clone() for name, value in activations.items()}


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
