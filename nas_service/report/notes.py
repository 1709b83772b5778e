"""What a report must say against itself: tiers, grades, what was not measured, and what the figures do not show."""

from __future__ import annotations

from collections import Counter

from nas_service.candidate import PREDICTED
from nas_service.report.data import ReportData
from nas_service.tuning import Tuning

TIER_WORDS = {
    "probe": "probe: for demos only",
    "screen": "screen: prunes candidates, no energy claim",
    "rank": "rank: orders candidates of a search",
    "final": "final: for publication",
    "sustained": "sustained: for thermal claims",
}
GRADE_WORDS = {
    "local": "local: shares its machine with the search",
    "bronze": "bronze",
    "silver": "silver",
    "gold": "gold",
}


def honest_notes(data: ReportData) -> list[str]:
    """Return the notes that belong under every figure of this report, most important first."""
    if data.tuning is not None:
        return [*_state(data), *_tuning(data.tuning)]
    if data.comparison is not None:
        return [*_state(data), *_measured(data), *_not_measured(data), *_failures(data)]
    return [*_state(data), *_measured(data), *_not_measured(data), *_selection(data), *_failures(data)]


def tier_text(tier: str) -> str:
    """Return a measurement tier with what it may be used for."""
    return TIER_WORDS.get(tier, tier)


def grade_text(grade: str) -> str:
    """Return a measurement grade in words."""
    return GRADE_WORDS.get(grade, grade)


def _state(data: ReportData) -> list[str]:
    if data.state == "finished":
        return []
    return [f"The job is {data.state}, not finished: every figure here may still change."]


def _measured(data: ReportData) -> list[str]:
    good = [m for m in data.measurements if m.mean_ms is not None]
    notes = []
    if any(m.tier == "probe" for m in good):
        notes.append(
            "Latency and memory come from tier probe: for demos only. A probe runs each half for about a second; "
            "repeat the measurement at tier screen or rank before you rely on it."
        )
    if local := sorted({m.board for m in good if m.grade == "local"}):
        notes.append(
            f"{_list(local)} shares its machine with the search, so its figures are graded local: they order "
            "candidates, but they are no board's."
        )
    disturbed = [m for m in good if m.p90_ms is not None and m.mean_ms is not None and m.mean_ms > m.p90_ms]
    if disturbed:
        notes.append(
            f"{len(disturbed)} of {len(good)} measurements have a mean above their 90th percentile: something else ran "
            "on the board, so their means order candidates poorly. Measure again on a quiet board."
        )
    if good and any(m.half != "pair" for m in good):
        notes.append(
            "Expected latency is composed: the little's mean, plus the escalation rate times the big's mean, each "
            "measured alone. The pair was not measured whole."
        )
    return notes


def _not_measured(data: ReportData) -> list[str]:
    classes, notes = data.board_classes, []
    if not classes:
        notes.append("Nothing was measured on a board: costs are counted from the layers, and no latency is claimed.")
    elif not any(m.energy_mj is not None for m in data.measurements):
        notes.append("Energy was not measured: no board that took part has a sensor. It is absent here, not zero.")
    if predicted := sum(any(PREDICTED in point for point in c.values) for c in data.finished):
        notes.append(
            f"{predicted} of {len(data.finished)} evaluated candidates were not measured: by what similar halves cost, "
            "even with luck they gain less than 1 % of the front's span. The searcher was told predicted costs; no "
            "front shows them."
        )
    for board_class in classes:
        lacking = [c for c in data.finished if not all(data.measurement(c, board_class, h) for h in ("little", "big"))]
        if lacking:
            notes.append(
                f"{len(lacking)} of {len(data.finished)} evaluated candidates have no complete measurement on "
                f"{board_class} and are missing from its plot."
            )
    return notes


def _selection(data: ReportData) -> list[str]:
    sizes = sorted({int(c.accuracies["n"]) for c in data.finished if "n" in c.accuracies and not c.partial})
    if not sizes:
        return []
    error = 50.0 / sizes[0] ** 0.5
    early = sum(c.partial for c in data.finished)
    ended = (
        f"{early} of {len(data.finished)} evaluated candidates ended early, on some of the images: even with luck they "
        "gain less than 1 % of the front's span. The searcher was told what was counted; no front shows them."
    )
    return [
        *([ended] if early else []),
        f"Accuracies of candidates and of the front are on the {sizes[0]:,} images that the search selected by, where "
        f"one standard error is up to {error:.1f} points; the best of many candidates looks better there than it is. "
        "Only the figures marked test in the table of finalists are on images that nothing was selected by.",
        "Candidates are compared with each other only: static networks, independent cascades and early exits on "
        "equal budgets are no part of this report.",
    ]


def _tuning(tuning: Tuning) -> list[str]:
    notes = [
        "Values are on at most 1,000 validation images that the best trial was chosen by, so it looks better there "
        "than it is; each set of hyperparameters was trained once, from the same initial weights."
    ]
    if any(trial.parent for trial in tuning.trials.values()):
        notes.append(
            "A population's hyperparameters changed while it trained: the best member's last ones are handed on, which "
            "alone need not give what the schedule gave."
        )
    reasons = sorted({trial.error for trial in tuning.trials.values() if trial.error})
    if reasons:
        failed = tuning.count("failed")
        notes.append(f"{failed} {'trial' if failed == 1 else 'trials'} failed: {'; '.join(reasons[:3])}.")
    return notes


def _failures(data: ReportData) -> list[str]:
    reasons = Counter((c.error or "without a reason").splitlines()[0] for c in data.candidates if c.status == "failed")
    if not reasons:
        return []
    shown = "; ".join(
        f"{count} times {reason}" for reason, count in sorted(reasons.items(), key=lambda r: (-r[1], r[0]))[:3]
    )
    failed = sum(reasons.values())
    verb = "candidate failed and is" if failed == 1 else "candidates failed and are"
    return [f"{failed} {verb} in no figure: {shown}."]


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else "Each of " + ", ".join(names)
