"""The plots for Plotly, as plain JSON-able figures. Colours that begin with '@' are the page's, light or dark."""

from __future__ import annotations

from typing import Any

from nas_service.report.look import (
    COLOURS,
    PLOTLY_MARKS,
    SERIES,
    colour,
    log_ticks,
    rgba,
    spans_decades,
    threshold_text,
)
from nas_service.report.plots import FrontPlot, PlotCurve, PlotPoint, ProgressPlot, TrainingPlot, other_label

Figure = dict[str, Any]


def front_figure(plot: FrontPlot) -> Figure:
    """Return the figure of a front: curves faint, their static ends as small open marks, the front bold above them."""
    traces = [_curve_trace(curve) for curve in plot.curves]
    traces += [_ends_trace(plot, index=0), _ends_trace(plot, index=-1)]
    traces.append(_front_line(plot))
    present = {p.coupling for p in plot.front}
    traces += [_front_marks(plot, coupling) for coupling in [*COLOURS, *sorted(present - set(COLOURS))]
               if coupling in present]  # fmt: skip
    layout = layout_of(plot.cost_label, "accuracy, %")
    costs = [p.cost for c in plot.curves for p in c.points]
    if spans_decades(costs):
        ticks = log_ticks(min(costs), max(costs))
        layout["xaxis"] |= {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return {"data": traces, "layout": layout}


def progress_figure(plot: ProgressPlot) -> Figure:
    """Return the figure of the search's progress, the strategies told apart by shaded stretches."""
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [short(spent) for spent in plot.spent],
        "y": [short(100 * share) for share in plot.hypervolume],
        "line": {"color": "@ink", "width": 2.5, "shape": "hv"},
        "fill": "tozeroy",
        "fillcolor": rgba(SERIES[0], 0.12),
        "hovertemplate": f"after %{{x}} {plot.label}: %{{y:.1f}} %<extra></extra>",
        "showlegend": False,
    }
    layout = layout_of(plot.label, "hypervolume, %")
    layout["shapes"], layout["annotations"] = [], []
    for index, (start, end, name) in enumerate(plot.stretches):
        if index % 2:
            layout["shapes"].append(_band(short(start), short(end)))
        layout["annotations"].append(_label(short(start), name))
    layout["xaxis"]["range"] = [short(plot.stretches[0][0]), short(plot.stretches[-1][1])]
    layout["yaxis"]["rangemode"] = "tozero"
    layout["margin"]["t"] = 30
    return {"data": [line], "layout": layout}


def training_figure(plot: TrainingPlot) -> Figure:
    """Return the figure of training: losses dashed on the left axis, all else on the right one if there are both."""
    traces = []
    both = bool(plot.losses) and bool(plot.others)
    for index, (name, rows) in enumerate([*plot.losses.items(), *plot.others.items()]):
        loss = name in plot.losses
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(rows) < 40 else "lines",
                "name": name.replace("_", " "),
                "x": [epoch for epoch, _ in rows],
                "y": [short(value) for _, value in rows],
                "yaxis": "y2" if both and not loss else "y",
                "line": {"color": SERIES[index % len(SERIES)], "width": 2, "dash": "dash" if loss else "solid"},
                "marker": {"size": 5},
            }
        )
    layout = layout_of("epoch", "loss" if plot.losses else other_label(plot))
    if max(epoch for rows in (*plot.losses.values(), *plot.others.values()) for epoch, _ in rows) <= 20:
        layout["xaxis"]["dtick"] = 1
    if both:
        layout["yaxis2"] = {"overlaying": "y", "side": "right", "showgrid": False, "tickmode": "auto"}
        layout["yaxis2"]["title"] = {"text": other_label(plot)}
        layout["margin"]["r"] = 56
    return {"data": traces, "layout": layout}


def _curve_trace(curve: PlotCurve) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [short(p.cost) for p in curve.points],
        "y": [short(p.accuracy) for p in curve.points],
        "line": {"color": rgba(colour(curve.coupling), 0.75 if curve.finalist else 0.32), "width": 1.2},
        "customdata": [_hover(p) for p in curve.points],
        "hovertemplate": _HOVER,
        "showlegend": False,
    }


def _ends_trace(plot: FrontPlot, *, index: int) -> Figure:
    ends = [curve.points[index] for curve in plot.curves]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "little alone" if index == 0 else "big always",
        "x": [short(p.cost) for p in ends],
        "y": [short(p.accuracy) for p in ends],
        "marker": {
            "symbol": "circle-open" if index == 0 else "square-open",
            "size": 6,
            "color": [rgba(colour(p.coupling), 0.7) for p in ends],
        },
        "customdata": [_hover(p) for p in ends],
        "hovertemplate": _HOVER,
    }


def _front_line(plot: FrontPlot) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "x": [short(p.cost) for p in plot.front],
        "y": [short(p.accuracy) for p in plot.front],
        "line": {"color": "@ink", "width": 2.5, "shape": "hv"},
        "hoverinfo": "skip",
    }


def _front_marks(plot: FrontPlot, coupling: str) -> Figure:
    points = [p for p in plot.front if p.coupling == coupling]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": coupling,
        "x": [short(p.cost) for p in points],
        "y": [short(p.accuracy) for p in points],
        "marker": {
            "symbol": PLOTLY_MARKS.get(coupling, "circle"),
            "size": 9,
            "color": colour(coupling),
            "line": {"color": "@paper", "width": 1},
        },
        "customdata": [_hover(p) for p in points],
        "hovertemplate": _HOVER,
    }


_HOVER = (
    "<b>candidate %{customdata[0]}</b> (%{customdata[1]})<br>accuracy %{y:.2f} %, cost %{x:.4g}<br>"
    "threshold %{customdata[2]}, %{customdata[3]} % escalated<extra></extra>"
)


def _hover(point: PlotPoint) -> list[Any]:
    return [point.number, point.coupling, threshold_text(point.threshold), short(point.escalated)]


def layout_of(x_title: str, y_title: str) -> Figure:
    """Return the layout that all plots share, with its axes' titles."""
    axis = {"gridcolor": "@grid", "linecolor": "@grid", "zeroline": False, "ticks": "outside", "tickcolor": "@grid"}
    return {
        "xaxis": {**axis, "title": {"text": x_title}},
        "yaxis": {**axis, "title": {"text": y_title}},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "@ink"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 16, "t": 12, "b": 52},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "@paper", "font": {"color": "@ink"}},
        "hovermode": "closest",
    }


def _band(start: float, end: float) -> Figure:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": start,
        "x1": end,
        "y0": 0,
        "y1": 1,
        "fillcolor": "@grid",
        "opacity": 0.35,
        "line": {"width": 0},
        "layer": "below",
    }


def _label(x: float, text: str) -> Figure:
    return {
        "x": x,
        "y": 1.0,
        "xref": "x",
        "yref": "paper",
        "text": text,
        "showarrow": False,
        "xanchor": "left",
        "yanchor": "bottom",
        "font": {"size": 12, "color": "@muted"},
    }


def short(value: float) -> float:
    """Return a number with the digits that a plot can show."""
    return float(f"{value:.6g}")
