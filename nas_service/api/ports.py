"""What the API needs of the rest: who runs jobs, who knows the boards. The composition root provides them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge_agent.records import RuntimeSettings


class HostKey(Protocol):
    """The gateway's host key to come, and which boards know it."""

    @property
    def fingerprint(self) -> str:
        """Lower-case hex SHA-256."""
        ...

    @property
    def told(self) -> Sequence[str]:
        """The boards that know it."""
        ...

    @property
    def waiting(self) -> Sequence[str]:
        """The boards that do not yet."""
        ...


class Fleet(Protocol):
    """Adds boards, and takes them away."""

    def enrol(self, board: str, board_class: str, *, settings: RuntimeSettings | None = None) -> str:
        """Return the one-time code by which a board becomes known; it is shown once.

        A new class is made with `settings`; one that has others raises InvalidRequestError.
        """
        ...

    def drain(self, name: str, *, draining: bool = True) -> object:
        """Give the board no further work, or, with `draining=False`, give it some again."""
        ...

    def announce_host_key(self) -> HostKey:
        """Tell the boards of the gateway's next host key, and return who knows it."""
        ...

    def switch_host_key(self, *, force: bool = False) -> HostKey:
        """Show the announced key from now on."""
        ...

    def remove(self, name: str) -> object:
        """Revoke the board's key at once; its measurements stay."""
        ...


class Launcher(Protocol):
    """Runs jobs' drivers."""

    def launch(self, job_id: str) -> None:
        """Start the driver of a queued job, in the background."""
        ...

    def stop(self, job_id: str) -> None:
        """End the driver of a job that was asked to stop, if it runs; safe to repeat."""
        ...

    def alive(self, job_id: str) -> bool:
        """Return whether a driver of the job is starting or running now."""
        ...
