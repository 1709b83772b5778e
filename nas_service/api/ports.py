"""What the API needs of the rest: who runs jobs, who knows the boards. The composition root provides them."""

from __future__ import annotations

from typing import Protocol


class Fleet(Protocol):
    """Adds boards, and takes them away."""

    def enrol(self, board: str, board_class: str) -> str:
        """Return the one-time code by which a board becomes known; it is shown once."""
        ...

    def drain(self, name: str, *, draining: bool = True) -> object:
        """Give the board no further work, or, with `draining=False`, give it some again."""
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
