"""A bench's progress on stderr: a bar for every cell on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from nas_service.bench import BenchView, CellView
from nas_service.commands.console import Console, duration

LINE_INTERVAL_S = 60.0


class BenchDisplay(Protocol):
    """Shows where a bench is."""

    def __enter__(self) -> BenchDisplay:
        """Begin."""

    def __exit__(self, *exc_info: object) -> None:
        """End, leaving the last state in view."""

    def show(self, view: BenchView) -> None:
        """Show where the bench is now."""


@dataclass(slots=True, kw_only=True)
class BenchLines:
    """A line for every cell that begins or ends, and one for the whole bench at most once a minute."""

    console: Console
    clock: Callable[[], float]
    _states: dict[str, str] = field(default_factory=dict)
    _written_s: float = float("-inf")

    def __enter__(self) -> BenchLines:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing is kept open."""

    def show(self, view: BenchView) -> None:
        """Write what is new."""
        for cell in view.cells:
            if self._states.get(cell.name, "waiting") != cell.state:
                detail = f": {cell.detail}" if cell.detail else ""
                self.console.note(f"{cell.name} {cell.state}{detail}")
            self._states[cell.name] = cell.state
        if self.clock() - self._written_s >= LINE_INTERVAL_S:
            self._written_s = self.clock()
            running = ", ".join(f"{c.name} {c.epoch}/{c.epochs}" for c in view.cells if c.state == "running")
            self.console.note(f"{view.done}/{len(view.cells)} done, {_left(view)}{f' ({running})' if running else ''}")


@dataclass(slots=True)
class BenchBars:
    """A bar for every cell that has begun."""

    progress: Progress
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _whole: TaskID | None = None

    def __enter__(self) -> BenchBars:
        self.progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.progress.stop()

    def show(self, view: BenchView) -> None:
        """Move the bars."""
        if self._whole is None:
            self._whole = self.progress.add_task("systems", total=len(view.cells), detail="")
        self.progress.update(self._whole, completed=view.done, detail=_left(view))
        for cell in view.cells:
            if cell.state != "waiting":
                self._bar(cell)

    def _bar(self, cell: CellView) -> None:
        if cell.name not in self._tasks:
            self._tasks[cell.name] = self.progress.add_task(f"  {cell.name}", total=cell.epochs, detail="")
        left = None if cell.hours_left is None else f"{duration(cell.hours_left * 3600)} left"
        self.progress.update(self._tasks[cell.name], completed=cell.epoch, detail=cell.detail or left or cell.state)


def make_bench_display(console: Console, *, clock: Callable[[], float]) -> BenchDisplay:
    """Return bars for a terminal, lines for anything else."""
    if not console.interactive:
        return BenchLines(console=console, clock=clock)
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("[dim]{task.fields[detail]}"),
    )
    return BenchBars(Progress(*columns, console=RichConsole(file=console.err, stderr=console.err is sys.stderr)))


def _left(view: BenchView) -> str:
    return f"about {duration(view.hours_left * 3600)} left"
