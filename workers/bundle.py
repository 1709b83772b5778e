"""Bundles: everything a board needs to run one candidate, in a zip whose bytes depend on its content alone.

Router, temperature and thresholds are chosen on the calibration split (workers/routing/choice.py); only then is the
test split run, once, for the figures beside them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_agent.records import BundleFile, InputSpec, Manifest, OperatingPoint, Variant
from nas_service.curve import Curve
from workers.data.augment import batches
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.evaluation import BATCH, Outputs, infer
from workers.export import export_pair
from workers.network import Pair
from workers.operating_points import DEFAULT, operating_points
from workers.routing.choice import Routing, RoutingOptions, choose_routing

PARITY_IMAGES = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle's zip, its manifest, its graphs by half, the curves behind its figures, and notes for the user."""

    data: bytes = field(repr=False)
    manifest: Manifest
    models: dict[str, bytes] = field(repr=False)
    calibration: Curve = field(repr=False)
    test: Curve = field(repr=False)
    notes: tuple[str, ...] = ()


def build_bundle(
    pair: Pair,
    dataset: Dataset,
    splits: Splits,
    *,
    router: str,
    candidate: str,
    routing: RoutingOptions | None = None,
    costs: Mapping[str, tuple[float, float]] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Bundle:
    """Return the bundle of a recalibrated `pair`.

    Args:
        pair: In eval mode, with BatchNorm statistics; what is scored here is what is exported.
        dataset: The data set that the splits index.
        splits: Calibration chooses the thresholds; test is run once, afterwards.
        router: The score that decides; `learned` is fitted here.
        candidate: The candidate's id.
        routing: What is fitted beside the usual thresholds; None: the defaults.
        costs: Objective, such as `latency_ms@rpi5`, to the little's cost and what the tail adds; `macs` is known here.
        provenance: Job, seed and whatever else says where the pair came from; JSON-able.

    Raises:
        UncalibratedError: the pair has no BatchNorm statistics.
        InvalidRequestError: outputs are not finite, or an unknown router.
    """
    plan = pair.plan
    priced = {"macs": (float(plan.little_macs), float(plan.tail_macs)), **(costs or {})}
    images, labels = _rows(dataset.train_images, splits.calibration), _rows(dataset.train_labels, splits.calibration)
    outputs = _outputs(pair, dataset, images, labels)
    chosen = choose_routing(outputs, router=router, options=routing)
    graphs = export_pair(pair, router=chosen.router)
    tested = _outputs(pair, dataset, dataset.test_images[splits.test], dataset.test_labels[splits.test])
    test = tested.scored(chosen.router)
    points = operating_points(chosen.thresholds, calibration=chosen.calibration, test=test, costs=priced)
    files = {
        "little.onnx": graphs.little,
        "big.onnx": graphs.big,
        "parity.npz": _parity(images, outputs, chosen),
    }
    origin = {
        **(provenance or {}),
        "split_hashes": splits.hashes,
        "dataset": dataset.name,
        "routing": chosen.fit,
        "versions": _versions(),
    }
    manifest = _manifest(pair, dataset, files, points, router=router, candidate=candidate, provenance=origin)
    text = json.dumps(manifest.to_dict(), indent=2, sort_keys=True, allow_nan=False).encode()
    return Bundle(
        data=_zip({"bundle.json": text, **files}),
        manifest=manifest,
        models={"little": graphs.little, "big": graphs.big},
        calibration=chosen.calibration.curve,
        test=test.curve,
        notes=chosen.notes,
    )


def _rows(tensor: Tensor, indices: NDArray[np.int64]) -> Tensor:
    return tensor[torch.from_numpy(indices)]


def _outputs(pair: Pair, dataset: Dataset, images: Tensor, labels: Tensor) -> Outputs:
    device = next(pair.parameters()).device
    ready = [batch.to(device) for batch in batches(images, dataset.mean, dataset.std, size=BATCH)]
    return infer(pair, ready, labels=labels.numpy())


def _manifest(
    pair: Pair,
    dataset: Dataset,
    files: Mapping[str, bytes],
    points: tuple[OperatingPoint, ...],
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
        operating_points=points,
        default_operating_point=DEFAULT,
        variants=(
            Variant(
                precision="fp32", little="little.onnx", big="big.onnx", parity="parity.npz", operating_points=points
            ),
        ),
        provenance=provenance,
    )


def _parity(images: Tensor, outputs: Outputs, routing: Routing) -> bytes:
    """Return parity.npz: calibration images, spread over the scores so that both routes are among them."""
    scored = outputs.scored(routing.router)
    scores = scored.outcomes.scores
    order = np.argsort(scores, kind="stable")
    chosen = np.unique(order[np.linspace(0, len(order) - 1, min(PARITY_IMAGES, len(order))).round().astype(int)])
    arrays = {
        "images": np.ascontiguousarray(_rows(images, chosen).permute(0, 2, 3, 1).numpy()),
        "little_logits": outputs.little_logits.numpy()[chosen].astype(np.float32),
        "big_logits": outputs.escalated_logits.numpy()[chosen].astype(np.float32),
        "scores": scores[chosen].astype(np.float32),
        "routes": scored.escalated(routing.thresholds[DEFAULT])[chosen].astype(np.uint8),
    }
    return _zip({f"{name}.npy": _npy(array) for name, array in arrays.items()})


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in ("biglittle-nas", "torch", "onnx", "onnxruntime", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
