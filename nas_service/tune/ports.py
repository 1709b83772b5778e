"""What a search session needs of the rest of the house, as the session calls it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from edge_agent.records import RuntimeSettings
from nas_service.candidate import Candidate, Proposal
from nas_service.measurement import MeasurementRequest, RequestState


class Measurer(Protocol):
    """Whoever has things measured on boards; requests are idempotent by measurement key."""

    def request(self, requests: Sequence[MeasurementRequest]) -> None:
        """Ask for measurements; those already asked for or known are not repeated."""

    def poll(self, keys: Sequence[str]) -> Mapping[str, RequestState]:
        """Return what has come of requests, by measurement key; unknown keys are absent."""

    def settings(self, board_class: str) -> RuntimeSettings:
        """Return the runtime settings of a board class."""

    def absent(self, board_classes: Collection[str]) -> frozenset[str]:
        """Return those of the classes of which no board is there, so that waiting for them is no board's fault."""


class Archive(Protocol):
    """Where candidates and the searcher's state are kept; the store's candidate table."""

    def asked(self, job_id: str, strategy_index: int, strategy: str, proposals: Sequence[Proposal]) -> list[Candidate]:
        """Number and keep proposals; those of a known phenotype come back as they are."""

    def update(self, candidate: Candidate) -> None:
        """Keep what is newly known of a candidate that is not over."""

    def finish(self, candidate: Candidate, searcher_state: dict[str, Any] | None) -> None:
        """Keep a finished or failed candidate and, unless None, the searcher that was told of it, both or neither."""

    def list(self, job_id: str, *, with_curves: bool = False) -> list[Candidate]:
        """Return a job's candidates in order of number."""

    def save_search_state(self, job_id: str, strategy_index: int, state: dict[str, Any]) -> None:
        """Keep the state of a strategy's searcher."""

    def search_state(self, job_id: str, strategy_index: int) -> dict[str, Any] | None:
        """Return the last kept state, None before the first."""
