"""What the store holds, counted: the gauges of /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Column, func, select

from nas_service.candidate import CandidateStatus
from nas_service.fleet import BoardState
from nas_service.job_state import JobState
from nas_service.store.database import Database
from nas_service.store.fleet_tables import boards, measurements
from nas_service.store.tables import candidates, jobs

Figures = Mapping[str, tuple[str, str, Mapping[str, int]]]


def store_figures(database: Database) -> Callable[[], Figures]:
    """Return what counts jobs, candidates, boards and measurements; states without any count 0."""

    def _read() -> Figures:
        return {
            "jobs": ("Jobs by state.", "state", _counted(database, jobs.c.state, [s.value for s in JobState])),
            "candidates": (
                "Candidates of all jobs by status.",
                "status",
                _counted(database, candidates.c.status, [s.value for s in CandidateStatus]),
            ),
            "boards": ("Boards by state.", "state", _counted(database, boards.c.state, [s.value for s in BoardState])),
            "measurements": (
                "Stored results of boards by status.",
                "status",
                _counted(database, measurements.c.status, ["ok"]),
            ),
        }

    return _read


def _counted(database: Database, column: Column[Any], expected: list[str]) -> dict[str, int]:
    with database.reading() as connection:
        found = {
            str(value): count for value, count in connection.execute(select(column, func.count()).group_by(column))
        }
    return dict.fromkeys(expected, 0) | found
