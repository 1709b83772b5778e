from __future__ import annotations

from dataclasses import replace
from typing import Any

from nas_service.report.collect import measurement_from, training_from
from nas_service.report.tables import measurements_table
from nas_service.server_events import JobEvent
from tests.nas_service.report.synthetic import CLASS, report_data


def epoch(number: int, loss: float, *, id: int) -> JobEvent:
    return JobEvent(
        id=id,
        kind="epoch",
        data={"epoch": number, "losses": {"total": loss}, "accuracies": {"little": 0.5}, "seconds": 3.0},
    )


def test_training_is_told_by_epochs_and_a_repeated_one_counts_as_told_last():
    other = JobEvent(id=9, kind="data", data={"images": 5})
    points = training_from([epoch(1, 2.0, id=1), epoch(2, 1.5, id=2), other, epoch(2, 1.4, id=10)])
    assert [p.figures for p in points] == [
        {"total loss": 2.0, "little accuracy": 50.0},
        {"total loss": 1.4, "little accuracy": 50.0},
    ]


def result(**changes: Any) -> dict[str, Any]:
    plain = {"measurement_key": "k", "board": "b", "board_class": "c", "tier": "rank", "half": "big", "status": "ok"}
    return {**plain, "grade": "gold", "latency": None, "memory": None, "energy": None, **changes}


def test_what_a_board_did_not_measure_stays_unknown():
    found = measurement_from(result(status="infeasible_oom"))
    assert (found.mean_ms, found.ci95_ms, found.memory_kib, found.energy_mj, found.n) == (None,) * 5


def test_memory_is_the_peak_less_the_baseline():
    memory = {"baseline_kib": 100, "peak_load_kib": 250, "peak_run_kib": 240, "model_file_bytes": 9}
    assert measurement_from(result(memory=memory)).memory_kib == 150


def test_a_finalist_is_shown_with_its_own_measurements_rather_than_the_searchs():
    data = report_data()
    chosen = data.finalists[0]
    searched = data.measurement(chosen, CLASS, "little")
    assert searched is not None
    own = replace(searched, measurement_key="own", tier="rank", mean_ms=9.0)
    again = replace(chosen, final={**chosen.final, "measurements": {CLASS: {"little": "own"}}})
    table = measurements_table(replace(data, candidates=(again,), measurements=(*data.measurements, own)))
    assert table is not None
    assert [row[4] for row in table.rows] == ["rank: orders candidates of a search"]
