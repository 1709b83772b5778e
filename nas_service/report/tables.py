"""The report's tables and headline figures, as rows of text."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from nas_service.report.data import ReportCandidate, ReportData, ReportMeasurement
from nas_service.report.look import threshold_text
from nas_service.report.notes import grade_text, tier_text
from nas_service.report.plots import FrontPlot, PlotPoint

ABSENT = "–"  # noqa: RUF001 - a dash in a table, not a minus
FRONT_ROWS = 24
NEAR_BEST_POINTS = 1.0

_WORDS = {
    "macs": "MACs",
    "worst_macs": "worst MACs",
    "latency_ms": "ms",
    "worst_latency_ms": "ms at worst",
    "energy_mj": "mJ",
    "memory_kib": "KiB",
    "params": "parameters",
    "weights_kib": "KiB of weights",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A heading, column names, rows of text, and how many columns from the left are text rather than numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One headline figure: what it is, the figure, and a line of context."""

    label: str
    value: str
    context: str = ""


def headline(data: ReportData, plots: tuple[FrontPlot, ...]) -> list[Fact]:
    """Return the figures that open the report, from its first plot."""
    facts = [_candidates_fact(data)]
    if plots and plots[0].front:
        plot = plots[0]
        best = max(plot.front, key=lambda p: (p.accuracy, -p.cost))
        near = min((p for p in plot.front if p.accuracy >= best.accuracy - NEAR_BEST_POINTS), key=lambda p: p.cost)
        mixing = sum(p.mixes for p in plot.front)
        facts += [
            Fact(label="best accuracy", value=f"{best.accuracy:.1f} %", context=_cost_text(plot, best)),
            Fact(label="within one point of it", value=_cost_text(plot, near), context=f"{near.accuracy:.1f} %, "
                 f"{near.escalated:.0f} % of images escalated"),
            Fact(label="points that mix routes", value=f"{mixing} of {len(plot.front)}",
                 context="on the front as drawn"),
        ]  # fmt: skip
    good = [m for m in data.measurements if m.mean_ms is not None]
    if good:
        boards = len({m.board for m in good})
        context = f"on {boards} {'board' if boards == 1 else 'boards'}, {_tiers(good)}"
        facts.append(Fact(label="measurements", value=f"{len(good):,}", context=context))
    if data.started_at is not None and data.finished_at is not None:
        facts.append(
            Fact(label="took", value=_span(data.finished_at - data.started_at), context=_time(data.started_at))
        )
    return facts


def front_table(data: ReportData) -> Table | None:
    """Return the job's front in its own objectives, at most 24 points evenly chosen; None without points."""
    points = data.front
    if not points:
        return None
    step = max(1, -(-len(points) // FRONT_ROWS))
    shown = [*points[::step]] + ([points[-1]] if (len(points) - 1) % step else [])
    names = [name for name in dict.fromkeys([*data.objectives, "macs"]) if name != "error"]
    rows = tuple(
        (
            p.candidate_id.rsplit("-", 1)[-1].lstrip("0"),
            p.coupling,
            threshold_text(p.threshold),
            f"{100 * p.accuracy:.2f}",
            f"{100 * p.escalation_rate:.1f}",
            *(_figure(p.values.get(name)) for name in names),
        )
        for p in shown
    )
    note = (
        "" if len(shown) == len(points) else f"{len(shown)} of {len(points)} points; all: nas front {data.job_id} --csv"
    )
    columns = ("candidate", "coupling", "threshold", "accuracy, %", "escalated, %", *map(_heading, names))
    return Table(title="The front", columns=columns, rows=rows, text_columns=2, note=note)


def finalists_table(data: ReportData) -> Table | None:
    """Return every operating point of every finalist, with what was promised and what the test split gave."""
    rows: list[tuple[str, ...]] = []
    for candidate in data.finalists:
        points = candidate.final.get("operating_points") or ()
        rows += [_operating_row(candidate, point) for point in points if isinstance(point, dict)]
        if not points:
            rows.append((str(candidate.number), candidate.coupling, *[ABSENT] * 6))
    if not rows:
        return None
    columns = ("candidate", "coupling", "operating point", "threshold", "accuracy, %", "escalated, %",
               "test accuracy, %", "expected cost")  # fmt: skip
    note = "Accuracy and escalation as promised from the calibration split, the test split's figure beside them."
    return Table(title="Finalists", columns=columns, rows=tuple(rows), text_columns=3, note=note)


def int8_table(data: ReportData) -> Table | None:
    """Return what int8 changes of every finalist that has it: accuracy, sizes, and how often routes agree."""
    rows: list[tuple[str, ...]] = []
    for candidate in data.finalists:
        found = candidate.final.get("int8") or {}
        for half in ("little", "big") if found else ():
            sizes, accuracy = found.get("size_bytes") or {}, (found.get("accuracy") or {}).get("test") or {}
            rows.append((
                str(candidate.number),
                half,
                f"{found.get('weights', ABSENT)}, {found.get('method', ABSENT)}",
                *(_percent((accuracy.get(precision) or {}).get(half)) for precision in ("fp32", "int8")),
                *(_figure(_kib((sizes.get(precision) or {}).get(half))) for precision in ("fp32", "int8")),
                _percent((found.get("route_agreement") or {}).get("test")),
            ))  # fmt: skip
    if not rows:
        return None
    columns = ("candidate", "answers of", "weights, ranges", "fp32 test accuracy, %", "int8 test accuracy, %",
               "fp32 file, KiB", "int8 file, KiB", "same route, %")  # fmt: skip
    note = (
        "Each precision has thresholds of its own; routes are compared at the default operating point, on test images."
    )
    return Table(title="Finalists in int8", columns=columns, rows=tuple(rows), text_columns=3, note=note)


def measurements_table(data: ReportData) -> Table | None:
    """Return what boards measured of the finalists' halves, or of the front's candidates if there are no finalists."""
    shown = data.finalists or tuple(c for c in data.finished if c.id in {p.candidate_id for p in data.front})[:12]
    rows = []
    for candidate in shown:
        for board_class in sorted(candidate.final_measurements):
            for half in ("little", "big"):
                if found := data.measurement(candidate, board_class, half, final=True):
                    rows.append(_measurement_row(candidate, found))
    if not rows:
        return None
    columns = ("candidate", "half", "board", "class", "tier", "grade", "mean, ms", "95 % interval, ms", "p90, ms",
               "memory, KiB", "energy, mJ", "n")  # fmt: skip
    known = [i for i in range(len(columns)) if any(row[i] != ABSENT for row in rows)]
    return Table(
        title="Measurements",
        columns=tuple(columns[i] for i in known),
        rows=tuple(tuple(row[i] for i in known) for row in rows),
        text_columns=6,
    )


def boards_table(data: ReportData) -> Table | None:
    """Return the boards that measured: how many figures, at which tier and grade, with which failures."""
    rows = []
    for board, board_class in sorted({(m.board, m.board_class) for m in data.measurements}):
        mine = [m for m in data.measurements if m.board == board]
        statuses = Counter(m.status for m in mine)
        rows.append((
            board,
            board_class,
            ", ".join(tier_text(t) for t in sorted({m.tier for m in mine})),
            ", ".join(grade_text(g) for g in sorted({m.grade for m in mine})),
            ", ".join(sorted({m.energy_source for m in mine if m.energy_source})) or "no sensor",
            str(statuses.get("ok", 0)),
            ", ".join(f"{n} {s}" for s, n in sorted(statuses.items()) if s != "ok") or "none",
        ))  # fmt: skip
    if not rows:
        return None
    columns = ("board", "class", "tier", "grade", "energy", "figures", "other outcomes")
    return Table(title="Boards", columns=columns, rows=tuple(rows), text_columns=5)


def provenance_table(data: ReportData) -> Table:
    """Return where the figures come from: job, seed, splits, hashes, versions, times."""
    hashes: dict[str, set[str]] = {}
    for candidate in data.candidates:
        for split, digest in candidate.split_hashes.items():
            hashes.setdefault(split, set()).add(digest)
    pairs: list[tuple[str, str | None]] = [
        ("job", data.job_id),
        ("spec hash", data.spec_hash),
        ("seed", str(data.spec.get("seed", 0))),
        ("router", data.spec.get("router")),
        ("hyperparameters", f"tuned by job {tuned}" if (tuned := _tuned(data)) else None),
        *[(f"split {split}", ", ".join(sorted(found))) for split, found in sorted(hashes.items())],
        *[(f"artefact {name}", digest) for name, digest in sorted(data.artefacts.items())],
        ("service version", data.version),
        ("created", _time(data.created_at)),
        ("started", _time(data.started_at)),
        ("finished", _time(data.finished_at)),
    ]
    rows = tuple((name, value) for name, value in pairs if value)
    return Table(title="Provenance", columns=("what", "value"), rows=rows, text_columns=2)


def _tuned(data: ReportData) -> str | None:
    job: str | None = (data.spec.get("supernet") or {}).get("tuned")
    return job


def spec_text(data: ReportData) -> str:
    """Return the job's spec as indented JSON."""
    return json.dumps(data.spec, indent=2, sort_keys=True)


def _candidates_fact(data: ReportData) -> Fact:
    failed = sum(c.status == "failed" for c in data.candidates)
    strategies = Counter(c.strategy for c in data.finished)
    context = ", ".join(f"{n} by {name}" for name, n in sorted(strategies.items()))
    if failed:
        context += f"; {failed} failed"
    return Fact(label="candidates evaluated", value=str(len(data.finished)), context=context)


def _operating_row(candidate: ReportCandidate, point: dict[str, Any]) -> tuple[str, ...]:
    promise, test = point.get("calibration") or {}, point.get("test") or {}
    costs = promise.get("expected_cost") or {}
    threshold = point.get("threshold")
    shown = (
        "by class" if isinstance(threshold, list) else threshold_text(threshold) if threshold is not None else ABSENT
    )
    return (
        str(candidate.number),
        candidate.coupling,
        str(point.get("name", ABSENT)),
        shown,
        _percent(promise.get("accuracy")),
        _percent(promise.get("escalation_rate")),
        _percent(test.get("accuracy")),
        ", ".join(f"{_figure(costs[name])} {_heading(name)}" for name in sorted(costs)) or ABSENT,
    )


def _measurement_row(candidate: ReportCandidate, found: ReportMeasurement) -> tuple[str, ...]:
    interval = ABSENT if found.ci95_ms is None else f"{_figure(found.ci95_ms[0])} to {_figure(found.ci95_ms[1])}"
    return (
        str(candidate.number),
        found.half,
        found.board,
        found.board_class,
        tier_text(found.tier),
        found.grade,
        _figure(found.mean_ms),
        interval,
        _figure(found.p90_ms),
        _figure(found.memory_kib),
        _figure(found.energy_mj),
        ABSENT if found.n is None else f"{found.n:,}",
    )


def _cost_text(plot: FrontPlot, point: PlotPoint) -> str:
    return f"{point.cost:.3g} {'M MACs' if plot.name == 'macs' else 'ms'}"


def _tiers(good: list[ReportMeasurement]) -> str:
    return ", ".join(tier_text(tier) for tier in sorted({m.tier for m in good}))


def _kib(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else size_bytes / 1024


def _percent(share: float | None) -> str:
    return ABSENT if share is None else f"{100 * share:.2f}"


def _figure(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _heading(name: str) -> str:
    figure, at, board_class = name.partition("@")
    return _WORDS.get(figure, figure) + (f" on {board_class}" if at else "")


def _time(unix_s: float | None) -> str:
    return "" if unix_s is None else datetime.fromtimestamp(unix_s, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
