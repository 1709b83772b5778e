"""Tables of classes and difficulties, at the thresholds for a tolerated drop."""

from __future__ import annotations

from collections.abc import Sequence

from workers.bench.rows import Row
from workers.bench.tables import Column, Key, by_column, group_of, markdown, signed

AT = "0.5"  # the tolerated drop, in points, as `x` begins


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
