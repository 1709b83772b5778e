"""`nas-edge measure`: a bundle's halves, its pair whole, or one ONNX file, measured here as the agent would."""

from __future__ import annotations

import itertools
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_agent.errors import BadUsageError
from edge_agent.inference import CPU, check_threads
from edge_agent.measuring import Measurement, Supervision, grade_window, measure_file
from edge_agent.pair_measuring import measure_pair, process_plan
from edge_agent.records import OperatingPoint, PairFigures, RuntimeSettings, Tier, Variant
from edge_agent.sensors import Place, find_sensor
from edge_agent.tiers import TIERS, WHOLE_TIERS, TierPlan

log = logging.getLogger("edge_agent")

_COLUMNS = ("model", "status", "n", "mean_ms", "ci95_ms", "median_ms", "p90_ms", "memory_kib", "energy_mj")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    tier: Tier
    settings: RuntimeSettings
    place: Place


def measure_path(
    path: str | Path,
    *,
    tier: Tier,
    threads: int = 1,
    provider: str = CPU,
    precision: Literal["fp32", "int8"] | None = None,
    place: Place | None = None,
) -> list[dict[str, Any]]:
    """Return one row for each ONNX file, or from tier `final` on for each pair whole: the record's fields, and `model`.

    What begins, and how long it takes, is logged.

    Args:
        path: A bundle (folder or zip), or an .onnx file, which is timed by itself at any tier, in one process.
        tier: How long to measure.
        threads: Threads of onnxruntime, 1 to 256.
        provider: The execution provider, as onnxruntime names it.
        precision: Which variant of a bundle; None for all.
        place: Where the energy sensor is looked for; None for this machine without an energy.json.

    Raises:
        BundleError: If the bundle is damaged, or lacks the precision.
        BadUsageError: If `path` does not exist, `threads` is out of range, or a precision is asked of a single file.
    """
    check_threads(threads)
    path = Path(path)
    if not path.exists():
        raise BadUsageError(f"{path} does not exist; give a bundle or an .onnx file")
    way = _Way(tier=tier, settings=RuntimeSettings(threads=threads, provider=provider), place=place or Place())
    if path.suffix == ".onnx":
        if precision is not None:
            raise BadUsageError(f"{path.name} has the one precision it was made with; leave --precision out")
        return [_file_row(path, path.name, way)]
    from edge_agent.bundle import Bundle

    bundle = Bundle(path)
    try:
        variants = bundle.manifest.variants if precision is None else (bundle.variant(precision),)
        if tier in WHOLE_TIERS:
            return [_pair_row(bundle, variant, way) for variant in variants]
        names = [name for variant in variants for name in (variant.little, variant.big)]
        return [_file_row(bundle.root / name, name, way) for name in names]
    finally:
        bundle.close()


def as_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as aligned text; what is unknown is '-', what failed says why, a pair's routes come below."""
    cells = [list(_COLUMNS), *([_cell(row, column) for column in _COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    details = [text for row in rows if row.get("pair") for text in _pair_lines(row)]
    causes = [f"{row['model']}: {row['cause']}" for row in rows if row["cause"]]
    faults = [f"{row['model']}: no energy: {row['sensor_fault']['cause']}" for row in rows if row["sensor_fault"]]
    return "\n".join([*lines, *details, *causes, *faults])


def _file_row(model: Path, name: str, way: _Way) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="nas-measure-") as work:
        measured = measure_file(
            model,
            tier=way.tier,
            settings=way.settings,
            work=Path(work),
            sensor=find_sensor(way.place),
            supervision=_telling(name, TIERS[way.tier]),
        )
    return _row(measured, name=name, tier=way.tier)


def _pair_row(bundle: Any, variant: Variant, way: _Way) -> dict[str, Any]:
    from edge_agent.bundle_pack import pack_of_bundle

    name = f"pair {variant.precision}"
    with tempfile.TemporaryDirectory(prefix="nas-measure-") as work:
        pack = Path(work) / "pair.zip"
        pack_of_bundle(bundle, variant, path=pack)
        measured = measure_pair(
            pack,
            tier=way.tier,
            settings=way.settings,
            work=Path(work),
            sensor=find_sensor(way.place),
            supervision=_telling(name, process_plan(TIERS[way.tier]), processes=TIERS[way.tier].processes),
        )
    points, figures = variant.operating_points or bundle.manifest.operating_points, measured.pair
    return _row(measured, name=name, tier=way.tier) | {
        "pair": _dict(measured, "pair"),
        "operating_points": {} if figures is None else {point.name: _priced(point, figures) for point in points},
    }


def _telling(name: str, plan: TierPlan, *, processes: int = 1) -> Supervision:
    """Return a supervision that logs what each process begins to do, since a minute of silence looks like a fault."""
    numbers = itertools.count(1)

    def tell() -> None:
        which = f" (process {next(numbers)} of {processes})" if processes > 1 else ""
        log.info(
            "%s%s: timing for %g to %g s, after a warm-up of at most %g s",
            name, which, plan.min_window_s, plan.max_window_s, plan.max_warmup_s,
        )  # fmt: skip

    log.info("%s: loading", name)
    return Supervision(before_timing=tell)


def _priced(point: OperatingPoint, figures: PairFigures) -> dict[str, float]:
    """Return what an operating point costs here, if it escalates as many images as it promises."""
    rate = point.calibration.escalation_rate
    return {"escalation_rate": rate, "mean_ms": figures.mean_ms(rate)}


def _row(measured: Measurement, *, name: str, tier: Tier) -> dict[str, Any]:
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


def _pair_lines(row: dict[str, Any]) -> list[str]:
    pair = row["pair"]
    routes = ", ".join(f"{r['route']} {r['mean_ms']:.4f} ms ({r['share']:.1%})" for r in pair["routes"])
    points = ", ".join(f"{name} {point['mean_ms']:.4f}" for name, point in row["operating_points"].items())
    note = f"; note: {', '.join(pair['flags'])}" if pair["flags"] else ""
    return [
        f"{row['model']}: {routes}; routes agree for {pair['route_agreement']:.1%} of {pair['stream_n']} images{note}",
        f"{row['model']}: mean ms by operating point: {points}",
    ]


def _cell(row: dict[str, Any], column: str) -> str:
    latency, energy = row["latency"] or {}, row["energy"] or {}
    if column == "ci95_ms" and latency:
        return f"{latency['mean_ci95_low_ms']:.4f}..{latency['mean_ci95_high_ms']:.4f}"
    values = {**latency, "model": row["model"], "status": row["status"], "memory_kib": row["memory_kib"]}
    value = energy.get("gross_mj") if column == "energy_mj" else values.get(column)
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
