"""The audit of a search's shortcuts as a table and in words."""

from __future__ import annotations

from nas_service.fidelity import Fidelity, audit, fidelity_facts
from nas_service.report.data import ReportData
from nas_service.report.tables import Table

FEW = 10


def fidelity_of(data: ReportData) -> Fidelity:
    """Return the audit of a report's job."""
    latencies = {m.measurement_key: m.mean_ms for m in reversed(data.measurements) if m.status == "ok" and m.mean_ms}
    return audit(data.candidates, data.audits, latencies_ms=latencies)


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
