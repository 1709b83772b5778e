"""The port that boards were told: chosen once, kept in a file, taken again after every restart."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

from cluster.gateway.folders import write_whole
from nas_service.errors import NasError

RETRY_S = 15.0


def bind_fixed(
    path: Path, wanted: int | None, listen: Callable[[int], int], *, retry_s: float = RETRY_S, pause_s: float = 0.2
) -> int:
    """Listen on `wanted`, else on the port kept at `path`, else on any free one; keep it, and return it.

    A killed predecessor's port may be free only a moment later, so a taken one is tried again for `retry_s`.

    Raises:
        NasError: The port is still taken after that.
    """
    port = wanted or kept_port(path) or 0
    give_up_at = time.monotonic() + retry_s
    while True:
        try:
            chosen = listen(port)
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise NasError(f"the gateway cannot listen on port {port}: {error}") from None
            if time.monotonic() >= give_up_at:
                raise NasError(
                    f"the gateway's port {port} is taken by another program; end that one, or choose another port "
                    "(boards must then be told)"
                ) from None
            time.sleep(pause_s)
    write_whole(path, f"{chosen}\n".encode())
    return chosen


def kept_port(path: Path) -> int | None:
    """Return the port of the first start, or None if there was none."""
    try:
        port = int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return port if 0 < port < 65536 else None
