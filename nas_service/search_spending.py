"""What a search had spent when each of its candidates was over: evaluations, wall time and board time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

BUDGETS = ("evaluations", "wall_s", "board_s")


class Ended(Protocol):
    """What is asked of a candidate that is finished or failed; times are unix seconds, None where unknown."""

    @property
    def created_at(self) -> float | None:
        """When it was asked for."""

    @property
    def finished_at(self) -> float | None:
        """When it was over."""

    @property
    def measurements(self) -> dict[str, dict[str, str]]:
        """Measurement key by half by board class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent so far.

    Attributes:
        evaluations: Candidates that were over, failed ones too.
        wall_s: Seconds since the first candidate was asked for; while the job lay still they count as well.
        board_s: Seconds that boards spent on the candidates' halves, each half once.
    """

    evaluations: float
    wall_s: float
    board_s: float


def spending(ended: Sequence[Ended], *, board_s: Mapping[str, float]) -> list[Spent]:
    """Return what had been spent after each candidate.

    Args:
        ended: The candidates in the order in which they were over.
        board_s: Measurement key -> what boards spent on it in this search; absent if that was nothing.
    """
    times = [t for c in ended for t in (c.created_at, c.finished_at) if t is not None]
    began = now = min(times, default=0.0)
    paid: set[str] = set()
    boards = 0.0
    spent = []
    for count, candidate in enumerate(ended, start=1):
        now = max(now, candidate.finished_at or now)
        new = {key for halves in candidate.measurements.values() for key in halves.values()} - paid
        boards += sum(board_s.get(key, 0.0) for key in sorted(new))
        paid |= new
        spent.append(Spent(evaluations=count, wall_s=now - began, board_s=boards))
    return spent
