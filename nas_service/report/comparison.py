"""A comparison of strategies in the report: hypervolume against budgets with intervals, ranks, and what each found."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any, TypeAlias

from nas_service.job_parts import is_training_strategy
from nas_service.report.interactive import Figure, layout_of, short
from nas_service.report.look import SERIES, rgba
from nas_service.report.png import framed, picture_bytes
from nas_service.report.tables import ABSENT, Fact, Table
from nas_service.seed_statistics import FRIEDMAN_SEEDS, WILCOXON_SEEDS, MeanInterval
from nas_service.standings import BUDGETS, Milestone, Standings, evaluations_text, interval_text

Curve: TypeAlias = tuple[tuple[float, float, float, float], ...]
AXIS = "hypervolume, %"
BUDGET_LABELS = {
    "evaluations": "evaluations",
    "seconds": "seconds of training, evaluating and asking, one after the other",
    "board_s": "board seconds",
}
MILESTONES = {"evaluations": "after {:,.4g}", "seconds": "at {:,.4g} s in all", "board_s": "at {:,.4g} board s"}
FRONT_ROWS = 12
CSV_COLUMNS = ("strategy", "seed", "evaluations", "candidate", "known", "seconds", "board_s", "hypervolume")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPlot:
    """Hypervolume in percent against a budget.

    Attributes:
        budget: One of `BUDGETS`.
        label: What people read.
        curves: Strategy -> (spent, mean, low, high); a single seed has no interval.
        flat_from: Strategy -> what it had spent when it ended, for those that ended early.
    """

    budget: str
    label: str
    curves: dict[str, Curve]
    flat_from: dict[str, float]

    def legs(self, strategy: str) -> tuple[Curve, Curve]:
        """Return a strategy's curve while it searched, and the flat rest; they share a point."""
        curve = self.curves[strategy]
        end = self.flat_from.get(strategy, curve[-1][0])
        searched = sum(point[0] <= end for point in curve)
        return curve[:searched], curve[max(searched - 1, 0) :] if searched < len(curve) else ()

    def legend(self, strategy: str) -> str:
        """Return what a strategy's line is called."""
        end = self.flat_from.get(strategy)
        return strategy if end is None else f"{strategy}, ended after {end:,.4g}"


def budget_plots(standings: Standings) -> tuple[BudgetPlot, ...]:
    """Return a plot for every budget that anything was spent of."""
    plots = []
    for budget in BUDGETS:
        curves = {
            name: tuple((at, *_percents(interval)) for at, interval in standings.curve(name, budget))
            for name in standings.comparison.strategies
        }
        drawn = {name: curve for name, curve in curves.items() if curve and curve[-1][0] > 0}
        if drawn:
            ended = {name: end for name in drawn if (end := standings.flat_from(name, budget)) is not None}
            plots.append(BudgetPlot(budget=budget, label=BUDGET_LABELS[budget], curves=drawn, flat_from=ended))
    return tuple(plots)


def budget_figure(plot: BudgetPlot) -> Figure:
    """Return the curves for Plotly, intervals as bands."""
    traces: list[Any] = []
    for i, (name, curve) in enumerate(plot.curves.items()):
        shade, spent = SERIES[i % len(SERIES)], [short(p[0]) for p in curve]
        traces.append({
            "type": "scatter", "mode": "lines", "x": [*spent, *spent[::-1]], "hoverinfo": "skip", "showlegend": False,
            "y": [short(p[3]) for p in curve] + [short(p[2]) for p in reversed(curve)], "legendgroup": name,
            "fill": "toself", "fillcolor": rgba(shade, 0.15), "line": {"width": 0},
        })  # fmt: skip
        traces += [
            {
                "type": "scatter", "mode": "lines", "name": plot.legend(name), "legendgroup": name,
                "x": [short(p[0]) for p in leg], "y": [short(p[1]) for p in leg], "showlegend": dash == "solid",
                "line": {"color": shade, "width": 2.5, "dash": dash},
                "hovertemplate": f"{name}<br>%{{x}}: %{{y:.1f}} %<extra></extra>",
            }
            for leg, dash in zip(plot.legs(name), ("solid", "dot"), strict=True)
            if leg or dash == "solid"
        ]  # fmt: skip
    return {"data": traces, "layout": layout_of(plot.label, AXIS)}


def budget_png(plot: BudgetPlot) -> bytes:
    """Return the curves as a picture."""
    figure, axes = framed(plot.label, AXIS)
    for i, (name, curve) in enumerate(plot.curves.items()):
        shade, spent = SERIES[i % len(SERIES)], [p[0] for p in curve]
        axes.fill_between(spent, [p[2] for p in curve], [p[3] for p in curve], color=shade, alpha=0.15, linewidth=0)
        searched, flat = plot.legs(name)
        axes.plot(*_drawn(searched), color=shade, linewidth=2.0, label=plot.legend(name))
        axes.plot(*_drawn(flat), ":", color=shade, linewidth=2.0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    return picture_bytes(figure)


def comparison_facts(standings: Standings) -> list[Fact]:
    """Return the headline figures of a comparison."""
    comparison = standings.comparison
    runs = sum(bool(run.charges) for run in comparison.runs.values())
    known = len({c.candidate_id for run in comparison.runs.values() for c in run.charges})
    facts = [
        Fact(label="evaluations", value=f"{comparison.charged:,}", context=f"{known:,} of them apart, in {runs} runs")
    ]
    if found := standings.standings:
        first = found[0]
        rank = "" if first.rank is None else f"mean rank {first.rank:.2f} of {len(found)}, "
        shown = f"{rank}hypervolume {interval_text(first.final)}"
        facts.append(Fact(label="ahead", value=first.strategy, context=shown))
    return facts


def ranks_table(standings: Standings) -> Table | None:
    """Return the strategies with their ranks and hypervolumes; None before anything was found."""
    found = standings.standings
    if not found:
        return None
    seeds = sorted({seed for standing in found for seed in standing.by_seed})
    tested = any(s.p_to_best is not None for s in found)
    rows = tuple(
        (
            s.strategy,
            ABSENT if s.rank is None else f"{s.rank:.2f}",
            evaluations_text(s),
            f"{100 * s.final.mean:.2f}",
            ABSENT if s.final.low is None or s.final.high is None
            else f"{100 * s.final.low:.2f} to {100 * s.final.high:.2f}",
            *(f"{100 * s.by_seed[seed]:.2f}" if seed in s.by_seed else ABSENT for seed in seeds),
            *([ABSENT if s.p_to_best is None else f"{s.p_to_best:.3f}"] if tested else []),
        )
        for s in found
    )  # fmt: skip
    columns = ("strategy", "mean rank", "evaluations", "hypervolume, %", "95 % over seeds",
               *(f"seed {seed}" for seed in seeds), *(["p to the highest"] if tested else []))  # fmt: skip
    early = any(map(standings.ended_early, standings.comparison.runs.values()))
    ended = " A run with fewer had nothing more to ask for; what it had found by then counts on." if early else ""
    note = f"After {standings.judged} evaluations of each run.{ended} {significance_text(standings)}"
    return Table(title="Ranks", columns=columns, rows=rows, note=note)


def milestones_table(standings: Standings) -> Table | None:
    """Return hypervolume and mean rank at several budgets and at equal cost; None before anything was found."""
    reached = standings.milestones
    if not reached or not standings.standings:
        return None
    rows = tuple((s.strategy, *(_stood(place, s.strategy) for place in reached)) for s in standings.standings)
    note = (
        f"Hypervolume in percent after so many evaluations, with the mean rank in brackets; every run has "
        f"{standings.common}. Seconds are the least that any run took in all, so each has spent as much: its training, "
        "evaluating and asking, or its boards."
    )
    columns = ("strategy", *(MILESTONES[place.budget].format(place.at) for place in reached))
    return Table(title="At several budgets", columns=columns, rows=rows, note=note)


def found_table(standings: Standings) -> Table | None:
    """Return each strategy's own front over its seeds, at most 12 points of each; None before anything was found."""
    rows: list[tuple[str, ...]] = []
    for standing in standings.standings:
        points = standing.front.points
        step = max(1, -(-len(points) // FRONT_ROWS))
        joint = set(standings.joint_front.points)
        rows += [
            (standing.strategy, p.candidate_id.rsplit("-", 1)[-1].lstrip("0"), "yes" if p in joint else "no",
             *(f"{value:,.6g}" for value in p.values))
            for p in points[::step]
        ]  # fmt: skip
    if not rows:
        return None
    sizes = ", ".join(f"{s.strategy} {s.on_joint_front} of {len(s.front.points)}" for s in standings.standings)
    columns = ("strategy", "candidate", "on the front of all", *standings.objectives)
    note = f"On the front of all strategies together ({len(standings.joint_front.points)} points): {sizes}."
    return Table(title="What each strategy found", columns=columns, rows=tuple(rows), text_columns=3, note=note)


def spent_table(standings: Standings) -> Table | None:
    """Return what each strategy spent, as means over its runs; None before anything was spent."""
    rows = []
    for name in standings.comparison.strategies:
        runs = [run for run in standings.comparison.of_strategy(name) if run.charges]
        if not runs:
            continue
        charges, trained = [c for run in runs for c in run.charges], [r.training for r in runs if r.training]
        rows.append((
            name,
            str(len(runs)),
            f"{len(charges) / len(runs):.1f}",
            f"{sum(c.seconds for c in charges) / len(runs):.1f}",
            f"{sum(c.asking_s for c in charges) / len(runs):.2f}",
            f"{sum(c.board_s for c in charges) / len(runs):.1f}",
            f"{sum(t.seconds for t in trained) / len(runs):.1f}" if trained else ABSENT,
            f"{sum(t.evaluations for t in trained) / len(runs):.1f}" if trained else ABSENT,
            f"{sum(standings.spent(run, 'seconds')[-1] for run in runs) / len(runs):.1f}",
            str(len(trained)) if is_training_strategy(name) else "0",
        ))  # fmt: skip
    columns = ("strategy", "runs", "evaluations", "evaluating, s", "asking, s", "boards, s", "training, s",
               "pairs scored while training", "in all, s", "trainings of its own")  # fmt: skip
    note = (
        "Means of a run, but the last column: supernets trained for this strategy alone, over all seeds. A candidate's "
        "evaluation is charged in full to each that asked for it, though it was evaluated once; so are boards, once "
        "for each half. Training is what each run builds on, shared or its own, with the pairs that were scored in "
        "it; in all is training, evaluating and asking."
    )
    return Table(title="What was spent", columns=columns, rows=tuple(rows), note=note) if rows else None


def comparison_notes(standings: Standings) -> list[str]:
    """Return what a comparison's figures do not say."""
    notes = []
    if box := standings.box:
        corners = "; ".join(f"{n} {low:,.4g} to {high:,.4g}" for n, low, high in
                            zip(standings.objectives, box.ideal, box.reference, strict=True))  # fmt: skip
        notes.append(
            f"Hypervolume is a share of one box for all ({corners}), fixed from the union of all archives: the best in "
            "each objective, and a tenth of the front's span beyond its worst. Another job has another box."
        )
    runs = standings.comparison.runs.values()
    if any(run.training and run.training.evaluations for run in runs) or _several_trainings(standings):
        notes.append(
            "Strategies that search while training train a supernet of their own for every seed, for as many epochs: "
            "their spread holds that of training, that of the others does not."
        )
    notes.append(
        "Strategies search one trained supernet: seeds differ in the search alone, and intervals do not cover another "
        "training, space or data set. Accuracies are on validation images that nothing is held out from."
    )
    if standings.seeds and standings.seeds < FRIEDMAN_SEEDS:
        notes.append(
            f"{standings.seeds} {'seed says' if standings.seeds == 1 else 'seeds say'} little: a bootstrap over so few "
            "is narrower than the truth."
        )
    return notes


def comparison_csv(standings: Standings) -> str:
    """Return every charge as a row: what had been spent by then, and the hypervolume."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for index, run in sorted(standings.comparison.runs.items()):
        seconds, boards = standings.spent(run, "seconds"), standings.spent(run, "board_s")
        for i, charge in enumerate(run.charges):
            writer.writerow([
                run.strategy, run.seed, i + 1, charge.candidate_id, int(charge.known), f"{seconds[i]:.6g}",
                f"{boards[i]:.6g}", f"{standings.volumes[index][i]:.8g}",
            ])  # fmt: skip
    return text.getvalue()


def significance_text(standings: Standings) -> str:
    """Return what a test says of the ranks, or why there is none."""
    if standings.scores is None:
        return "Ranks follow when every strategy has every seed."
    parts = []
    if (p := standings.friedman) is not None:
        parts.append(f"That all strategies are alike: p = {p:.3g} (Friedman, by permutation).")
    elif standings.seeds < FRIEDMAN_SEEDS:
        parts.append(f"No test: {standings.seeds} of the {FRIEDMAN_SEEDS} seeds that Friedman's needs.")
    if standings.seeds >= WILCOXON_SEEDS:
        parts.append("Pairs are tested against the highest mean by Wilcoxon's signed ranks, corrected by Holm.")
    return " ".join(parts)


def _stood(place: Milestone, strategy: str) -> str:
    if strategy not in place.found:
        return ABSENT
    rank = f" ({place.ranks[strategy]:.2f})" if strategy in place.ranks else ""
    return f"{100 * place.found[strategy]:.2f}{rank}"


def _drawn(curve: Curve) -> tuple[list[float], list[float]]:
    return [p[0] for p in curve], [p[1] for p in curve]


def _percents(interval: MeanInterval) -> tuple[float, float, float]:
    low = interval.mean if interval.low is None else interval.low
    high = interval.mean if interval.high is None else interval.high
    return 100 * interval.mean, 100 * low, 100 * high


def _several_trainings(standings: Standings) -> bool:
    seconds = {run.training.seconds for run in standings.comparison.runs.values() if run.training}
    return len(seconds) > 1
