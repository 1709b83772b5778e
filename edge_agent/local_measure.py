"""`nas-edge measure`: a bundle's halves, or one ONNX file, measured here as the agent would."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

from edge_agent.errors import BadUsageError
from edge_agent.measuring import Measurement, grade_window, measure_file
from edge_agent.records import RuntimeSettings, Tier
from edge_agent.sensors import Place, find_sensor

_COLUMNS = ("model", "status", "n", "mean_ms", "ci95_ms", "median_ms", "p90_ms", "memory_kib", "energy_mj")


def measure_path(
    path: str | Path,
    *,
    tier: Tier,
    threads: int = 1,
    precision: Literal["fp32", "int8"] | None = None,
    place: Place | None = None,
) -> list[dict[str, Any]]:
    """Return one row for each ONNX file: the record's fields, and `model`.

    Args:
        path: A bundle (folder or zip), or an .onnx file.
        tier: How long to measure.
        threads: Threads of onnxruntime.
        precision: Which variant of a bundle; None for all.
        place: Where the energy sensor is looked for; None for this machine without an energy.json.

    Raises:
        BundleError: If the bundle is damaged, or lacks the precision.
        BadUsageError: If `path` does not exist, or a precision is asked of a single file.
    """
    path = Path(path)
    if not path.exists():
        raise BadUsageError(f"{path} does not exist; give a bundle or an .onnx file")
    settings = RuntimeSettings(threads=threads)
    if path.suffix == ".onnx":
        if precision is not None:
            raise BadUsageError(f"{path.name} has the one precision it was made with; leave --precision out")
        return [_row(path, name=path.name, tier=tier, settings=settings, place=place)]
    from edge_agent.bundle import Bundle

    bundle = Bundle(path)
    try:
        variants = bundle.manifest.variants if precision is None else (bundle.variant(precision),)
        names = [name for variant in variants for name in (variant.little, variant.big)]
        return [_row(bundle.root / name, name=name, tier=tier, settings=settings, place=place) for name in names]
    finally:
        bundle.close()


def as_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as aligned text; what is unknown is '-', what failed says why."""
    cells = [list(_COLUMNS), *([_cell(row, column) for column in _COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    faults = [f"{row['model']}: no energy: {row['sensor_fault']['cause']}" for row in rows if row["sensor_fault"]]
    return "\n".join([*lines, *(f"{row['model']}: {row['cause']}" for row in rows if row["cause"]), *faults])


def _row(model: Path, *, name: str, tier: Tier, settings: RuntimeSettings, place: Place | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="nas-measure-") as work:
        measured = measure_file(
            model, tier=tier, settings=settings, work=Path(work), sensor=find_sensor(place or Place())
        )
    verdict = grade_window(measured, tier=tier)
    return {
        "model": name,
        "tier": tier,
        "status": verdict.status,
        "fault": verdict.fault,
        "cause": verdict.cause,
        "latency": _dict(measured, "latency"),
        "memory": _dict(measured, "memory"),
        "memory_kib": measured.memory.memory_kib if measured.memory else None,
        "energy": _dict(measured, "energy"),
        "sensor_fault": _dict(measured, "sensor_fault"),
        "runtime": measured.runtime,
        "phases_s": measured.phases_s,
    }


def _dict(measured: Measurement, name: str) -> dict[str, Any] | None:
    record = getattr(measured, name)
    return None if record is None else dict(record.to_dict())


def _cell(row: dict[str, Any], column: str) -> str:
    latency, energy = row["latency"] or {}, row["energy"] or {}
    if column == "ci95_ms" and latency:
        return f"{latency['mean_ci95_low_ms']:.4f}..{latency['mean_ci95_high_ms']:.4f}"
    values = {**latency, "model": row["model"], "status": row["status"], "memory_kib": row["memory_kib"]}
    value = energy.get("gross_mj") if column == "energy_mj" else values.get(column)
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
