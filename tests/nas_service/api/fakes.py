"""Stand-ins for the cluster: a launcher that runs nothing, and boards that are only in the store."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_agent.records import RuntimeSettings
from nas_service.errors import ConflictError
from nas_service.home import Home
from nas_service.store import Store


@dataclass(frozen=True)
class Announced:
    """A host key to come, of which two boards have and one has not been told."""

    fingerprint: str = "ab" * 32
    told: tuple[str, ...] = ("pi-2", "pi-3")
    waiting: tuple[str, ...] = ("pi-1",)


@dataclass
class FakeLauncher:
    """Runs nothing, and remembers what it was asked."""

    launched: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    failure: str | None = None

    def launch(self, job_id: str) -> None:
        if self.failure is not None:
            raise OSError(self.failure)
        self.launched.append(job_id)
        self.running.add(job_id)

    def stop(self, job_id: str) -> None:
        self.stopped.append(job_id)

    def alive(self, job_id: str) -> bool:
        return job_id in self.running


@dataclass
class StoredFleet:
    """The boards of the store, without a gateway that they could reach."""

    store: Store

    def enrol(self, board: str, board_class: str, *, settings: RuntimeSettings | None = None) -> str:
        token = self.store.fleet.create_enrolment(
            board, board_class=board_class, ttl_s=600, now=1000.0, settings=settings
        )
        return f"nas1-{token}-fingerprint"

    def drain(self, name: str, *, draining: bool = True) -> None:
        self.store.fleet.drain(name, draining=draining)

    def announce_host_key(self) -> Announced:
        return Announced()

    def switch_host_key(self, *, force: bool = False) -> Announced:
        if not force:
            raise ConflictError("not told of the new host key: pi-1; wait for them")
        return Announced()

    def remove(self, name: str) -> None:
        self.store.fleet.remove(name, now=2000.0)


def make_launcher(home: Home, store: Store) -> FakeLauncher:
    """What an import string of the service names."""
    return FakeLauncher()


def make_fleet(home: Home, store: Store) -> StoredFleet:
    """What an import string of the service names."""
    return StoredFleet(store)
