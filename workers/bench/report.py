"""What a bench's folder shows: `results.csv` and `tables.md`, recomputed from the finished cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas_service.whole_file import write_whole
from workers.bench.config import BenchConfig
from workers.bench.document import document
from workers.bench.finished import FinishedCell, read_finished
from workers.bench.judging import judge_all
from workers.bench.planning import cells_of
from workers.bench.rows import Row, to_csv
from workers.protocol.bootstrap import RESAMPLES


def write_results(
    root: Path, config: BenchConfig, *, classes: tuple[str, ...], resamples: int = RESAMPLES
) -> tuple[list[Row], tuple[Path, ...]]:
    """Judge the finished cells, write both files, and return the rows and the files' paths.

    Args:
        root: The bench's folder.
        config: What was asked for; cells that are not finished are named.
        classes: Names of the data set's classes.
        resamples: Of the test images, for the intervals.
    """
    asked = cells_of(config)
    finished = read_finished(root, asked)
    rows = judge_all(finished, classes=classes, resamples=resamples)
    tables = document(
        rows,
        title=f"nas bench {config.preset}",
        notes=_notes(root, config, finished),
        cells=[(cell.system, str(cell.seed)) for cell in sorted(asked, key=lambda c: _place(config, c.system, c.seed))],
        chosen={(c.cell.system, str(c.cell.seed)): c.choices.router for c in finished if c.choices.router is not None},
    )
    paths = (root / "results.csv", root / "tables.md")
    for path, text in zip(paths, (to_csv(rows), tables), strict=True):
        write_whole(path, text.encode())
    return rows, paths


def _place(config: BenchConfig, system: str, seed: int) -> tuple[int, int]:
    return config.systems.index(system), config.seeds.index(seed)


def _notes(root: Path, config: BenchConfig, finished: Sequence[FinishedCell]) -> list[str]:
    """Return what the figures were made from and with."""
    fraction = "" if config.train_fraction == 1 else f", {100 * config.train_fraction:g} % of the training images"
    notes = [f"Data set `{config.dataset.name}`{fraction}; {config.epochs} epochs at the base budget."]
    notes += [config.note] if config.note else []
    path = root / "command.txt"
    if path.exists():
        notes.append(f"```\n{path.read_text().strip()}\n```")
    if finished:
        images, made = finished[0].record["images"], finished[0].record["made_with"]
        notes.append(
            ", ".join(f"{count:,} {split}" for split, count in images.items())
            + f" images. {made['cpu'] or 'CPU unknown'}, Python {made['python']}, torch {made['torch']}."
        )
    return notes
