"""`tables.md`: the tables of EVALUATION section 2 from tidy rows, and what is missing by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from workers.bench.group_tables import class_thresholds, groups, hard_half, worst_classes
from workers.bench.rows import Row, is_exit
from workers.bench.tables import Key, by_measure, by_system, markdown, percent, plain, signed

MILLION = 1e6


def document(
    rows: Sequence[Row], *, title: str, notes: Sequence[str], cells: Sequence[Key], chosen: dict[Key, str]
) -> str:
    """Return the tables as one Markdown text.

    Args:
        rows: Of all finished cells.
        title: Of the text.
        notes: Lines under it: data, command, surroundings.
        cells: Every system and seed that was asked for.
        chosen: The router of each system and seed; systems without one have none.
    """
    finished = {(row.system, row.seed) for row in rows}
    missing = [f"{system} s{seed}" for system, seed in cells if (system, seed) not in finished]
    gaps = (
        f"Not trained, so without figures: {', '.join(missing)}." if missing else "All that was asked for is finished."
    )
    cells = _shown(cells, finished)
    routed = [r for r in rows if r.split == "test" and r.router in ("", chosen.get((r.system, r.seed), ""))]
    pairs = [cell for cell in cells if cell in chosen or cell not in finished]
    parts = [f"# {title}", *notes, gaps]
    for heading, text, table in _sections(rows, routed, cells=cells, pairs=pairs, chosen=chosen):
        parts += [f"## {heading}", text, table]
    return "\n\n".join(parts) + "\n"


def _shown(cells: Sequence[Key], finished: set[Key]) -> list[Key]:
    """Return the finished cells; of a system without any the first, so that what is missing has an empty row."""
    shown: list[Key] = []
    for system in dict.fromkeys(system for system, _ in cells):
        own = [cell for cell in cells if cell[0] == system]
        shown += [cell for cell in own if cell in finished] or own[:1]
    return shown


def _sections(
    rows: Sequence[Row], routed: Sequence[Row], *, cells: Sequence[Key], pairs: Sequence[Key], chosen: Mapping[Key, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield heading, explanation and table of every section."""
    macs = {"cells": pairs, "heading": lambda x: f"≤ {x:.3g} M", "scale": MILLION}
    drops = {"cells": pairs, "heading": lambda x: f"δ = {x:g}"}
    yield (
        "Accuracy at average MACs",
        "Test accuracy, %, with the router chosen on validation and thresholds from calibration; empty where the test "
        "MACs are more than 1 % above the budget. 95 % intervals over test images.",
        by_system(routed, "accuracy_at_budget", **macs),  # type: ignore[arg-type]
    )
    yield (
        "Exits",
        "Test accuracy, %, if every image stopped at that exit; a static net has one, and `subnets` are static nets.",
        _exits(routed, cells),
    )
    yield (
        "Iso-accuracy saving S(δ)",
        "Share of the big's MACs saved, %, at the cheapest threshold that loses at most δ points on calibration.",
        by_system(routed, "saving", **drops),  # type: ignore[arg-type]
    )
    yield (
        "Drop on test at those thresholds",
        "Percentage points that the system's own full escalation is more accurate.",
        by_system(routed, "drop_own_points", show=signed, **drops),  # type: ignore[arg-type]
    )
    yield (
        "Drop on test against the static big",
        "Percentage points that the static big net, trained alone, is more accurate at the same thresholds.",
        by_system(routed, "drop_static_points", show=signed, **drops),  # type: ignore[arg-type]
    )
    yield (
        "Gain over the static envelope",
        "Percentage points above the concave envelope of all static nets at equal average MACs.",
        by_system(routed, "gain_points", show=signed, **macs),  # type: ignore[arg-type]
    )
    yield from _routing_sections(rows, routed, pairs=pairs, chosen=chosen)
    yield "Shift, thresholds frozen", SHIFT, _shifts(rows, pairs)
    yield "Shift from easy to hard", EASY_TO_HARD, hard_half(rows, cells=pairs)
    yield "Ours against independent cascades", VERSUS, _versus(rows)
    yield "Budget", "What training cost; CPU hours are of one thread of the machine named above.", _budget(rows, cells)


def _routing_sections(
    rows: Sequence[Row], routed: Sequence[Row], *, pairs: Sequence[Key], chosen: Mapping[Key, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield what is said of routers: how they rank, what they cost, whom they send on."""
    drops: dict[str, Any] = {"cells": pairs, "heading": lambda x: f"δ = {x:g}"}
    yield (
        "nAUC by router",
        "0 is random, 1 the oracle, of nets with more than two exits over MACs. Intervals over test images. `informed` "
        "is no router: it is handed the big's probabilities, and tells how much of the oracle's gain can be known.",
        _routers(rows, pairs),
    )
    yield (
        "Disagreement, areas, calibration",
        "p01: little wrong and big right; p10 the reverse. `area` is the mean accuracy over the common MACs interval.",
        by_measure(
            routed,
            ("p01", "p10", "area", "nauc_cost", "failure_auroc", "benefit_auroc", "ece_before", "ece_after"),
            cells=pairs,
        ),
    )
    yield (
        "Regret",
        "Percentage points below the oracle at the same escalation rate.",
        by_system(routed, "regret", cells=pairs, heading=lambda x: f"rate {x:g}"),
    )
    for name, meaning in THINKING.items():
        yield meaning[0], meaning[1], by_system(routed, f"{name}_thinking", **drops)
    yield "By class", "At δ = 0.5: accuracy, % (share beyond the first exit, %).", groups(routed, "class", cells=pairs)
    yield "Worst class", WORST, worst_classes(routed, cells=pairs)
    yield "One threshold or one for each class", BY_CLASS, class_thresholds(rows, routers=chosen, cells=pairs)
    yield (
        "By difficulty",
        "Fifths of the test images by the loss of a third net, at δ = 0.5: accuracy, % (share beyond "
        "the first exit, %).",
        groups(routed, "difficulty", cells=pairs),
    )


THINKING = {
    "over": ("Overthinking", "Share of images, %, escalated although the little, or another earlier exit, is right."),
    "destructive": ("Destructive overthinking", "The part of that, %, which is then answered wrong."),
    "under": ("Underthinking", "Share of images, %, answered wrong although the big, or another later exit, is right."),
}
WORST = (
    "The class that loses most against the static big, and how many percentage points, at the thresholds for δ. "
    "Intervals are of the largest drop, whichever class that is on a resample, so they lie high. Without a finished "
    "static big, the system's own escalation stands in."
)
BY_CLASS = (
    "At δ = 0.5, under the same router: one threshold for all images, and one for each class that the little predicts, "
    "both the cheapest that lose at most δ points on calibration. Of pairs alone; empty where the choices were frozen "
    "before there were thresholds by class."
)
SHIFT = (
    "At the threshold for δ = 0.5, chosen on clean calibration images. `extra drop`: points lost to the static big "
    "beyond those lost on clean images; `worse`: share of corruptions in which the system is less accurate than the "
    "static big. Without a finished static big, the system's own escalation stands in."
)
EASY_TO_HARD = (
    "On the half of the test images that a third net finds hard (as in the table by difficulty), at δ = 0.5: under the "
    "thresholds chosen on all calibration images, and under those chosen on the easy half of them, by the loss of the "
    "system's own last exit. `drop`: points that the static big is more accurate on these images, so above 0 the "
    "system is worse; without a finished static big, the system's own escalation stands in. Empty where the choices "
    "were frozen before there were thresholds of the easy half."
)
VERSUS = (
    "Difference in hypervolume of the whole threshold sweep, as a share of the box, with a paired bootstrap over test "
    "images; positive: ours is better. `all` averages the seeds on each resample. `MACs` is the mean relative "
    "cost at equal accuracy: -0.12 is 12 % cheaper."
)


def _exits(rows: Sequence[Row], cells: Sequence[Key]) -> str:
    body = []
    for system, seed in cells:
        exits = [r for r in rows if (r.system, r.seed) == (system, seed) and is_exit(r.measure)]
        text = ", ".join(f"{percent(r.value)} at {float(r.x) / MILLION:.3g} M" for r in exits if r.value is not None)
        body.append([f"{system} s{seed}", text])
    return markdown(["system", "accuracy at MACs"], body)


def _routers(rows: Sequence[Row], cells: Sequence[Key]) -> str:
    areas = [row for row in rows if row.measure == "nauc" and row.split == "test"]
    routers = list(dict.fromkeys(row.router for row in areas))
    found = {(r.system, r.seed, r.router): r for r in areas}

    def cell(system: str, seed: str, router: str) -> str:
        row = found.get((system, seed, router))
        if row is None or row.value is None:
            return ""
        return plain(row.value) if row.ci_low is None else f"{row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"

    return markdown(["system", *routers], [[f"{s} s{seed}", *(cell(s, seed, r) for r in routers)] for s, seed in cells])


def _shifts(rows: Sequence[Row], cells: Sequence[Key]) -> str:
    body = []
    for system, seed in cells:
        own = [r for r in rows if (r.system, r.seed, r.split) == (system, seed, "shift") and r.value is not None]
        body.append([f"{system} s{seed}", *_shift_cells(own)])
    header = ["system"]
    header += [f"extra drop, severity {s}" for s in (1, 3, 5)]
    return markdown([*header, "worse, %", "rate clean, %", "rate severity 5, %", "drop, skewed prior"], body)


def _shift_cells(rows: Sequence[Row]) -> list[str]:
    def mean(measure: str, fits: Callable[[str], bool], show: Callable[[float], str]) -> str:
        values = [r.value for r in rows if r.measure == measure and fits(r.x) and r.value is not None]
        return show(sum(values) / len(values)) if values else ""

    return [
        *(mean("extra_drop_points", lambda x, s=s: x.endswith(f"-{s}"), signed) for s in (1, 3, 5)),  # type: ignore[misc]
        mean("share_worse", lambda x: True, percent),
        mean("shift_rate", lambda x: x == "clean", percent),
        mean("shift_rate", lambda x: x.endswith("-5") and not x.startswith("prior"), percent),
        mean("shift_drop_points", lambda x: x.startswith("prior"), signed),
    ]


def _versus(rows: Sequence[Row]) -> str:
    measures = ("hypervolume_difference", "share_better", "cost_at_equal_accuracy", "same_sign")
    found = {(r.system, r.seed, r.measure): r for r in rows if r.measure in measures}
    keys = list(dict.fromkeys((system, seed) for system, seed, _ in found))

    def text(key: Key, measure: str) -> str:
        """Return the cell of a comparison and a measure."""
        row = found.get((*key, measure))
        if row is None or row.value is None:
            return ""
        if measure == "same_sign":
            return f"{'yes' if row.value else 'no'} ({row.x} seeds)"
        return plain(row.value) if row.ci_low is None else f"{row.value:+.4f} [{row.ci_low:+.4f}, {row.ci_high:+.4f}]"

    header = ["systems", "seed", "hypervolume", "resamples better", "MACs", "same sign"]
    body = [[*key, *(text(key, measure) for measure in measures)] for key in keys]
    return markdown(header, body) if body else "No pair of ours and a cascade is finished with the same seed."


def _budget(rows: Sequence[Row], cells: Sequence[Key]) -> str:
    found = {(r.system, r.seed, r.measure, r.x): r.value for r in rows if r.split == "train"}
    body = []
    for system, seed in cells:
        epochs = [(x, v) for (s, n, m, x), v in found.items() if (s, n, m) == (system, seed, "epochs")]
        figures = [
            found.get((system, seed, m, "")) for m in ("tera_macs", "search_tera_macs", "params", "weights_bytes")
        ]
        hours = found.get((system, seed, "cpu_hours", ""))
        body.append(
            [
                f"{system} s{seed}",
                ", ".join(f"{phase} {value:.0f}" for phase, value in epochs if value is not None),
                *("" if v is None else f"{v:,.4g}" if i < 2 else f"{v:,.0f}" for i, v in enumerate(figures)),
                "" if hours is None else f"{hours:.2f}",
            ]
        )
    return markdown(["system", "epochs", "TMACs", "search TMACs", "params", "bytes", "CPU hours"], body)
