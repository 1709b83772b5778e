"""`nas bench`: systems of one preset, trained at equal budgets and judged by the protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from nas_service.bench import BenchOutcome, BenchRequest, BenchView, CellView
from nas_service.commands.bench_display import make_bench_display
from nas_service.commands.console import Console, duration
from nas_service.commands.context import Context, json_option, pass_context

PRESETS = ("micro", "tiny", "small")


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(name.strip() for name in value.split(",") if name.strip())


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{value!r} is not KEY=VALUE")
        pairs[name] = text
    return pairs


@click.command("bench")
@click.argument("preset", type=click.Choice(PRESETS), metavar="PRESET")
@click.option("--systems", callback=_names, metavar="A,B,...", help="What to compare; default: the preset's.")
@click.option("--seeds", type=click.IntRange(1), help="Seeds of every system, from 0.  [default: 1]")
@click.option("--epochs", type=click.IntRange(1), help="Of a run at the base budget; default: the preset's.")
@click.option(
    "--train-fraction",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the training images, for a quick look.",
)
@click.option("--dataset", metavar="NAME", help="Data set; default: the preset's.")
@click.option("--root", type=click.Path(path_type=str), metavar="DIR", help="The data set's folder.")
@click.option("--jobs", type=click.IntRange(1), help="Systems trained side by side; default: one for every core.")
@click.option("--set", "train", multiple=True, callback=_pairs, metavar="KEY=VALUE", help="A training hyperparameter.")
@click.option("--note", metavar="TEXT", help="Said under the tables' title, such as what is special about the data.")
@click.option("--resume", is_flag=True, help="Go on with the bench in the folder; systems and seeds may be added.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and how long it would take.")
@click.option("--report-only", is_flag=True, help="Train nothing; write the results of the finished systems.")
@click.option(
    "-o", "--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Folder for the trained systems and the results.",
)  # fmt: skip
@json_option
@pass_context
def bench_command(context: Context, /, as_json: bool, **asked: Any) -> None:
    """Compare systems at equal training budgets; PRESET is micro, tiny or small.

    Pairs, static nets, cascades and early exits are trained on this machine, several side by side, and judged on the
    test split, which each sees once. A bench that was stopped goes on with --resume and loses at most one epoch.
    """
    request = BenchRequest(cache=str(context.home().root / "data"), **asked)
    run_bench(context, request, as_json=as_json, clock=time.monotonic)


def run_bench(context: Context, request: BenchRequest, *, as_json: bool, clock: Callable[[], float]) -> None:
    """Run the bench with a progress display, and write what came of it to stdout."""
    with make_bench_display(context.console, clock=clock) as display:
        outcome = context.cluster.bench(request, show=display.show, report=context.console.note)
    if request.dry_run:
        print_plan(context.console, outcome.view, as_json=as_json)
        return
    print_outcome(context.console, outcome, as_json=as_json)
    if outcome.failures:
        raise click.exceptions.Exit(1)


def print_plan(console: Console, view: BenchView, *, as_json: bool) -> None:
    """Write what would be trained, and about how long it would take."""
    if as_json:
        console.json({"cells": [_cell(cell) for cell in view.cells], "jobs": view.jobs, "hours": view.hours_left})
        return
    rows = [(c.name, c.state, c.epochs - c.epoch, round(c.tera_macs, 3), c.hours_left) for c in view.cells]
    console.table(("system", "state", "epochs left", "TMACs", "hours"), rows)
    console.note(f"about {duration(view.hours_left * 3600)} with {view.jobs} side by side")


def print_outcome(console: Console, outcome: BenchOutcome, *, as_json: bool) -> None:
    """Write the files that hold the results, and what failed."""
    if as_json:
        files = [str(path) for path in outcome.files]
        console.json({"files": files, "cells": [_cell(c) for c in outcome.view.cells], "failures": outcome.failures})
    elif outcome.files:
        console.data("\n".join(str(path) for path in outcome.files))
    for name, why in outcome.failures.items():
        console.note(f"{name} failed: {why}")
    if busy := [cell.name for cell in outcome.view.cells if cell.state in ("busy", "waiting")]:
        console.note(f"not finished: {', '.join(busy)}; run this again with --resume")


def _cell(cell: CellView) -> dict[str, object]:
    return asdict(cell)
