"""The figures that a job minimises or bounds, by name: `error`, `macs`, `latency_ms@rpi5`.

The analytic ones follow from an architecture, the measured ones from a board of the class named after the `@`.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.records import RecordError, check_name
from nas_service.errors import InvalidRequestError
from nas_service.spelling import nearest

ANALYTIC = ("error", "macs", "worst_macs", "params", "weights_kib")
MEASURED = ("latency_ms", "worst_latency_ms", "energy_mj", "memory_kib")
ALLOWED = ", ".join((*ANALYTIC, *(f"{name}@CLASS" for name in MEASURED)))


@dataclass(frozen=True, slots=True)
class Objective:
    """One figure, to be minimised or bounded from above.

    Attributes:
        name: one of `ANALYTIC` or `MEASURED`; its unit is in the name, `error` is in percent.
        board_class: the boards it is measured on, None for an analytic one.
    """

    name: str
    board_class: str | None = None

    def __post_init__(self) -> None:
        if self.name not in ANALYTIC + MEASURED:
            near = nearest(self.name, ANALYTIC + MEASURED)
            raise InvalidRequestError(f"unknown objective {self.name!r}{near}; allowed: {ALLOWED}")
        if self.name in ANALYTIC and self.board_class is not None:
            raise InvalidRequestError(
                f"objective {self.name}@{self.board_class} does not depend on a board; write {self.name!r}"
            )
        if self.name in MEASURED and not self.board_class:
            raise InvalidRequestError(
                f"objective {self.name!r} lacks the board class that it is measured on; write {self.name}@CLASS, "
                f"such as {self.name}@rpi5 (`nas board ls` shows the classes)"
            )
        if self.board_class is not None:
            _check_class(self.board_class)

    @property
    def measured(self) -> bool:
        """Whether only a board can tell it."""
        return self.board_class is not None

    def format(self) -> str:
        """Return the objective as it is written in a job, the exact inverse of `parse`."""
        return self.name if self.board_class is None else f"{self.name}@{self.board_class}"

    def __str__(self) -> str:
        return self.format()

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Return the objective that `text` names, such as `error` or `latency_ms@rpi5`.

        Raises:
            InvalidRequestError: unknown name, or a board class missing, superfluous or ill-formed.
        """
        name, at, board_class = text.partition("@")
        if not at:
            return cls(name)
        if name in MEASURED and not board_class:
            raise InvalidRequestError(f"objective {text!r} names no board class after the '@'; write {name}@CLASS")
        return cls(name, board_class)


def _check_class(board_class: str) -> None:
    try:
        check_name(board_class, what="board class")
    except RecordError as error:
        raise InvalidRequestError(str(error)) from None
