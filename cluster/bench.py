"""`nas bench`: the request becomes a folder's configuration, the cells are trained, the results are written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from nas_service.bench import BenchOutcome, BenchRequest, BenchView, Show
from nas_service.errors import ConflictError, InvalidRequestError
from nas_service.report.bench_plots import BenchPlot, SweepLine, bench_html, bench_png
from nas_service.whole_file import write_whole
from workers.bench.config import BenchConfig
from workers.bench.folder import CellFolder, read_config, write_config
from workers.bench.planning import CellPlan, plan_cells, view_cells
from workers.bench.pool import CellPool
from workers.bench.presets import bench_preset
from workers.bench.report import write_results
from workers.bench.rows import Row, is_exit
from workers.bench.workload import Workload
from workers.data.dataset import DatasetSpec
from workers.train_config import TrainConfig


def run(request: BenchRequest, *, command: list[str], show: Show, report: Callable[[str], None]) -> BenchOutcome:
    """Do what the request says and return what came of it.

    Args:
        request: What was asked.
        command: The command line, kept beside the results.
        show: Told about twice a second where the bench is.
        report: Takes notes in words.

    Raises:
        NasError: the request fits neither the presets nor the folder.
    """
    config = configuration(request)
    workload = Workload.load(config)
    plans, jobs = plan_cells(workload), request.jobs or len(os.sched_getaffinity(0))
    if request.dry_run:
        return BenchOutcome(view=_view(request.out, plans, jobs))
    if not request.report_only:
        write_config(request.out, config)
        _keep_command(request.out, command)
        _train(request.out, plans, jobs=jobs, show=show)
    files = write_report(request.out, config, classes=workload.dataset.classes, report=report)
    view = _view(request.out, plans, jobs)
    failures = {cell.name: cell.detail for cell in view.cells if cell.state == "failed"}
    return BenchOutcome(view=view, failures=failures, files=files)


def write_report(
    root: Path, config: BenchConfig, *, classes: tuple[str, ...], report: Callable[[str], None]
) -> tuple[Path, ...]:
    """Write tables and plots from the finished cells, and return the files."""
    report("judging the finished systems")
    rows, files = write_results(root, config, classes=classes)
    plot = sweep_plot(rows, title=f"nas bench {config.preset}")
    if not plot.lines and not plot.nets:
        return files
    pictures = {"accuracy-macs.png": bench_png(plot), "accuracy-macs.html": bench_html(plot).encode()}
    for name, data in pictures.items():
        write_whole(root / "plots" / name, data)
    return (*files, *(root / "plots" / name for name in pictures))


def configuration(request: BenchRequest) -> BenchConfig:
    """Return the bench that a request means: the folder's, grown by what is asked, or a new one.

    Raises:
        ConflictError: the folder holds a bench and the request neither resumes nor reports it, or it is another one.
    """
    exists = (request.out / "bench.json").exists()
    if not exists:
        if request.report_only:
            read_config(request.out)
        return _fresh(request)
    earlier = read_config(request.out)
    if not (request.resume or request.report_only or request.dry_run):
        raise ConflictError(
            f"{request.out} holds a bench already; go on with it (--resume), write its results anew (--report-only), "
            "or give another folder"
        )
    return _continued(request, earlier)


def _fresh(request: BenchRequest) -> BenchConfig:
    preset = bench_preset(request.preset)
    return BenchConfig(
        preset=request.preset,
        dataset=DatasetSpec(name=request.dataset or preset.dataset, root=request.root, cache=request.cache),
        systems=preset.systems if request.systems is None else request.systems,
        seeds=tuple(range(1 if request.seeds is None else request.seeds)),
        epochs=preset.epochs if request.epochs is None else request.epochs,
        train_fraction=1.0 if request.train_fraction is None else request.train_fraction,
        validation_images=preset.validation_images,
        train=hyperparameters(request.train),
        note=request.note or "",
    )


def _continued(request: BenchRequest, earlier: BenchConfig) -> BenchConfig:
    """Return the folder's bench with what the request names; what it leaves out stays."""
    if request.preset != earlier.preset:
        raise ConflictError(
            f"{request.out} holds a bench of preset {earlier.preset!r}, not {request.preset!r}; give another folder"
        )
    given: dict[str, Any] = {
        "systems": request.systems,
        "seeds": None if request.seeds is None else tuple(range(request.seeds)),
        "epochs": request.epochs,
        "train_fraction": request.train_fraction,
        "train": hyperparameters(request.train) if request.train else None,
        "note": request.note,
    }
    dataset: dict[str, Any] = {"name": request.dataset, "root": request.root, "cache": request.cache}
    spec = replace(earlier.dataset, **{name: value for name, value in dataset.items() if value is not None})
    asked = replace(earlier, dataset=spec, **{name: value for name, value in given.items() if value is not None})
    return asked.grown_from(earlier)


def hyperparameters(texts: dict[str, str]) -> dict[str, Any]:
    """Return training hyperparameters from `name=value` texts, each of its field's kind.

    Raises:
        InvalidRequestError: an unknown name, or a text that is no such value.
    """
    defaults = asdict(TrainConfig(epochs=1))
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in defaults:
            raise InvalidRequestError(
                f"unknown training key {name!r}; choose from: {', '.join(f.name for f in fields(TrainConfig))}"
            )
        kind = type(defaults[name])
        if kind not in (int, float):
            raise InvalidRequestError(f"training key {name!r} takes no number, so --set cannot give it; leave it out")
        try:
            values[name] = kind(text)
        except ValueError:
            raise InvalidRequestError(f"{name}={text!r} is no {kind.__name__}; give a number, as in {name}=1") from None
    return values


def _train(root: Path, plans: tuple[CellPlan, ...], *, jobs: int, show: Show) -> None:
    waiting = [plan.cell for plan in plans if not CellFolder(root, plan.cell).done]
    for cell in waiting:
        (CellFolder(root, cell).path / "failure.txt").unlink(missing_ok=True)
    CellPool(root, jobs).train(
        waiting,
        watch=lambda running: show(BenchView(cells=view_cells(root, plans, running=running), jobs=jobs)),
    )


def _view(root: Path, plans: tuple[CellPlan, ...], jobs: int) -> BenchView:
    return BenchView(cells=view_cells(root, plans, running=frozenset()), jobs=jobs)


def _keep_command(root: Path, command: list[str]) -> None:
    """Add the command line to those that the folder was made with."""
    path = root / "command.txt"
    line = shlex.join(command)
    before = path.read_text().splitlines() if path.exists() else []
    write_whole(path, ("\n".join([*before, line] if line not in before else before) + "\n").encode())


def sweep_plot(rows: list[Row], *, title: str) -> BenchPlot:
    """Return what the plot shows: a line for each pair or early-exit net and seed, marks for static nets."""
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row.measure == "sweep_accuracy" and row.value is not None:
            lines.setdefault((row.system, row.seed), []).append((float(row.x), row.value))
    nets: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if is_exit(row.measure) and (row.system, row.seed) not in lines and row.value is not None:
            nets.setdefault(f"{row.system} s{row.seed}", []).append((float(row.x), row.value))
    return BenchPlot(
        title=title,
        lines=tuple(SweepLine(system=s, seed=seed, points=tuple(sorted(p))) for (s, seed), p in lines.items()),
        nets={name: tuple(sorted(points)) for name, points in nets.items()},
    )
