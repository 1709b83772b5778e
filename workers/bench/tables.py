"""The tables of the protocol as Markdown, from tidy rows alone: a figure that is missing is an empty cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workers.bench.rows import Row

MEAN = "mean"
Format = Callable[[float], str]
Key = tuple[str, str]  # system, seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of figures.

    Attributes:
        title: Its heading.
        rows: The figure of each system and seed that has one.
        show: Writes a figure.
        grouped: Whether to say whose figure it is: the group that ends the row's `x`.
    """

    title: str
    rows: Mapping[Key, Row]
    show: Format
    grouped: bool = False

    def text(self, key: Key) -> str:
        """Return the cell of a system and a seed."""
        row = self.rows.get(key)
        shown = _figure(row, self.show)
        return f"{group_of(row)}: {shown}" if row is not None and shown and self.grouped else shown

    def mean(self, keys: Sequence[Key]) -> str:
        """Return the mean over seeds."""
        return _mean([self.rows.get(key) for key in keys], self.show)


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
    columns = [
        Column(
            title=heading(float(x) / scale) if heading and x else x or measure,
            rows={(row.system, row.seed): row for row in chosen if row.x == x},
            show=show,
        )
        for x in _columns(chosen)
    ]
    return by_column(columns, cells=cells) if columns else "No figures yet."


def by_column(columns: Sequence[Column], *, cells: Sequence[Key]) -> str:
    """Return a table with a line for each system and seed, and one for the mean of a system with several."""
    body = []
    for system in dict.fromkeys(system for system, _ in cells):
        own = [cell for cell in cells if cell[0] == system]
        body += [[f"{system} s{seed}", *(column.text((system, seed)) for column in columns)] for _, seed in own]
        if len(own) > 1:
            body.append([f"**{system} {MEAN}**", *(column.mean(own) for column in columns)])
    return markdown(["system", *(column.title for column in columns)], body)


def group_of(row: Row) -> str:
    """Return the class or the difficulty that a row's `x` ends with, after a tolerated drop and a colon."""
    return row.x.partition(":")[2]


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
