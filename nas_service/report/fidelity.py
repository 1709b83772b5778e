"""The audit of a search's shortcuts as a table and in words."""

from __future__ import annotations

from nas_service.fidelity import Fidelity, audit, fidelity_facts
from nas_service.report.data import ReportData
from nas_service.report.tables import Table

FEW = 10


def fidelity_of(data: ReportData) -> Fidelity:
    """Return the audit of a report's job."""
    by_id = {c.id: c for c in data.candidates}

    def composed(candidate_id: str, objective: str) -> tuple[float, float] | None:
        halves = [data.measurement(by_id[candidate_id], objective.partition("@")[2], half, final=True)
                  for half in ("little", "big")]  # fmt: skip
        little, big = (None if half is None else half.mean_ms for half in halves)
        return None if little is None or big is None else (little, big)

    return audit(data.candidates, data.audits, composed=composed)


def fidelity_table(fidelity: Fidelity) -> Table | None:
    """Return the audit's rows; None if there is nothing to tell."""
    if fidelity.empty:
        return None
    rows = tuple((question, answer) for question, answer in fidelity_facts(fidelity))
    note = (
        "Whether what the search went by holds for what it handed over. Kendall's tau is 1 where both figures order "
        "pairs alike, 0 where one says nothing of the other; in brackets its 95 % interval."
    )
    return Table(title="How far the shortcuts held", columns=("question", "answer"), rows=rows, text_columns=2,
                 note=note)  # fmt: skip


def fidelity_notes(fidelity: Fidelity) -> list[str]:
    """Return what the audit cannot say."""
    few = sorted({a.tau.n for a in fidelity.agreements if a.tau.n < FEW})
    if not few:
        return []
    return [
        f"The audit rests on {' and '.join(map(str, few))} pairs: a tau of so few has a wide interval, and finalists "
        "were chosen to differ in cost, which makes their order easier to keep than that of neighbours."
    ]
