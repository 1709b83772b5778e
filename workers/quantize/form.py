"""The forms of a pair that a bundle holds, float and int8: graphs, router and thresholds, each chosen for itself.

Everything here is chosen before a test image is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from workers.data.augment import batches
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import BATCH, Outputs, infer
from workers.export import ExportedPair, export_little, export_pair
from workers.network import Pair
from workers.operating_points import DEFAULT
from workers.quantize.choice import Int8Config, Quantised, rows, spread
from workers.quantize.ptq import quantise
from workers.quantize.running import run_pair
from workers.routing.choice import Routing, RoutingOptions, choose_routing

Precision = Literal["fp32", "int8"]
Run = Callable[[Tensor, Tensor, Tensor], Outputs]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """One precision of a pair, ready to be shipped.

    Attributes:
        precision: Of weights and activations.
        graphs: The two ONNX files.
        routing: Router and thresholds, from this form's own outputs on the calibration split.
        outputs: Those outputs.
        run: Gives its outputs for uint8 images (M, C, H, W) and labels (M,) at some of their indices (N,).
        fit: How it came about, JSON-able; empty for float.
        notes: What was tried and failed, in words.
    """

    precision: Precision
    graphs: ExportedPair = field(repr=False)
    routing: Routing = field(repr=False)
    outputs: Outputs = field(repr=False)
    run: Run = field(repr=False)
    fit: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def float_form(
    pair: Pair, dataset: Dataset, splits: Splits, *, router: str, options: RoutingOptions | None = None
) -> Form:
    """Return a recalibrated `pair` as it was trained.

    Raises:
        UncalibratedError: the pair has no BatchNorm statistics.
        InvalidRequestError: outputs are not finite, or an unknown router.
    """
    device = next(pair.parameters()).device

    def run(images: Tensor, labels: Tensor, chosen: Tensor) -> Outputs:
        ready = batches(images, dataset.mean, dataset.std, size=BATCH, chosen=chosen)
        return infer(pair, (batch.to(device) for batch in ready), labels=labels[chosen].numpy())

    outputs = run(dataset.train_images, dataset.train_labels, torch.from_numpy(splits.calibration))
    routing = choose_routing(outputs, router=router, options=options)
    graphs = export_pair(pair, router=routing.router)
    return Form(precision="fp32", graphs=graphs, routing=routing, outputs=outputs, run=run)


def int8_form(
    found: Quantised,
    dataset: Dataset,
    splits: Splits,
    *,
    router: str,
    options: RoutingOptions | None = None,
    config: Int8Config | None = None,
) -> Form:
    """Return a pair in the int8 form that was chosen by `config`, with router and thresholds fitted to what it says.

    Raises:
        InvalidRequestError: outputs are not finite, or an unknown router.
    """
    config = config or Int8Config()
    first = found.chosen.models

    def run(images: Tensor, labels: Tensor, chosen: Tensor) -> Outputs:
        ready = batches(images, dataset.mean, dataset.std, size=BATCH, chosen=chosen)
        return run_pair(first, ready, labels=labels[chosen].numpy()).outputs

    outputs = run(dataset.train_images, dataset.train_labels, torch.from_numpy(splits.calibration))
    routing = choose_routing(outputs, router=router, options=options)
    little = quantise(  # the same layers and ranges as before: only the score's float nodes differ
        export_little(found.pair, router=routing.router),
        lambda: ({"image": b.numpy()} for b in rows(dataset, spread(splits.calibration, config.calibration_images))),
        method=found.chosen.method,
    )
    return Form(
        precision="int8",
        graphs=ExportedPair(little=little, big=first.big),
        routing=routing,
        outputs=outputs,
        run=run,
        fit=_fit(found),
        notes=found.notes,
    )


def compare_forms(exact: Form, rounded: Form, *, tested: Mapping[Precision, Outputs]) -> dict[str, Any]:
    """Return what int8 changes, JSON-able: how it was made, sizes, accuracies in [0, 1], and how often routes agree.

    Args:
        exact: The float form.
        rounded: The int8 form.
        tested: Outputs of both on the test split.
    """
    forms = (exact, rounded)
    splits = {"calibration": {form.precision: form.outputs for form in forms}, "test": tested}
    return {
        **rounded.fit,
        "routing": rounded.routing.fit,
        "size_bytes": {
            form.precision: {"little": len(form.graphs.little), "big": len(form.graphs.big)} for form in forms
        },
        "accuracy": {
            name: {precision: _accuracies(outputs) for precision, outputs in by_precision.items()}
            for name, by_precision in splits.items()
        },
        "route_agreement": {
            name: float((_escalated(exact, by_precision["fp32"]) == _escalated(rounded, by_precision["int8"])).mean())
            for name, by_precision in splits.items()
        },
    }


def _fit(found: Quantised) -> dict[str, Any]:
    return {
        "weights": found.chosen.weights,
        "method": found.chosen.method,
        "attempts": [attempt.to_dict() for attempt in found.attempts],
        "fp32_validation_accuracy": found.fp32_accuracy,
        "validation_images": found.images,
    }


def _accuracies(outputs: Outputs) -> dict[str, float]:
    return {"little": float(outputs.little_correct.mean()), "big": float(outputs.big_correct.mean())}


def _escalated(form: Form, outputs: Outputs) -> Any:
    """Return (N,) which images the form escalates at the default operating point."""
    return outputs.scored(form.routing.router).escalated(form.routing.thresholds[DEFAULT])
