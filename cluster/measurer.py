"""The gateway as a search session calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cluster.gateway.actor import GatewayClient
from edge_agent.records import RuntimeSettings
from nas_service.errors import InvalidRequestError
from nas_service.measurement import MeasurementRequest, RequestState


class GatewayMeasurer:
    """Asks the gateway for measurements; a class's settings are read once, since they are part of every key."""

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway
        self._settings = {c.name: c.settings for c in gateway.board_classes()}

    def request(self, requests: Sequence[MeasurementRequest]) -> None:
        """Ask for measurements; those known or queued are not repeated."""
        if requests:
            self._gateway.request(requests)

    def poll(self, keys: Sequence[str]) -> Mapping[str, RequestState]:
        """Return what has come of requests, by measurement key."""
        return self._gateway.poll(keys)

    def settings(self, board_class: str) -> RuntimeSettings:
        """Return a class's runtime settings; InvalidRequestError if no board of it was ever added."""
        if board_class not in self._settings:
            known = ", ".join(sorted(self._settings)) or "none"
            raise InvalidRequestError(f"unknown board class {board_class!r}; known: {known}. Add one: nas board add")
        return self._settings[board_class]
