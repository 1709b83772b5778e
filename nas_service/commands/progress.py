"""A job's progress on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeftColumn

from nas_service.commands.console import Console, duration

PLAIN_INTERVAL_S = 10.0

LABELS = {
    "training": "training epochs",
    "tuning": "tuning epochs",
    "searching": "search candidates",
    "comparing": "evaluations",
    "auditing": "pairs trained alone",
    "measuring": "measuring",
    "finishing": "finalists",
    "finalists": "finalists",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a job is: its phase, how much of it is done, and what it does just now."""

    phase: str
    done: int
    total: int | None
    detail: str = ""

    @classmethod
    def of(cls, job: dict[str, Any]) -> Step:
        """Return the step of a job as the API tells it; without progress, its state stands in."""
        progress = job.get("progress") or {}
        return cls(
            phase=str(progress.get("phase") or job["state"]),
            done=int(progress.get("done") or 0),
            total=int(progress["total"]) if progress.get("total") else None,
            detail=str(progress.get("detail") or ""),
        )

    @property
    def label(self) -> str:
        """The phase in words."""
        return LABELS.get(self.phase, self.phase)


class Display(Protocol):
    """Shows the steps of one job."""

    def __enter__(self) -> Display:
        """Begin."""

    def __exit__(self, *exc_info: object) -> None:
        """End, leaving the last state in view."""

    def show(self, step: Step) -> None:
        """Show where the job is now."""


def seconds_left(*, done: int, total: int | None, elapsed_s: float) -> float | None:
    """Return the time left at the mean rate so far; None if nothing is done or the total is not known."""
    if not total or done <= 0:
        return None
    return elapsed_s / done * max(0, total - done)


@dataclass(slots=True, kw_only=True)
class PlainDisplay:
    """A line whenever the phase changes, at most one every ten seconds otherwise."""

    console: Console
    clock: Callable[[], float]
    _phase: str = ""
    _began_s: float = 0.0
    _began_done: int = 0
    _written_s: float = float("-inf")
    _last: Step | None = None

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing is kept open."""

    def show(self, step: Step) -> None:
        """Write a line if there is news."""
        now_s = self.clock()
        changed = step.phase != self._phase
        if changed:
            self._phase, self._began_s, self._began_done = step.phase, now_s, step.done
        complete = step.total is not None and step.done >= step.total
        if step != self._last and (changed or complete or now_s - self._written_s >= PLAIN_INTERVAL_S):
            self.console.note(self._line(step, now_s - self._began_s))
            self._written_s = now_s
        self._last = step

    def _line(self, step: Step, elapsed_s: float) -> str:
        count = f" {step.done}/{step.total}" if step.total else ""
        total = None if step.total is None else step.total - self._began_done
        left_s = seconds_left(done=step.done - self._began_done, total=total, elapsed_s=elapsed_s)
        left = f", {duration(left_s)} left" if left_s else ""
        detail = f" ({step.detail})" if step.detail else ""
        return f"{step.label}{count}{left}{detail}"


@dataclass(slots=True)
class BarDisplay:
    """A bar for each phase, with time taken and time left."""

    progress: Progress
    _tasks: dict[str, TaskID] = field(default_factory=dict)

    def __enter__(self) -> BarDisplay:
        self.progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.progress.stop()

    def show(self, step: Step) -> None:
        """Move the phase's bar; phases before it are over."""
        if step.phase not in self._tasks:
            for task in self._tasks.values():
                self.progress.stop_task(task)
            self._tasks[step.phase] = self.progress.add_task(step.label, total=step.total, detail="")
        self.progress.update(
            self._tasks[step.phase], completed=step.done, total=step.total, detail=step.detail, refresh=True
        )


def make_display(console: Console, *, clock: Callable[[], float]) -> Display:
    """Return bars for a terminal, plain lines for anything else."""
    if not console.interactive:
        return PlainDisplay(console=console, clock=clock)
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeftColumn(),
        TextColumn("[dim]{task.fields[detail]}"),
    )
    return BarDisplay(Progress(*columns, console=RichConsole(file=console.err, stderr=console.err is sys.stderr)))
