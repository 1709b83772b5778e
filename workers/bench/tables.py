"""The tables of the protocol as Markdown, from tidy rows alone: a figure that is missing is an empty cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from workers.bench.rows import Row

MEAN = "mean"
Format = Callable[[float], str]
Key = tuple[str, str]  # system, seed


def percent(value: float) -> str:
    """Return a share as percent with two digits."""
    return f"{100 * value:.2f}"


def plain(value: float) -> str:
    """Return a number with three digits."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.2f}"


def markdown(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    lines = [header, ["---" if index == 0 else "--:" for index in range(len(header))], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_system(
    rows: Sequence[Row],
    measure: str,
    *,
    cells: Sequence[Key],
    show: Format = percent,
    heading: Format | None = None,
    scale: float = 1.0,
) -> str:
    """Return a table of one measure: a line for each system and seed, then its mean, a column for each `x`.

    Args:
        rows: Of one router per system.
        measure: Its name.
        cells: Every system and seed that was asked for; those without figures have empty cells.
        show: Writes a figure.
        heading: Writes a numeric `x`.
        scale: Divides a numeric `x` first.
    """
    chosen = [row for row in rows if row.measure == measure]
    columns = _columns(chosen)
    titles = [heading(float(x) / scale) if heading and x else x or measure for x in columns]
    body = []
    for system in dict.fromkeys(system for system, _ in cells):
        seeds = [seed for name, seed in cells if name == system]
        found = {(r.seed, r.x): r for r in chosen if r.system == system}
        for seed in seeds:
            body.append([f"{system} s{seed}", *(_figure(found.get((seed, x)), show) for x in columns)])
        if len(seeds) > 1:
            body.append([f"**{system} {MEAN}**", *(_mean([found.get((s, x)) for s in seeds], show) for x in columns)])
    return markdown(["system", *titles], body) if columns else "No figures yet."


def by_measure(
    rows: Sequence[Row], measures: Sequence[str], *, cells: Sequence[Key], show: dict[str, Format] | None = None
) -> str:
    """Return a table with a line for each system and seed and a column for each measure, of rows without an `x`."""
    formats = show or {}
    found = {(r.system, r.seed, r.measure): r for r in rows if not r.x}
    body = [
        [f"{s} s{seed}", *(_figure(found.get((s, seed, m)), formats.get(m, plain)) for m in measures)]
        for s, seed in cells
    ]
    return markdown(["system", *(m.replace("_", " ") for m in measures)], body)


def _columns(rows: Sequence[Row]) -> list[str]:
    """Return every `x`, numbers ascending, words in order."""
    found = list(dict.fromkeys(row.x for row in rows))
    numeric = all(x.replace(".", "", 1).replace("e+", "").isdigit() for x in found)
    return sorted(found, key=float) if numeric and found else found


def _figure(row: Row | None, show: Format) -> str:
    if row is None or row.value is None:
        return ""
    if row.ci_low is None or row.ci_high is None:
        return show(row.value)
    return f"{show(row.value)} [{show(row.ci_low)}, {show(row.ci_high)}]"


def _mean(rows: Sequence[Row | None], show: Format) -> str:
    """Return the mean over seeds, and over how many if some are missing."""
    values = [row.value for row in rows if row is not None and row.value is not None]
    if not values:
        return ""
    note = "" if len(values) == len(rows) else f" ({len(values)} of {len(rows)})"
    return f"**{show(float(np.mean(values)))}**{note}"
