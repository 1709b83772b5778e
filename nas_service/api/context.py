"""What every route works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas_service.api.metrics import Metrics
from nas_service.api.ports import Fleet, Launcher
from nas_service.store import Store


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """The API's surroundings, made once by `create_app`.

    Attributes:
        store: all that is remembered.
        launcher: runs jobs' drivers.
        fleet: adds and removes boards.
        version: version of the service, for people.
        data: folder of relative data roots; None is the working folder.
        metrics: figures for Prometheus.
    """

    store: Store
    launcher: Launcher
    fleet: Fleet
    version: str
    data: Path | None
    metrics: Metrics
