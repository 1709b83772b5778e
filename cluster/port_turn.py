"""One service at a time chooses its ports on a machine, until it listens there.

Ray Serve's proxies listen with SO_REUSEPORT. Two services of one user that found the same port free at the same moment
would both listen there, and the kernel would give each request, with its token, to either of them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator

from nas_service.errors import NasError

PAUSE_S = 0.2


@contextlib.contextmanager
def port_turn(*, timeout_s: float = 300.0) -> Iterator[None]:
    """Hold this user's turn to choose ports; a process that dies gives it back.

    The turn is a socket in Linux's abstract namespace, which every network namespace has one of, just as it has its
    own ports.

    Args:
        timeout_s: How long to wait for another service that is starting, seconds.

    Raises:
        NasError: Somebody else still has it.
    """
    give_up_at = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as turn:
        while True:
            try:
                turn.bind(f"\0biglittle-nas-ports-{os.getuid()}")
                break
            except OSError:
                if time.monotonic() >= give_up_at:
                    raise NasError(
                        f"another service has been starting on this machine for {timeout_s:g} s; end it, then try again"
                    ) from None
                time.sleep(PAUSE_S)
        yield
