"""Tables of classes and difficulties, at the thresholds for a tolerated drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workers.bench.rows import Row, x_text
from workers.bench.tables import Column, Format, Key, by_column, group_of, markdown, percent, signed
from workers.bench.variants import DROP_POINTS
from workers.routing.choice import CLASS_SUFFIX

HALVES = {"hard": "thresholds of all", "easy_to_hard": "of the easy half"}
HELD: dict[str, tuple[str, Format]] = {
    "shift_drop_points": ("drop", signed),
    "shift_rate": ("rate, %", percent),
    "shift_macs": ("MACs, M", lambda macs: f"{macs / 1e6:.3f}"),
}
KINDS = ("one", "by class")
COMPARED: dict[str, tuple[str, Format]] = {
    "saving": ("saving, %", percent),
    "accuracy_at_drop": ("accuracy, %", percent),
    "worst_class_drop_points": ("worst class's drop", signed),
}

AT = x_text(DROP_POINTS)  # of the tables without a column for every tolerated drop


def groups(rows: Sequence[Row], kind: str, *, cells: Sequence[Key]) -> str:
    """Return accuracy and rate of every group of a kind, `class` or `difficulty`."""
    inside = [r for r in rows if r.measure in (f"{kind}_accuracy", f"{kind}_rate") and r.x.startswith(f"{AT}:")]
    found = {(r.system, r.seed, r.measure, group_of(r)): r.value for r in inside}
    names = list(dict.fromkeys(group_of(r) for r in inside))

    def cell(system: str, seed: str, group: str) -> str:
        accuracy, rate = (found.get((system, seed, f"{kind}_{m}", group)) for m in ("accuracy", "rate"))
        return "" if accuracy is None or rate is None else f"{100 * accuracy:.1f} ({100 * rate:.0f})"

    body = [[f"{s} s{seed}", *(cell(s, seed, name) for name in names)] for s, seed in cells]
    return markdown(["system", *names], body) if names else "No figures yet."


def worst_classes(rows: Sequence[Row], *, cells: Sequence[Key]) -> str:
    """Return the class of the largest drop and that drop, a column for each tolerated one."""
    chosen = [row for row in rows if row.measure == "worst_class_drop_points"]
    drops = sorted({row.x.partition(":")[0] for row in chosen}, key=float)
    columns = [
        Column(
            title=f"δ = {drop}",
            rows={(row.system, row.seed): row for row in chosen if row.x.startswith(f"{drop}:")},
            show=signed,
            grouped=True,
        )
        for drop in drops
    ]
    return by_column(columns, cells=cells) if columns else "No figures yet."


def class_thresholds(rows: Sequence[Row], *, routers: Mapping[Key, str], cells: Sequence[Key]) -> str:
    """Return what one threshold saves and loses beside thresholds by class.

    Args:
        rows: Under all routers.
        routers: The chosen one of each system and seed.
        cells: Every system and seed to show.
    """
    at = [row for row in rows if row.x.partition(":")[0] == AT]

    def found(measure: str, suffix: str) -> dict[Key, Row]:
        wanted = {(*key, router + suffix) for key, router in routers.items()}
        own = [row for row in at if row.measure == measure and (row.system, row.seed, row.router) in wanted]
        return {(row.system, row.seed): row for row in own}

    columns = [
        Column(
            title=f"{title}: {kind}",
            rows=found(measure, suffix),
            show=show,
            grouped=measure == "worst_class_drop_points",
        )
        for measure, (title, show) in COMPARED.items()
        for kind, suffix in zip(KINDS, ("", CLASS_SUFFIX), strict=True)
    ]
    return by_column(columns, cells=cells)


def hard_half(rows: Sequence[Row], *, cells: Sequence[Key]) -> str:
    """Return what thresholds of all calibration images do on hard test images beside thresholds of easy ones."""
    shifted = [row for row in rows if row.split == "shift"]
    columns = [
        Column(
            title=f"{title}: {kind}",
            rows={(row.system, row.seed): row for row in shifted if (row.measure, row.x) == (measure, half)},
            show=show,
        )
        for measure, (title, show) in HELD.items()
        for half, kind in HALVES.items()
    ]
    return by_column(columns, cells=cells)
