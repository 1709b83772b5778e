"""How dimensions evolved during training: small multiples over epochs, as numbers, for Plotly and as PNG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure as Picture
from matplotlib.ticker import MaxNLocator

from nas_service.report.look import SERIES
from nas_service.report.png import DPI, GRID, INK, MUTED, picture_bytes
from nas_service.trajectory import Trajectory

Rows = tuple[tuple[int, float], ...]
COLUMNS = ("width", "depth", "cost", "multiplier")
MAX_ROWS = 6
ROW_PIXELS = 210


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One quantity over epochs; `dashed` lines are the big's, or a target."""

    name: str
    rows: Rows
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionsPlot:
    """Panels by (distribution, column): expected widths and depths of both halves, cost and target, multiplier.

    Costs are in `unit`, MACs in millions.
    """

    rows: tuple[str, ...]
    panels: dict[tuple[str, str], tuple[Line, ...]]
    unit: str = "MACs"

    def title(self, name: str, column: str) -> str:
        """Return what stands above a panel."""
        return f"{name}: {column}" if column != "cost" else f"{name}: expected {_scaled(self.unit)[0]}"


def dimensions_plot(trajectory: Trajectory | None) -> DimensionsPlot | None:
    """Return what to draw of up to six distributions; None without a trajectory."""
    if trajectory is None or not trajectory.steps:
        return None
    names = tuple(trajectory.steps[-1].evolving)[:MAX_ROWS]
    unit = next((one.unit for one in trajectory.steps[-1].evolving.values()), "MACs")
    panels, scale = {}, _scaled(unit)[1]
    for name in names:
        genes = trajectory.steps[-1].evolving[name].probabilities
        for kind in ("width", "depth"):
            panels[name, kind] = tuple(
                Line(name=gene.removesuffix(f"_{kind}"), rows=tuple(trajectory.expected(name, gene)),
                     dashed=gene.startswith("big"))
                for gene in genes if gene.endswith(f"_{kind}")
            )  # fmt: skip
        cost = Line(name="expected", rows=_figure(trajectory, name, "expected_cost", scale=scale))
        target = Line(name="target", rows=_figure(trajectory, name, "target_cost", scale=scale), dashed=True)
        panels[name, COLUMNS[2]] = tuple(line for line in (cost, target) if line.rows)
        multiplier = Line(name="multiplier", rows=_figure(trajectory, name, "multiplier", scale=1.0))
        panels[name, COLUMNS[3]] = (multiplier,) if multiplier.rows else ()
    return DimensionsPlot(rows=names, panels=panels, unit=unit)


def dimensions_figure(plot: DimensionsPlot) -> dict[str, Any]:
    """Return the Plotly figure: a row for each distribution, a column for each kind of quantity."""
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "@ink"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 48, "r": 16, "t": 44, "b": 40},
        "height": 84 + ROW_PIXELS * len(plot.rows),
        "showlegend": False,
        "annotations": [],
    }
    width, height = 1 / len(COLUMNS), 1 / len(plot.rows)
    for number, (name, column) in enumerate((name, column) for name in plot.rows for column in COLUMNS):
        row, at = divmod(number, len(COLUMNS))
        axis = "" if number == 0 else str(number + 1)
        top = 1 - row * height
        x_domain, y_domain = [at * width + 0.03, (at + 1) * width - 0.01], [top - height + 0.06, top - 0.05]
        grid = {"gridcolor": "@grid", "zeroline": False}
        layout[f"xaxis{axis}"] = {**grid, "domain": x_domain, "anchor": f"y{axis}", "title": {"text": "epoch"}}
        layout[f"yaxis{axis}"] = {**grid, "domain": y_domain, "anchor": f"x{axis}"}
        layout["annotations"].append(
            {"x": x_domain[0], "y": y_domain[1], "xref": "paper", "yref": "paper", "text": plot.title(name, column),
             "showarrow": False, "xanchor": "left", "yanchor": "bottom"}
        )  # fmt: skip
        traces += [_trace(line, axis, index) for index, line in enumerate(plot.panels[name, column])]
    return {"data": traces, "layout": layout}


def dimensions_png(plot: DimensionsPlot) -> bytes:
    """Return the same panels as a picture."""
    figure = Picture(figsize=(12.0, 2.4 * len(plot.rows) + 0.4), dpi=DPI, facecolor="white", layout="constrained")
    grid = figure.subplots(len(plot.rows), len(COLUMNS), squeeze=False)
    for row, name in enumerate(plot.rows):
        for at, column in enumerate(COLUMNS):
            axes = grid[row][at]
            for index, line in enumerate(plot.panels[name, column]):
                epochs, values = zip(*line.rows, strict=True)
                style, shade = ("--" if line.dashed else "-"), SERIES[index % len(SERIES)]
                axes.plot(epochs, values, style, color=shade, label=line.name, linewidth=1.4)
            if plot.panels[name, column]:
                axes.legend(fontsize=6, frameon=False)
            axes.set_title(plot.title(name, column), fontsize=8, color=INK, loc="left")
            axes.grid(color=GRID, linewidth=0.6)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.tick_params(colors=MUTED, labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
    return picture_bytes(figure)


def _scaled(unit: str) -> tuple[str, float]:
    """Return how a cost is labelled and what it is multiplied by to be drawn."""
    return ("MACs, millions", 1e-6) if unit == "MACs" else (unit, 1.0)


def _trace(line: Line, axis: str, index: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": line.name,
        "x": [epoch for epoch, _ in line.rows],
        "y": [float(f"{value:.6g}") for _, value in line.rows],
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "line": {"color": SERIES[index % len(SERIES)], "width": 1.8, "dash": "dash" if line.dashed else "solid"},
        "hovertemplate": f"{line.name}, epoch %{{x}}: %{{y:.4g}}<extra></extra>",
    }


def _figure(trajectory: Trajectory, name: str, quantity: str, *, scale: float) -> Rows:
    values = ((s.epoch, getattr(s.evolving[name], quantity)) for s in trajectory.steps if name in s.evolving)
    return tuple((epoch, scale * value) for epoch, value in values if value is not None)
