"""What a measuring child does to itself and knows of itself: limits, peak memory, context switches. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

from edge_agent.errors import ChildFaultError

_PR_SET_PDEATHSIG = 1
_MAX_WRITTEN_BYTES = 64 << 20
_RESET_PEAK = "5"


def set_limits(*, cpu_s: int) -> None:
    """Die with the parent, leave no core file, and stay within CPU time and size of files written."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_WRITTEN_BYTES, _MAX_WRITTEN_BYTES))


def limit_memory(limit_mib: int | None) -> None:
    """Allow this much address space beyond what is in use now; None: no limit."""
    if limit_mib is None:
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (limit_mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def peak_kib() -> int:
    """Return the peak resident memory since the start, or since `reset_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise ChildFaultError("agent", "/proc/self/status has no VmHWM; measure on Linux with /proc mounted")


def reset_peak() -> None:
    """Let the peak begin anew at what is resident now; where the kernel refuses, it goes on from where it was."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)


def involuntary_switches() -> int:
    """Return how often something else was given this process's core."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
