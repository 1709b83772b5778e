"""Whether a board class can tell energy: from what its boards have said of themselves, and else from their results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge_agent.records import Result
from nas_service.fleet import Board

NO_SENSOR = "none"  # what a heartbeat's health says under `energy_sensor` where there is none


def classes_without_energy(boards: Sequence[Board], results: Iterable[Result]) -> frozenset[str]:
    """Return the classes all of whose boards are known to have no energy sensor.

    Args:
        boards: The boards that have not been removed.
        results: Of these boards, newest first.
    """
    last: dict[str, Result] = {}
    for result in results:
        if result.status == "ok":
            last.setdefault(result.board, result)
    unable = {board.name for board in boards if _senses(board, last.get(board.name)) is False}
    classes = {board.board_class for board in boards}
    return frozenset(c for c in classes if all(b.name in unable for b in boards if b.board_class == c))


def _senses(board: Board, last: Result | None) -> bool | None:
    """Return whether a board has a sensor, None if it has not shown; one that had a fault is one."""
    said = None if board.heartbeat is None else board.heartbeat.health.get("energy_sensor")
    if said is not None:
        return bool(said != NO_SENSOR)
    return None if last is None else last.energy is not None or last.sensor_fault is not None
