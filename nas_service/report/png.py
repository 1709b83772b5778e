"""The plots as PNG images for Markdown, drawn by matplotlib; the same data give the same bytes."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from nas_service.report.look import COLOURS, PNG_MARKS, SERIES, colour, spans_decades
from nas_service.report.plots import FrontPlot, ProgressPlot, TrainingPlot, other_label

INK, GRID, MUTED = "#1b1f24", "#dfe3e8", "#6a737d"
DPI = 160
SIZE_INCHES = (8.0, 4.8)
LEGEND_CHARACTERS = 120


def front_png(plot: FrontPlot) -> bytes:
    """Return the picture of a front: curves faint, their static ends as small open marks, the front bold above them."""
    figure, axes = framed(plot.cost_label, "accuracy, %")
    for curve in plot.curves:
        x, y = [p.cost for p in curve.points], [p.accuracy for p in curve.points]
        shade = colour(curve.coupling)
        axes.plot(x, y, color=shade, alpha=0.7 if curve.finalist else 0.3, linewidth=1.0, zorder=2)
        axes.plot(x[:1], y[:1], "o", mfc="none", mec=shade, alpha=0.55, markersize=4, mew=0.9, zorder=3)
        axes.plot(x[-1:], y[-1:], "s", mfc="none", mec=shade, alpha=0.55, markersize=4, mew=0.9, zorder=3)
    axes.step([p.cost for p in plot.front], [p.accuracy for p in plot.front], where="post", color=INK, lw=2.0, zorder=4)
    for point in plot.front:
        mark, shade = PNG_MARKS.get(point.coupling, "o"), colour(point.coupling)
        axes.plot([point.cost], [point.accuracy], mark, color=shade, mec="white", mew=0.7, markersize=6.5, zorder=5)
    if spans_decades([p.cost for c in plot.curves for p in c.points]):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    _front_legend(axes, plot)
    return picture_bytes(figure)


def progress_png(plot: ProgressPlot) -> bytes:
    """Return the picture of the search's progress, the strategies told apart by shaded stretches."""
    figure, axes = framed(plot.label, "hypervolume, %")
    shares = [100 * share for share in plot.hypervolume]
    axes.step(plot.spent, shares, where="post", color=INK, linewidth=2.0, zorder=4)
    axes.fill_between(plot.spent, shares, step="post", color=SERIES[0], alpha=0.12, linewidth=0, zorder=2)
    for index, (start, end, name) in enumerate(plot.stretches):
        if index % 2:
            axes.axvspan(start, end, color=GRID, alpha=0.5, linewidth=0, zorder=1)
        axes.annotate(name, (start, 1.015), xycoords=("data", "axes fraction"), color=MUTED, fontsize=9)
    axes.set_xlim(plot.stretches[0][0], plot.stretches[-1][1])
    axes.set_ylim(bottom=0)
    return picture_bytes(figure)


def training_png(plot: TrainingPlot) -> bytes:
    """Return the picture of training: losses dashed on the left axis, all else on the right one if there are both."""
    figure, axes = framed("epoch", "loss" if plot.losses else other_label(plot))
    right = axes.twinx() if plot.losses and plot.others else axes
    if right is not axes:
        right.set_ylabel(other_label(plot), color=INK)
        right.tick_params(colors=MUTED, labelsize=9)
        right.spines[["top", "left"]].set_visible(False)
        right.spines["right"].set_color(GRID)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    lines = []
    for index, (name, rows) in enumerate([*plot.losses.items(), *plot.others.items()]):
        target, dash = (axes, "--") if name in plot.losses else (right, "-")
        (line,) = target.plot(
            [epoch for epoch, _ in rows],
            [value for _, value in rows],
            dash,
            marker="o" if len(rows) < 40 else None,
            markersize=3,
            color=SERIES[index % len(SERIES)],
            label=name.replace("_", " "),
        )
        lines.append(line)
    legend_above(axes, lines)
    return picture_bytes(figure)


def legend_above(axes: Any, handles: list[Line2D]) -> None:
    """Put the legend above the plot, in as many columns as fit its width."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), LEGEND_CHARACTERS // (longest + 7)))
    axes.legend(handles=handles, frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns)


def _front_legend(axes: Any, plot: FrontPlot) -> None:
    present = {p.coupling for p in plot.front} | {c.coupling for c in plot.curves}
    handles = [Line2D([], [], color=INK, linewidth=2, label="front")]
    handles += [
        Line2D([], [], color=colour(name), marker=PNG_MARKS.get(name, "o"), linestyle="", markersize=6, label=name)
        for name in [*COLOURS, *sorted(present - set(COLOURS))]
        if name in present
    ]
    for label, mark in (("little alone", "o"), ("big always", "s")):
        handles.append(Line2D([], [], color=MUTED, marker=mark, mfc="none", linestyle="", markersize=5, label=label))
    legend_above(axes, handles)


def framed(x_label: str, y_label: str) -> tuple[Figure, Any]:
    """Return an empty figure in the house's look, and its axes."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.tick_params(colors=MUTED, labelsize=9)
    return figure, axes


def picture_bytes(figure: Figure) -> bytes:
    """Return the figure as PNG, the same bytes for the same data."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
