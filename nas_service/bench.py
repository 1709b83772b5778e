"""What `nas bench` is asked, how far it is, and what came out: values between the command and the bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nas_service.errors import InvalidRequestError

STATES = ("waiting", "running", "done", "failed", "busy")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """One call of `nas bench`; None where the preset, or the folder's bench, has the say.

    Attributes:
        preset: Its name.
        out: The folder.
        systems: Names of systems.
        seeds: How many, from 0.
        epochs: Of a run at the base budget.
        train_fraction: Share of the weights split to train on.
        dataset: Name of the data set.
        root: Its folder.
        cache: Where decoded images are kept.
        jobs: Cells that are trained at the same time; None: one for every core.
        train: Hyperparameters by name, as text.
        note: Said under the tables' title.
        resume: Go on with the bench in the folder.
        dry_run: Only say what would be done.
        report_only: Train nothing; write results from the finished cells.
    """

    preset: str
    out: Path
    systems: tuple[str, ...] | None = None
    seeds: int | None = None
    epochs: int | None = None
    train_fraction: float | None = None
    dataset: str | None = None
    root: str | None = None
    cache: str | None = None
    jobs: int | None = None
    train: dict[str, str] = field(default_factory=dict)
    note: str | None = None
    resume: bool = False
    dry_run: bool = False
    report_only: bool = False

    def __post_init__(self) -> None:
        if self.dry_run and self.report_only:
            raise InvalidRequestError("a dry run writes no report; give --dry-run or --report-only, not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """Where one cell is, a system with a seed; `hours_left` is None where nothing is left or known.

    `state` is waiting, running, done, failed, or busy: another process is at it.
    """

    name: str
    state: str
    epoch: int
    epochs: int
    tera_macs: float
    hours_left: float | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise InvalidRequestError(f"a cell cannot be {self.state!r}; choose from: {', '.join(STATES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchView:
    """Where a bench is."""

    cells: tuple[CellView, ...]
    jobs: int

    @property
    def done(self) -> int:
        """Finished cells."""
        return sum(cell.state == "done" for cell in self.cells)

    @property
    def hours_left(self) -> float:
        """Hours until the last cell is finished, if `jobs` cells run side by side."""
        left = [cell.hours_left or 0.0 for cell in self.cells if cell.state in ("waiting", "running")]
        return max(sum(left) / self.jobs, max(left, default=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOutcome:
    """What a call came to: the last view, why cells failed, and the files written."""

    view: BenchView
    failures: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


Show = Callable[[BenchView], None]
