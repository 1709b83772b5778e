"""Stand-ins for the cluster: a launcher that runs nothing, and boards in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from nas_service.errors import ConflictError, NotFoundError
from nas_service.fleet import Board, BoardState
from nas_service.home import Home
from nas_service.store import Store


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
class FakeFleet:
    """Boards in memory."""

    known: dict[str, Board] = field(default_factory=dict)

    def enrol(self, board: str, board_class: str) -> str:
        if board in self.known:
            raise ConflictError(f"board {board!r} is enrolled; remove it first: nas board rm {board}")
        self.known[board] = Board(
            name=board, board_class=board_class, public_key="ssh-ed25519 AAAA", state=BoardState.READY, enrolled_at=1.0
        )
        return f"nas1-code-of-{board}"

    def drain(self, name: str) -> None:
        if name not in self.known:
            raise NotFoundError(f"no board is named {name!r}; known: {', '.join(self.known) or 'none'}")

    def remove(self, name: str) -> None:
        self.drain(name)
        del self.known[name]

    def boards(self) -> list[Board]:
        return list(self.known.values())


def make_launcher(home: Home, store: Store) -> FakeLauncher:
    """What an import string of the service names."""
    return FakeLauncher()


def make_fleet(home: Home, store: Store) -> FakeFleet:
    """What an import string of the service names."""
    return FakeFleet()
