"""The agent's life on a board: one agent per home, who it is this time, and being asked to stop."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import select
import signal
from collections.abc import Iterator

from edge_agent.errors import AlreadyRunningError
from edge_agent.fingerprint import boot_id
from edge_agent.home import Home


@contextlib.contextmanager
def only_agent(home: Home) -> Iterator[str]:
    """Hold the home's lock, and give this agent's incarnation: boot id, start counter, and a draw.

    The lock belongs to the process, not to the file, so a killed agent leaves none behind.

    Raises:
        AlreadyRunningError: If another agent runs with this home.
        EdgeError: If the lock cannot be written, such as one that a run as another user left.
    """
    try:
        handle = os.open(home.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise home.unwritable(home.lock_path, error) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode().strip() or "unknown"
            raise AlreadyRunningError(
                f"an agent (process {holder}) already runs with {home.root}; stop it, or give another --home"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        home.clear_work()
        yield f"{boot_id()}-{home.next_start()}-{secrets.token_hex(2)}"  # the counter of a copied home is no proof
    finally:
        os.close(handle)


class StopSignal:
    """Becomes set on SIGTERM or SIGINT; can be waited for together with other descriptors."""

    def __init__(self) -> None:
        """Make an unset signal; `listen` connects it to the process's signals."""
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)

    def fileno(self) -> int:
        """Return a descriptor that is readable once the signal is set."""
        return self._read_fd

    def set(self) -> None:
        """Ask to stop; safe in a signal handler, and from another thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write_fd, b"x")

    def is_set(self) -> bool:
        """Return whether the agent was asked to stop."""
        return self.wait(0.0)

    def wait(self, timeout_s: float) -> bool:
        """Sleep until asked to stop, at most `timeout_s`; return whether it was."""
        return bool(select.select([self._read_fd], [], [], max(0.0, timeout_s))[0])

    @contextlib.contextmanager
    def listen(self) -> Iterator[StopSignal]:
        """Set this on SIGTERM and SIGINT while the block runs."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        old = {number: signal.signal(number, lambda *_: self.set()) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._read_fd)
        os.close(self._write_fd)
