"""A board on this machine: a real agent, in a process of its own, over real SSH on loopback, on cores of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from nas_service.errors import NasError

ENROL_TIMEOUT_S = 60.0


def enrol_local_board(home: Path, *, address: str, code: str) -> None:
    """Enrol this machine's agent home with a one-time code; NasError with the agent's own words if it is refused."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = subprocess.run(
        [*_nas_edge(), "enroll", address, code, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=ENROL_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise NasError(f"the local board could not enrol: {done.stderr.strip() or done.stdout.strip()}")


def start_local_board(home: Path, *, cores: Sequence[int], log: Path) -> int:
    """Start the agent on `cores` in a session of its own and return its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_nas_edge(), "run", "--local", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    return process.pid


def _nas_edge() -> list[str]:
    return [sys.executable, "-m", "edge_agent"]
