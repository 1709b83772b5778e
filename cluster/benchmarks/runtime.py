"""What the deployed runtime takes beside its two sessions."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cluster.benchmarks.boards import untrained_pair
from cluster.benchmarks.row import Row
from edge_agent.inference import CPU, open_session
from edge_agent.records import BundleFile, InputSpec, Manifest, OperatingPoint, Promise, Variant
from edge_agent.runtime import Pair

ROUNDS = 40
RUNS = 50
_MEAN, _STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
_SETTINGS = {"provider": CPU, "threads": 1, "arena": True}


def overhead() -> list[Row]:
    """E9: `Pair.predict` over bare sessions that are handed a normalised image, for either route, in turn."""
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    tensor = (
        ((image / np.float32(255) - np.array(_MEAN, np.float32)) / np.array(_STD, np.float32))
        .transpose(2, 0, 1)[None]
        .copy()
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_bundle(folder)
        little, big = (open_session(folder / name, settings=_SETTINGS) for name in ("little.onnx", "big.onnx"))
        carried = [value.name for value in big.get_inputs() if value.name not in ("image", "little_logits")]
        outputs = ["logits", "score", *carried]

        def bare_little() -> list[Any]:
            answer: list[Any] = little.run(outputs, {"image": tensor})
            return answer

        def bare_big() -> None:
            logits, _, *tensors = bare_little()
            big.run(["logits"], {"little_logits": logits, **dict(zip(carried, tensors, strict=True))})

        with Pair.load(folder) as pair:
            found = {}
            for point, bare in (("never", bare_little), ("always", bare_big)):
                pair.use(point)
                found[point] = _least_us(lambda: pair.predict(image), bare)
    shown = "; ".join(f"{point}: {ours:.0f} over {peer:.0f} us" for point, (ours, peer) in found.items())
    value = max(ours - peer for ours, peer in found.values())
    detail = f"a tiny pair, 32 x 32, one thread, least median of {ROUNDS} rounds of {RUNS} in turn; {shown}"
    return [Row(name="E9", figure="predict beside its sessions, us", value=value, must=100.0, aim=30.0, detail=detail)]


def _least_us(ours: Callable[[], object], bare: Callable[[], object]) -> tuple[float, float]:
    """Return the least median of either side, in microseconds."""
    times = np.empty((ROUNDS, 2, RUNS))
    for of_round in times:
        for run in range(RUNS):
            for side, step in enumerate((ours, bare)):
                begin = time.perf_counter_ns()
                step()
                of_round[side, run] = time.perf_counter_ns() - begin
    least = np.median(times, axis=2).min(axis=0) / 1e3
    return float(least[0]), float(least[1])


def _write_bundle(folder: Path) -> None:
    graphs = untrained_pair()
    contents = {"little.onnx": graphs.little, "big.onnx": graphs.big, "parity.npz": b"-"}
    points = tuple(
        OperatingPoint(name=name, threshold=name, calibration=Promise(accuracy=0.1, escalation_rate=rate))
        for name, rate in (("never", 0.0), ("always", 1.0))
    )
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    manifest = Manifest(
        candidate="untrained",
        classes=tuple(map(str, range(10))),
        input=InputSpec(channels=3, height=32, width=32, mean=_MEAN, std=_STD),
        coupling="stem",
        router="margin",
        files=tuple(
            BundleFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            for name, data in contents.items()
        ),
        operating_points=points,
        default_operating_point="never",
        variants=(
            Variant(
                precision="fp32",
                little="little.onnx",
                big="big.onnx",
                parity="parity.npz",
                operating_points=points,
            ),
        ),
        provenance={},
    )
    (folder / "bundle.json").write_text(manifest.to_json())
