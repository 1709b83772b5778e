"""Where a search asks for measurements: what each board class must measure of a candidate, and what is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edge_agent.records import Half, Tier
from nas_service.candidate import Candidate
from nas_service.front_query import HALVES, HalfCost
from nas_service.job import JobSpec
from nas_service.measurement import MeasurementRequest, RequestState, RequestStatus, measurement_key
from nas_service.tune.ports import Measurer
from nas_service.tune.thrift import Costs, Thrift
from nas_service.valuation import half_cost


class Desk:
    """Requests and answers of one job; without boards it asks for nothing and knows nothing.

    Args:
        spec: The job.
        job_id: Its id.
        measurer: Who measures; None if no objective or constraint names a board class.
    """

    def __init__(self, spec: JobSpec, *, job_id: str, measurer: Measurer | None) -> None:
        self._tier, self._raised_tier = spec.measurement.tier, spec.measurement.near_front
        self._job_id, self._measurer, self._classes = job_id, measurer, spec.board_classes()

    @property
    def has_boards(self) -> bool:
        """Whether anything is measured at all."""
        return self._measurer is not None

    def _tier_of(self, raised: bool) -> Tier:
        return self._raised_tier if raised and self._raised_tier is not None else self._tier

    def keys(self, candidate: Candidate, *, raised: bool = False) -> dict[str, tuple[str, Half]]:
        """Return measurement key -> (board class, half) for everything that a candidate needs measured.

        Args:
            candidate: The candidate.
            raised: Whether at the tier of candidates near the front.
        """
        if self._measurer is None:
            return {}
        keys: dict[str, tuple[str, Half]] = {}
        for board_class in self._classes:
            settings = self._measurer.settings(board_class)
            for half in HALVES:
                structure = candidate.structures[half]
                key = measurement_key(
                    structure, tier=self._tier_of(raised), board_class=board_class, settings=settings, half=half
                )
                keys[key] = (board_class, half)
        return keys

    def keys_by_class(self, candidate: Candidate, *, raised: bool = False) -> dict[str, dict[str, str]]:
        """Return board class -> half -> measurement key, for the archive."""
        grouped: dict[str, dict[str, str]] = {}
        for key, (board_class, half) in self.keys(candidate, raised=raised).items():
            grouped.setdefault(board_class, {})[half] = key
        return grouped

    def absent(self) -> frozenset[str]:
        """Return the job's board classes of which no board is there."""
        return frozenset() if self._measurer is None else self._measurer.absent(self._classes)

    def poll(self, keys: Sequence[str]) -> Mapping[str, RequestState]:
        """Return what has come of requests, by measurement key; unknown keys are absent."""
        return {} if self._measurer is None else self._measurer.poll(keys)

    def missing(self, candidate: Candidate) -> list[str]:
        """Return the halves that some board class has neither measured nor queued, at either tier.

        What failed for no fault of the model is asked for again.
        """
        keys = {**self.keys(candidate), **self.keys(candidate, raised=True)}
        states = self.poll(list(keys))
        known = {k for k, s in states.items() if s.state is not RequestStatus.FAILED or s.result is not None}
        return sorted({half for key, (_, half) in keys.items() if key not in known})

    def request(self, candidate: Candidate, models: Mapping[str, Any], *, raised: bool = False) -> None:
        """Ask for the halves whose graphs there are; see `keys` for the arguments."""
        if self._measurer is None:
            return
        self._measurer.request(
            [
                MeasurementRequest(
                    structure_key=candidate.structures[half],
                    board_class=board_class,
                    tier=self._tier_of(raised),
                    half=half,
                    model=models[half],
                    settings=self._measurer.settings(board_class),
                    job_id=self._job_id,
                )
                for board_class, half in self.keys(candidate, raised=raised).values()
                if half in models
            ]
        )

    def costs(self, candidate: Candidate) -> Costs:
        """Return what boards have answered about a candidate's halves, whoever asked."""
        keys = self.keys(candidate)
        costs: dict[str, dict[Half, HalfCost]] = {}
        for key, state in self.poll(sorted(keys)).items():
            if state.state is RequestStatus.DONE and state.result is not None:
                board_class, half = keys[key]
                costs.setdefault(board_class, {})[half] = half_cost(state.result)
        return costs

    def teach(self, thrift: Thrift, candidates: Iterable[Candidate]) -> None:
        """Tell `thrift` what boards have measured of the table's pairs and of these candidates."""
        if self._measurer is not None:
            thrift.learn_table(self._measurer)
            for candidate in candidates:
                thrift.learn(candidate, self.costs(candidate))
