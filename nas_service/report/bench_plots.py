"""The plot of a bench: test accuracy against average MACs, every system's frozen sweep and every static net."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import plotly.graph_objects as go
from matplotlib.lines import Line2D

from nas_service.report.look import SERIES
from nas_service.report.png import INK, framed, legend_above, picture_bytes

MILLION = 1e6
Style = Literal["-", "--", ":", "-."]
# Matplotlib's line styles in Plotly's words.
DASHES: dict[Style, str] = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
STYLES = tuple(DASHES)
COST, ACCURACY = "average MACs, millions", "test accuracy, %"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLine:
    """One system with one seed: MACs and accuracy in [0, 1], by ascending MACs."""

    system: str
    seed: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlot:
    """Sweeps as lines; static nets as marks by name, `subnets` as several of one name, all by rising MACs."""

    title: str
    lines: tuple[SweepLine, ...]
    nets: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)

    @property
    def colours(self) -> dict[str, str]:
        """The colour of every system; seeds share one."""
        systems = dict.fromkeys(line.system for line in self.lines)
        return {system: SERIES[index % len(SERIES)] for index, system in enumerate(systems)}

    @property
    def dashes(self) -> dict[str, Style]:
        """The line style of every system, in Matplotlib's words; another for each round of the colours."""
        return {system: STYLES[index // len(SERIES) % len(STYLES)] for index, system in enumerate(self.colours)}


def bench_png(plot: BenchPlot) -> bytes:
    """Return the picture; the first seed of a system is drawn stronger."""
    figure, axes = framed(COST, ACCURACY)
    drawn: set[str] = set()
    for line in plot.lines:
        x, y = ([p[0] / MILLION for p in line.points], [100 * p[1] for p in line.points])
        style, width = plot.dashes[line.system], 1.8 if line.system not in drawn else 0.9
        axes.plot(x, y, color=plot.colours[line.system], linestyle=style, lw=width, zorder=3)
        drawn.add(line.system)
    for name, points in plot.nets.items():
        x, y = ([p[0] / MILLION for p in points], [100 * p[1] for p in points])
        axes.plot(x, y, "s", mfc="none", mec=INK, markersize=6, zorder=4)
        axes.annotate(name, (x[-1], y[-1]), xytext=(5, -9), textcoords="offset points", fontsize=7)
    handles = [
        Line2D([], [], color=shade, linestyle=plot.dashes[system], lw=2, label=system)
        for system, shade in plot.colours.items()
    ]
    if plot.nets:
        handles.append(Line2D([], [], color=INK, marker="s", mfc="none", linestyle="", label="static nets"))
    legend_above(axes, handles)
    return picture_bytes(figure)


def bench_html(plot: BenchPlot) -> str:
    """Return a page with the same plot to zoom into; it needs no network."""
    figure = go.Figure(layout={"title": plot.title, "template": "plotly_white"})
    for line in plot.lines:
        figure.add_scatter(
            x=[macs / MILLION for macs, _ in line.points],
            y=[100 * accuracy for _, accuracy in line.points],
            mode="lines+markers",
            marker={"size": 4},
            line={"color": plot.colours[line.system], "dash": DASHES[plot.dashes[line.system]]},
            name=f"{line.system} s{line.seed}",
        )
    if plot.nets:
        figure.add_scatter(
            x=[macs / MILLION for points in plot.nets.values() for macs, _ in points],
            y=[100 * accuracy for points in plot.nets.values() for _, accuracy in points],
            mode="markers",
            marker={"symbol": "square-open", "size": 10, "color": INK},
            text=[name for name, points in plot.nets.items() for _ in points],
            name="static nets",
        )
    figure.update_xaxes(title=COST)
    figure.update_yaxes(title=ACCURACY)
    page: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return page
