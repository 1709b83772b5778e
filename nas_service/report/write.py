"""Puts a report together and writes it: report.html, report.md and the plots' PNG files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from nas_service.report.comparison import (
    budget_figure,
    budget_plots,
    budget_png,
    comparison_csv,
    comparison_facts,
    comparison_notes,
    found_table,
    milestones_table,
    ranks_table,
    spent_table,
)
from nas_service.report.data import ReportData
from nas_service.report.dimensions import dimensions_figure, dimensions_plot, dimensions_png
from nas_service.report.fidelity import fidelity_notes, fidelity_of, fidelity_table
from nas_service.report.interactive import Figure, front_figure, progress_figure, training_figure
from nas_service.report.notes import honest_notes
from nas_service.report.plots import front_plots, progress_plots, training_plot
from nas_service.report.png import front_png, progress_png, training_png
from nas_service.report.tables import (
    boards_table,
    finalists_table,
    front_table,
    headline,
    int8_table,
    measurements_table,
    provenance_table,
    spec_text,
)
from nas_service.report.tuning import tuning_facts, tuning_figure, tuning_plot, tuning_png, tuning_table
from nas_service.standings import Standings
from nas_service.whole_file import write_whole

PROGRESS = {
    "evaluations": ("progress", "Search progress", "Failed candidates count."),
    "wall_s": ("progress-time", "Search progress against time", "Time while the job lay still counts."),
    "board_s": ("progress-boards", "Search progress against board time",
                "What boards had measured before the job cost it nothing."),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawn plot: its file name without ending, title, a sentence on how to read it, and both drawings."""

    name: str
    title: str
    caption: str
    figure: Figure
    png: bytes


def write_report(data: ReportData, out: Path) -> list[Path]:
    """Write a report's files into the folder `out`, which is made if need be; return their paths, report.html first.

    Each file appears whole or not at all; the same data give the same bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = render(data)
    for name, content in files.items():
        write_whole(out / name, content)
    return [out / name for name in files]


def render(data: ReportData) -> dict[str, bytes]:
    """Return a report's files by name, report.html first."""
    standings = None if data.comparison is None else Standings(data.comparison, objectives=data.objectives)
    plots = _plots(data) if standings is None else _comparison_plots(standings)
    page = _page(data, plots) if standings is None else _comparison_page(data, plots, standings)
    environment = _environment()
    html = environment.get_template("report.html.j2").render({**page, "plotlyjs": get_plotlyjs()})
    markdown = environment.get_template("report.md.j2").render(page)
    files = {"report.html": html.encode(), "report.md": markdown.encode()}
    if standings is not None:
        files["comparison.csv"] = comparison_csv(standings).encode()
    return files | {f"{plot.name}.png": plot.png for plot in plots}


def _comparison_plots(standings: Standings) -> list[Plot]:
    caption = (
        "Mean over seeds of the share of one box that has been covered, with its 95 % bootstrap interval as a band; as "
        "far as every seed of a strategy has come. Dotted: the strategy had nothing more to ask for, and keeps what it "
        "had found."
    )
    titles = {"evaluations": "Against evaluations", "seconds": "Against time", "board_s": "Against board time"}
    return [
        Plot(name=f"hypervolume-{plot.budget.replace('_', '-')}", title=titles[plot.budget], caption=caption,
             figure=budget_figure(plot), png=budget_png(plot))
        for plot in budget_plots(standings)
    ]  # fmt: skip


def _comparison_page(data: ReportData, plots: list[Plot], standings: Standings) -> dict[str, Any]:
    tables = [ranks_table(standings), milestones_table(standings), spent_table(standings), found_table(standings),
              boards_table(data)]  # fmt: skip
    return _page(data, plots) | {
        "facts": comparison_facts(standings),
        "tables": [table for table in tables if table is not None],
        "notes": [*comparison_notes(standings), *honest_notes(data)],
    }


def _plots(data: ReportData) -> list[Plot]:
    plots = [
        Plot(
            name=f"front-{plot.name}",
            title=plot.title,
            caption="Faint lines are candidates from their little alone (circle) to their big always (square); bold is "
            "what no other point beats. Every point on a line is one threshold of one candidate.",
            figure=front_figure(plot),
            png=front_png(plot),
        )
        for plot in front_plots(data)
    ]
    if data.tuning is not None and (curves := tuning_plot(data.tuning)) is not None:
        caption = (
            "Every trial's metric after each epoch; the best in bold, those that were stopped or failed end early."
        )
        plots.append(Plot(name="trials", title="Trials", caption=caption, figure=tuning_figure(curves),
                          png=tuning_png(curves)))  # fmt: skip
    for progress in progress_plots(data):
        caption = (
            f"How much of the box between the best figures and a little beyond the front's worst is covered, in "
            f"{', '.join(progress.objectives)}. Strategies share one archive, so each begins where the last ended. "
            f"{PROGRESS[progress.budget][2]}"
        )
        name, title, _ = PROGRESS[progress.budget]
        plots.append(Plot(name=name, title=title, caption=caption, figure=progress_figure(progress),
                          png=progress_png(progress)))  # fmt: skip
    if (training := training_plot(data)) is not None:
        caption = "What each epoch of supernet training gave; losses dashed."
        plots.append(Plot(name="training", title="Supernet training", caption=caption,
                          figure=training_figure(training), png=training_png(training)))  # fmt: skip
    if (dimensions := dimensions_plot(data.trajectory)) is not None:
        caption = (
            "What the search during training held likely after each epoch: expected widths and depths of the little "
            "(solid) and the big (dashed), by stage; the expected cost beside its target (dashed), and the multiplier "
            "that holds it there. A population has no target."
        )
        plots.append(Plot(name="dimensions", title="How the dimensions evolved", caption=caption,
                          figure=dimensions_figure(dimensions), png=dimensions_png(dimensions)))  # fmt: skip
    return plots


def _page(data: ReportData, plots: list[Plot]) -> dict[str, Any]:
    trials = None if data.tuning is None else tuning_table(data.tuning)
    fidelity = fidelity_of(data)
    tables = [
        trials,
        front_table(data),
        finalists_table(data),
        fidelity_table(fidelity),
        int8_table(data),
        measurements_table(data),
        boards_table(data),
    ]
    spec: Mapping[str, Any] = data.spec
    return {
        "title": data.name,
        "job_id": data.job_id,
        "state": data.state,
        "dataset": (spec.get("dataset") or {}).get("name"),
        "preset": (spec.get("space") or {}).get("preset"),
        "objectives": data.objectives,
        "facts": headline(data, front_plots(data)) if data.tuning is None else tuning_facts(data.tuning),
        "plots": plots,
        "figures_json": json.dumps({plot.name: plot.figure for plot in plots}).replace("<", "\\u003c"),
        "tables": [table for table in tables if table is not None],
        "notes": [*honest_notes(data), *fidelity_notes(fidelity)],
        "provenance": provenance_table(data),
        "spec_text": spec_text(data),
    }


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nas_service.report"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
    return environment
