"""Bundles: everything a board needs to run one candidate, in a zip whose bytes depend on its content alone.

Router, temperature and thresholds are chosen on the calibration split (workers/routing/choice.py), for the float pair
and, where asked for, again for its int8 form; only then is the test split run, once, for the figures beside them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_agent.records import BundleFile, InputSpec, Manifest, Variant
from nas_service.curve import Curve
from workers.archive import npy_bytes, zip_bytes
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import Outputs
from workers.network import Pair
from workers.operating_points import DEFAULT, Costs, operating_points
from workers.quantize.choice import Int8Config, Quantised, choose_int8
from workers.quantize.form import Form, Precision, compare_forms, float_form, int8_form
from workers.routing.choice import Routing, RoutingOptions
from workers.stream_pack import pack_bytes

PARITY_IMAGES = 64
FILES: dict[Precision, tuple[str, str, str]] = {
    "fp32": ("little.onnx", "big.onnx", "parity.npz"),
    "int8": ("little.int8.onnx", "big.int8.onnx", "parity.int8.npz"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle's zip, its manifest, its graphs by half, the curves behind its figures, and notes for the user.

    `packs` holds what boards measure each precision's pair whole from, if that was asked for.
    """

    data: bytes = field(repr=False)
    manifest: Manifest
    models: dict[str, bytes] = field(repr=False)
    calibration: Curve = field(repr=False)
    test: Curve = field(repr=False)
    notes: tuple[str, ...] = ()
    packs: dict[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """What goes into a bundle.

    Attributes:
        router: The score that decides; `learned` is fitted when the bundle is built.
        routing: What is fitted beside the usual thresholds; None: the defaults.
        int8: How the int8 variant is made; None: there is none.
        packs: Whether to make pair packs too, which boards measure the pair whole from.
    """

    router: str
    routing: RoutingOptions | None = None
    int8: Int8Config | None = None
    packs: bool = False


def build_bundle(
    pair: Pair,
    dataset: Dataset,
    splits: Splits,
    options: BundleOptions,
    *,
    quantised: Quantised | None = None,
    candidate: str,
    costs: Mapping[str, tuple[float, float]] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Bundle:
    """Return the bundle of a recalibrated `pair`.

    Args:
        pair: In eval mode, with BatchNorm statistics; what is scored here is what is exported.
        dataset: The data set that the splits index.
        splits: Calibration chooses the thresholds; test is run once, afterwards.
        options: Router, and what else is wanted.
        quantised: The int8 form, if one is wanted and was chosen already; else it is chosen here.
        candidate: The candidate's id.
        costs: Objective, such as `latency_ms@rpi5`, to the little's cost and what the tail adds; `macs` is known here.
            Those of int8 are not known: the figures given are the float graphs'.
        provenance: Job, seed and whatever else says where the pair came from; JSON-able.

    Raises:
        UncalibratedError: the pair has no BatchNorm statistics.
        InvalidRequestError: outputs are not finite, or an unknown router.
    """
    router, routing = options.router, options.routing
    forms = [float_form(pair, dataset, splits, router=router, options=routing)]
    if options.int8 is not None:
        found = quantised or choose_int8(pair, dataset, splits, config=options.int8)
        forms.append(int8_form(found, dataset, splits, router=router, options=routing, config=options.int8))
    index = torch.from_numpy(splits.test)
    tested = {form.precision: form.run(dataset.test_images, dataset.test_labels, index) for form in forms}
    variants: list[Variant] = []
    files: dict[str, bytes] = {}
    for form in forms:
        variant, content = _variant(form, tested[form.precision], dataset, splits, costs=_costs(form, pair, costs))
        variants.append(variant)
        files |= content
    origin = {**(provenance or {}), **_origin(forms, tested, dataset, splits)}
    manifest = _manifest(pair, dataset, files, variants, router=router, candidate=candidate, provenance=origin)
    text = json.dumps(manifest.to_dict(), indent=2, sort_keys=True, allow_nan=False).encode()
    exact = forms[0]
    return Bundle(
        data=zip_bytes({"bundle.json": text, **files}),
        manifest=manifest,
        models={"little": exact.graphs.little, "big": exact.graphs.big},
        calibration=exact.routing.calibration.curve,
        test=tested["fp32"].scored(exact.routing.router).curve,
        notes=tuple(dict.fromkeys(note for form in forms for note in (*form.routing.notes, *form.notes))),
        packs=_packs(forms, manifest, dataset, splits) if options.packs else {},
    )


def _packs(forms: Sequence[Form], manifest: Manifest, dataset: Dataset, splits: Splits) -> dict[str, bytes]:
    """Return pair packs by precision, at the default operating point without what it costs: that is to be measured."""
    found: dict[str, bytes] = {}
    for form, variant in zip(forms, manifest.variants, strict=True):
        point = next(p for p in variant.operating_points if p.name == manifest.default_operating_point)
        bare = replace(point, calibration=replace(point.calibration, expected_cost={}, worst_cost={}), test=None)
        found[form.precision] = pack_bytes(form, bare, dataset, splits, spec=manifest.input)
    return found


def _costs(form: Form, pair: Pair, measured: Costs | None) -> Costs:
    """Return what a form costs: MACs are the same for all, what was measured is the float graphs'."""
    macs = {"macs": (float(pair.plan.little_macs), float(pair.plan.tail_macs))}
    return macs | dict(measured or {}) if form.precision == "fp32" else macs


def _origin(
    forms: Sequence[Form], tested: Mapping[Precision, Outputs], dataset: Dataset, splits: Splits
) -> dict[str, Any]:
    """Return where thresholds and figures came from, as far as it is known here."""
    changed = {"int8": compare_forms(forms[0], forms[1], tested=tested)} if len(forms) > 1 else {}
    return {
        "split_hashes": splits.hashes,
        "dataset": dataset.name,
        "routing": forms[0].routing.fit,
        "versions": _versions(),
        **changed,
    }


def _variant(
    form: Form, tested: Outputs, dataset: Dataset, splits: Splits, *, costs: Costs
) -> tuple[Variant, dict[str, bytes]]:
    """Return what the manifest says of a form, and its files."""
    little, big, parity = FILES[form.precision]
    chosen = form.routing
    points = operating_points(
        chosen.thresholds, calibration=chosen.calibration, test=tested.scored(chosen.router), costs=costs
    )
    images = dataset.train_images[torch.from_numpy(splits.calibration)]
    variant = Variant(precision=form.precision, little=little, big=big, parity=parity, operating_points=points)
    return variant, {
        little: form.graphs.little,
        big: form.graphs.big,
        parity: _parity(images, form.outputs, chosen),
    }


def _manifest(
    pair: Pair,
    dataset: Dataset,
    files: Mapping[str, bytes],
    variants: Sequence[Variant],
    *,
    router: str,
    candidate: str,
    provenance: dict[str, Any],
) -> Manifest:
    side = pair.plan.little.resolution
    return Manifest(
        candidate=candidate,
        classes=dataset.classes,
        input=InputSpec(channels=dataset.channels, height=side, width=side, mean=dataset.mean, std=dataset.std),
        coupling=pair.plan.coupling,
        router=router,  # type: ignore[arg-type]
        files=tuple(
            BundleFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            for name, data in sorted(files.items())
        ),
        operating_points=variants[0].operating_points,
        default_operating_point=DEFAULT,
        variants=tuple(variants),
        provenance=provenance,
    )


def _parity(images: Tensor, outputs: Outputs, routing: Routing) -> bytes:
    """Return parity.npz: calibration images, spread over the scores so that both routes are among them."""
    scored = outputs.scored(routing.router)
    scores = scored.outcomes.scores
    order = np.argsort(scores, kind="stable")
    chosen = np.unique(order[np.linspace(0, len(order) - 1, min(PARITY_IMAGES, len(order))).round().astype(int)])
    arrays = {
        "images": np.ascontiguousarray(images[torch.from_numpy(chosen)].permute(0, 2, 3, 1).numpy()),
        "little_logits": outputs.little_logits.numpy()[chosen].astype(np.float32),
        "big_logits": outputs.escalated_logits.numpy()[chosen].astype(np.float32),
        "scores": scores[chosen].astype(np.float32),
        "routes": scored.escalated(routing.thresholds[DEFAULT])[chosen].astype(np.uint8),
    }
    return zip_bytes({f"{name}.npy": npy_bytes(array) for name, array in arrays.items()})


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in ("biglittle-nas", "torch", "onnx", "onnxruntime", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
