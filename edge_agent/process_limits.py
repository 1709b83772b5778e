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
_RESET_PEAK = "5"


def set_limits(*, cpu_s: int, written_bytes: int) -> None:
    """Die with the parent, leave no core file, and stay within CPU time and size of files written."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written_bytes, written_bytes))


def limit_memory(limit_mib: int | None, *, on_gpu: bool = False) -> None:
    """Allow this much memory beyond what is in use now; None: no limit.

    On the CPU all address space counts. A GPU's driver reserves far more of that than it ever fills, so that for one
    only writable memory of the process counts; what the GPU itself takes is not limited.
    """
    if limit_mib is None:
        return
    kind, field = (resource.RLIMIT_DATA, "VmData") if on_gpu else (resource.RLIMIT_AS, "VmSize")
    limit = (_status_kib(field) << 10) + (limit_mib << 20)
    resource.setrlimit(kind, (limit, limit))


def peak_kib() -> int:
    """Return the peak resident memory since the start, or since `reset_peak`."""
    return _status_kib("VmHWM")


def reset_peak() -> None:
    """Let the peak begin anew at what is resident now; where the kernel refuses, it goes on from where it was."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK)


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise ChildFaultError("agent", f"/proc/self/status has no {field}; measure on Linux with /proc mounted")


def involuntary_switches() -> int:
    """Return how often something else was given this process's core."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
