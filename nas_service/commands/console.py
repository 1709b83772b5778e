"""Where a command writes: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TextIO

import click

Cell = str | int | float | None
ABSENT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """Two streams; colours only where the stream is a terminal.

    Attributes:
        out: Takes data, and nothing else.
        err: Takes notes, progress and errors.
    """

    out: TextIO
    err: TextIO

    @property
    def interactive(self) -> bool:
        """Whether notes go to a terminal, which can show progress bars."""
        return self.err.isatty()

    def data(self, text: str) -> None:
        """Write text to stdout, ended with one newline."""
        click.echo(text.rstrip("\n"), file=self.out)

    def json(self, value: Any) -> None:
        """Write a value to stdout as indented JSON."""
        self.data(json.dumps(value, indent=2, allow_nan=False))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Write aligned columns to stdout; a table without rows is its header alone."""
        header, *body = aligned([list(columns), *[[cell_text(c) for c in row] for row in rows]])
        self.data("\n".join([click.style(header, bold=True) if self.out.isatty() else header, *body]))

    def note(self, text: str) -> None:
        """Write a line to stderr."""
        click.echo(text, file=self.err)

    def error(self, text: str) -> None:
        """Write a failure to stderr."""
        label = click.style("error:", fg="red", bold=True) if self.interactive else "error:"
        click.echo(f"{label} {text}", file=self.err)


def cell_text(cell: Cell) -> str:
    """Return a table cell's text: numbers with at most four figures after the point, unknown as '-'."""
    if cell is None:
        return ABSENT
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 10_000 else f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) and cell >= 10_000 else str(cell)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with columns two spaces apart; a column of numbers is set to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = [len(rows) > 1 and all(_numeric(row[i]) for row in rows[1:]) for i in range(len(rows[0]))]
    return [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]


def _numeric(text: str) -> bool:
    return text == ABSENT or text.replace(",", "").replace(".", "", 1).replace("e+", "").lstrip("-").isdigit()


def stamp(unix_s: float | None) -> str | None:
    """Return a time as local 'YYYY-MM-DD HH:MM:SS'; None stays None."""
    if unix_s is None:
        return None
    return datetime.fromtimestamp(unix_s, tz=timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float | None) -> str:
    """Return a span as '42 s', '3:07' or '2:05:09'; '-' for an unknown one."""
    if seconds is None:
        return ABSENT
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


Report = Callable[[str], None]
