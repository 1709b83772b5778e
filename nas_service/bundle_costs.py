"""What boards measured of a finished pair, put into its bundle: the promised costs of every operating point."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge_agent.records import Manifest, OperatingPoint, Promise, Result, Variant
from nas_service.bundle_file import MANIFEST

Costs = Mapping[str, tuple[float, float]]  # objective -> cost of the little's route, and what escalation adds


def pair_costs(result: Result, *, board_class: str) -> dict[str, tuple[float, float]]:
    """Return by objective what a pair measured whole costs on its little route, and what the big route adds.

    Memory is that of one process with both graphs, whatever the route.
    """
    if result.pair is None:
        return {}
    little, big = result.pair.routes
    costs = {f"latency_ms@{board_class}": (little.mean_ms, big.mean_ms - little.mean_ms)}
    if little.gross_mj is not None and big.gross_mj is not None:
        costs[f"energy_mj@{board_class}"] = (little.gross_mj, big.gross_mj - little.gross_mj)
    if result.memory is not None:
        costs[f"memory_kib@{board_class}"] = (float(result.memory.memory_kib), 0.0)
    return costs


def with_costs(bundle: bytes, costs: Mapping[str, Costs], *, measured: Mapping[str, Any]) -> tuple[bytes, Manifest]:
    """Return a bundle's zip with measured costs at every operating point, and its manifest.

    Args:
        bundle: The zip.
        costs: By precision; they replace what the operating points said of the same objectives.
        measured: What the provenance then says under `pair_measurements`; JSON-able.
    """
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        infos = archive.infolist()
        content = {info.filename: archive.read(info) for info in infos}
    manifest = Manifest.from_json(content[MANIFEST])
    variants = tuple(_repriced(variant, costs.get(variant.precision, {})) for variant in manifest.variants)
    default = next(v for v in variants if v.precision == manifest.default_precision)
    manifest = replace(
        manifest,
        variants=variants,
        operating_points=default.operating_points,
        provenance={**manifest.provenance, "pair_measurements": dict(measured)},
    )
    text = json.dumps(manifest.to_dict(), indent=2, sort_keys=True, allow_nan=False)
    content[MANIFEST] = text.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for info in infos:
            archive.writestr(info, content[info.filename])
    return buffer.getvalue(), manifest


def _repriced(variant: Variant, costs: Costs) -> Variant:
    return replace(variant, operating_points=tuple(_priced_point(point, costs) for point in variant.operating_points))


def _priced_point(point: OperatingPoint, costs: Costs) -> OperatingPoint:
    test = None if point.test is None else _priced(point.test, costs)
    return replace(point, calibration=_priced(point.calibration, costs), test=test)


def _priced(promise: Promise, costs: Costs) -> Promise:
    rate = promise.escalation_rate
    return replace(
        promise,
        expected_cost={**promise.expected_cost, **{n: little + rate * more for n, (little, more) in costs.items()}},
        worst_cost={**promise.worst_cost, **{n: little + max(more, 0.0) for n, (little, more) in costs.items()}},
    )
