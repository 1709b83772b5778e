"""One gateway per home: a lock that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from nas_service.errors import ConflictError


class GatewayLock:
    """Held from `acquire` until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, retry_s: float = 15.0, pause_s: float = 0.1) -> None:
        """Take the lock; wait up to `retry_s` for a predecessor that is just ending.

        Raises:
            ConflictError: Another gateway holds it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up_at = time.monotonic() + retry_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up_at:
                    os.close(descriptor)
                    raise ConflictError(
                        f"another gateway runs over {self._path.parent}; end it first (nas down), or use another home"
                    ) from None
                time.sleep(pause_s)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
