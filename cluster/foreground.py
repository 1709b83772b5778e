"""`nas up --block`: the service in the foreground, for systemd, containers and whoever else watches one process."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType

from cluster.local import down
from cluster.ray_head import group_alive
from nas_service.home import Home

SIGNALS = (signal.SIGTERM, signal.SIGINT)
POLL_S = 1.0

Report = Callable[[str], None]


def hold(home: Home, *, start: Callable[[], None], report: Report = lambda text: None) -> bool:
    """Call `start`, wait until SIGTERM or SIGINT arrives or Ray ends, and stop everything of this home.

    Must be called from the main thread; its signal handlers are put back. A signal that comes while `start` runs
    interrupts it.

    Returns:
        Whether a signal asked for the end; False if Ray ended by itself.
    """
    before = {number: signal.signal(number, _interrupt) for number in SIGNALS}
    try:
        try:
            start()
            _wait_for_end(home)
            asked = False
            report("Ray has ended by itself; its log is in " + str(home.logs))
        except KeyboardInterrupt:
            asked = True
        down(home, report=report)
        return asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_end(home: Home) -> None:
    while (state := home.read_state()) is not None and group_alive(state.pids.get("ray", -1)):
        time.sleep(POLL_S)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the waiting; further signals do not disturb the end, which takes a few seconds."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
