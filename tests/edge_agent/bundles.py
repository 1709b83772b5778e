"""A hand-made bundle of two small real models, in the contract's layout."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from edge_agent.records import BundleFile, InputSpec, Manifest, OperatingPoint, Promise, Variant
from tests.edge_agent.models import big_model, little_model

CLASSES = ("cat", "dog", "owl")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def normalised(image: np.ndarray) -> np.ndarray:
    values = (image.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def expected_outputs(images: np.ndarray, *, little: bytes, big: bytes) -> dict[str, np.ndarray]:
    first, second = (onnxruntime.InferenceSession(m, providers=["CPUExecutionProvider"]) for m in (little, big))
    little_logits, big_logits, scores = [], [], []
    for image in images:
        logits, score, carry = first.run(["logits", "score", "carry_stem"], {"image": normalised(image)})
        feeds = {"carry_stem": carry, "little_logits": logits, "image": normalised(image)}
        wanted = {value.name for value in second.get_inputs()}
        (deep,) = second.run(["logits"], {k: v for k, v in feeds.items() if k in wanted})
        little_logits.append(logits[0])
        big_logits.append(deep[0])
        scores.append(score[0])
    return {
        "images": images,
        "little_logits": np.stack(little_logits),
        "big_logits": np.stack(big_logits),
        "scores": np.array(scores, dtype=np.float32),
    }


def make_bundle(
    folder: Path,
    *,
    size: int = 8,
    n: int = 16,
    change: dict[str, bytes] | None = None,
    models: dict[str, bytes] | None = None,
) -> Manifest:
    """Write a bundle whose default point `half` escalates about half of its parity images.

    `change` replaces the content of files after the manifest was made, `models` before.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    little, big = little_model(size=size), big_model(size=size)
    arrays = expected_outputs(images, little=little, big=big)
    ordered = np.sort(arrays["scores"])
    threshold = float((ordered[n // 2 - 1] + ordered[n // 2]) / 2)
    arrays["routes"] = (arrays["scores"] < threshold).astype(np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files = {"little.onnx": little, "big.onnx": big, "parity.npz": buffer.getvalue(), **(models or {})}
    points = (point("half", threshold), point("never", "never"), point("always", "always"))
    manifest = Manifest(
        candidate="c1",
        classes=CLASSES,
        input=InputSpec(channels=3, height=size, width=size, mean=MEAN, std=STD),
        coupling="stem",
        router="msp",
        files=tuple(described(name, data) for name, data in files.items()),
        operating_points=points,
        default_operating_point="half",
        variants=(
            Variant(
                precision="fp32", little="little.onnx", big="big.onnx", parity="parity.npz", operating_points=points
            ),
        ),
        provenance={},
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {**files, "bundle.json": manifest.to_json().encode(), **(change or {})}.items():
        (folder / name).write_bytes(data)
    return manifest


def described(name: str, data: bytes) -> BundleFile:
    return BundleFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def point(name: str, threshold: Any) -> OperatingPoint:
    return OperatingPoint(
        name=name, threshold=threshold, calibration=Promise(accuracy=0.5, escalation_rate=0.5, n=1000)
    )
