"""Starting one of the agent's own modules as a process that can be killed whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_PACKAGE_PARENT = Path(__file__).resolve().parent.parent


def start_module(
    module: str, *, arguments: Sequence[str] = (), pass_fds: Sequence[int] = (), stderr: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start `python -m module` in a process group of its own, stdin a pipe, stdout discarded."""
    paths = [str(_PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env=environment,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes]) -> int:
    """Kill a process and everything it started; return its exit status, negative for the signal that ended it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()
    return process.wait()
