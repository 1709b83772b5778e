"""The gateway as a search session calls it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from cluster.gateway.actor import GatewayClient, find_gateway
from edge_agent.records import RuntimeSettings
from nas_service.errors import InvalidRequestError
from nas_service.fleet import absent_classes
from nas_service.job import JobSpec
from nas_service.measurement import MeasurementRequest, RequestState

_WITHIN_A_JOB = 10  # what a job may tell apart by priorities of its own


class GatewayMeasurer:
    """Asks the gateway for measurements; a class's settings are read once, since they are part of every key.

    `priority` is the job's, 0 to 9: its measurements go before those of jobs with less, whatever is urgent in these.
    """

    def __init__(self, gateway: GatewayClient, *, priority: int = 0, clock: Callable[[], float] = time.time) -> None:
        self._gateway, self._priority, self._clock = gateway, priority, clock
        self._settings = {c.name: c.settings for c in gateway.board_classes()}

    def request(self, requests: Sequence[MeasurementRequest]) -> None:
        """Ask for measurements; those known or queued are not repeated."""
        if requests:
            first = self._priority * _WITHIN_A_JOB
            self._gateway.request([replace(one, priority=first + one.priority) for one in requests])

    def poll(self, keys: Sequence[str]) -> Mapping[str, RequestState]:
        """Return what has come of requests, by measurement key."""
        return self._gateway.poll(keys)

    def settings(self, board_class: str) -> RuntimeSettings:
        """Return a class's runtime settings; InvalidRequestError if no board of it was ever added."""
        if board_class not in self._settings:
            known = ", ".join(sorted(self._settings)) or "none"
            raise InvalidRequestError(f"unknown board class {board_class!r}; known: {known}. Add one: nas board add")
        return self._settings[board_class]

    def absent(self, board_classes: Collection[str]) -> frozenset[str]:
        """Return those of the classes of which every board is lost, was never heard, or gets no leases."""
        return absent_classes(self._gateway.boards(), board_classes, now=self._clock())


def job_measurer(spec: JobSpec) -> GatewayMeasurer | None:
    """Return what measures for a job, None if it measures on no board."""
    if not spec.board_classes():
        return None
    return GatewayMeasurer(GatewayClient(find_gateway()), priority=spec.priority)
