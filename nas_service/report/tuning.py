"""A tuning in the report: its trials as a table, the headline, and their curves against epochs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nas_service.report.interactive import Figure, layout_of, short
from nas_service.report.look import OTHER_COLOUR, SERIES, rgba
from nas_service.report.png import INK, framed, picture_bytes
from nas_service.report.tables import ABSENT, Fact, Table
from nas_service.tuning import TunedTrial, Tuning, parameters_text

AXIS = "metric on validation images, %"
TABLE_ROWS = 40
_STYLES = {"finished": SERIES[0], "stopped": OTHER_COLOUR, "running": SERIES[4], "failed": SERIES[1]}


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPlot:
    """Every trial's metric in percent by epoch, best trial last, so that it is drawn above the others."""

    curves: tuple[tuple[int, str, tuple[tuple[int, float], ...]], ...]
    best: int


def tuning_table(tuning: Tuning) -> Table | None:
    """Return the trials, best first, with their hyperparameters; None without any."""
    trials = tuning.ranked
    if not trials:
        return None
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    rows = tuple(_row(trial, names) for trial in trials[:TABLE_ROWS])
    note = "Those that were trained longest first, then by the metric after the last epoch."
    if any(trial.parent for trial in trials):
        note += " Members of a population changed their hyperparameters while they trained; shown are the last ones."
    if len(trials) > TABLE_ROWS:
        note += f" {TABLE_ROWS} of {len(trials)} trials."
    columns = ("trial", "ended", *names, "epochs", "metric, %")
    return Table(title="Trials", columns=columns, rows=rows, text_columns=2, note=note)


def tuning_facts(tuning: Tuning) -> list[Fact]:
    """Return the headline figures of a tuning."""
    ended = ", ".join(f"{tuning.count(s)} {s}" for s in ("finished", "stopped", "failed", "running") if tuning.count(s))
    facts = [Fact(label="trials", value=str(len(tuning.trials)), context=ended)]
    if (best := tuning.best) is not None:
        value = f"{100 * (best.value or 0.0):.2f} %"
        facts.append(Fact(label=f"best, trial {best.number}", value=value, context=parameters_text(best.parameters)))
    trained = sum(len(trial.rungs) for trial in tuning.trials.values())
    facts.append(Fact(label="epochs trained", value=f"{trained:,}", context="all trials together"))
    return facts


def tuning_plot(tuning: Tuning) -> TuningPlot | None:
    """Return the trials' curves; None if no trial reached an epoch."""
    best = tuning.best
    if best is None:
        return None
    drawn = sorted((t for t in tuning.trials.values() if t.rungs), key=lambda t: (t.number == best.number, t.number))
    curves = tuple((t.number, t.status, tuple((r.epoch, 100 * r.value) for r in t.rungs)) for t in drawn)
    return TuningPlot(curves=curves, best=best.number)


def tuning_figure(plot: TuningPlot) -> Figure:
    """Return the curves for Plotly."""
    traces: list[Any] = []
    for number, status, points in plot.curves:
        best = number == plot.best
        traces.append({
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"trial {number}{', best' if best else ''}",
            "x": [epoch for epoch, _ in points],
            "y": [short(value) for _, value in points],
            "line": {"color": "@ink" if best else rgba(_STYLES[status], 0.6), "width": 2.5 if best else 1.2},
            "marker": {"size": 5 if best else 4},
            "hovertemplate": f"trial {number} ({status})<br>epoch %{{x}}: %{{y:.2f}} %<extra></extra>",
            "showlegend": best,
        })  # fmt: skip
    return {"data": traces, "layout": layout_of("epoch", AXIS)}


def tuning_png(plot: TuningPlot) -> bytes:
    """Return the curves as a picture."""
    figure, axes = framed("epoch", AXIS)
    for number, status, points in plot.curves:
        best = number == plot.best
        axes.plot(
            [epoch for epoch, _ in points],
            [value for _, value in points],
            color=INK if best else _STYLES[status],
            alpha=1.0 if best else 0.6,
            linewidth=2.0 if best else 1.0,
            marker="o",
            markersize=4 if best else 2.5,
            label=f"trial {number}, best" if best else None,
        )
    axes.legend(frameon=False, fontsize=9)
    return picture_bytes(figure)


def _row(trial: TunedTrial, names: list[str]) -> tuple[str, ...]:
    ended = trial.status if trial.parent is None else f"{trial.status}, copied trial {trial.parent[0]}"
    value = ABSENT if trial.value is None else f"{100 * trial.value:.2f}"
    shown = (_shown(trial.parameters.get(name)) for name in names)
    return (str(trial.number), ended, *shown, str(trial.epoch), value)


def _shown(value: Any) -> str:
    return ABSENT if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
