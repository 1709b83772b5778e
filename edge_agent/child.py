"""The process that meets one model: `python -m edge_agent.child --stage-fd N`, a job on stdin, an answer in a file.

It is the only part of the agent that imports onnxruntime for measuring, and it may die of the model. The parent learns
how far it came from single letters on the stage pipe: I(mported), P(repared), and W(indow opens), E(nds). After P the
child waits for a line on stdin, so that the parent's traffic is over before anything is timed.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.errors import ModelRefusedError
from edge_agent.files import write_whole
from edge_agent.onnx_file import check_model_file
from edge_agent.tiers import TierPlan

_PR_SET_PDEATHSIG = 1
_MAX_WRITTEN_BYTES = 64 << 20
_OOM_TEXTS = ("bad_alloc", "failed to allocate memory", "cannot allocate memory", "out of memory")
_INPUT_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class _Fault(Exception):
    """A known way to fail: its kind is part of the answer."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def main() -> int:
    """Do the job on stdin; the answer file says what came of it, and the exit status is 0 if it was written."""
    stage_fd = int(sys.argv[sys.argv.index("--stage-fd") + 1])
    job = json.loads(sys.stdin.readline())
    _set_limits(cpu_s=job["cpu_limit_s"])
    try:
        answer = {"ok": True, **_measure(job, stage_fd)}
    except _Fault as error:
        answer = {"ok": False, "kind": error.kind, "cause": str(error)}
    except MemoryError:
        answer = {"ok": False, "kind": "oom", "cause": "the child ran out of memory"}
    except Exception as error:
        kind = "oom" if any(text in str(error).lower() for text in _OOM_TEXTS) else "model"
        answer = {"ok": False, "kind": kind, "cause": f"{type(error).__name__}: {error}"[:2000]}
    write_whole(Path(job["answer"]), json.dumps(answer, allow_nan=False).encode())
    return 0


def _set_limits(*, cpu_s: int) -> None:
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_WRITTEN_BYTES, _MAX_WRITTEN_BYTES))


def _measure(job: dict[str, Any], stage_fd: int) -> dict[str, Any]:
    model = Path(job["model"])
    try:
        check_model_file(model)
    except ModelRefusedError as error:
        raise _Fault("model", str(error)) from None
    import numpy as np

    from edge_agent import statistics, timing

    buffer = np.ones(timing.CAPACITY, dtype=np.int64)  # written now, so that it counts as baseline and not as model
    statistics.summarise(np.arange(1.0, 65.0))
    phases_s = {"import": _seconds(_import_onnxruntime)}
    _stage(stage_fd, b"I")
    baseline_kib = _peak_kib()
    _limit_memory(job["memory_limit_mib"])
    begin = time.perf_counter()
    session = open_session(model, settings=job)
    feeds = make_feeds(session, seed=job["seed"])
    phases_s["prepare"], load_kib = time.perf_counter() - begin, _peak_kib()
    _stage(stage_fd, b"P")
    if not sys.stdin.readline():
        raise _Fault("agent", "the agent went away before the measurement began")
    answer = _time(session, feeds, plan=TierPlan(**job["plan"]), buffer=buffer, stage_fd=stage_fd)
    answer["memory"] |= {
        "baseline_kib": baseline_kib,
        "peak_load_kib": load_kib,
        "model_file_bytes": model.stat().st_size,
    }
    answer["phases_s"] |= phases_s
    return answer


def _time(session: Any, feeds: dict[str, Any], *, plan: TierPlan, buffer: Any, stage_fd: int) -> dict[str, Any]:
    from edge_agent import statistics, timing

    def call(run: Any = session.run, feeds: Any = feeds) -> object:
        return run(None, feeds)

    gc.disable()
    begin = time.perf_counter()
    warm = timing.warm_up(call, plan=plan)
    warmup_s, switches = time.perf_counter() - begin, _involuntary_switches()
    batch = timing.choose_batch(warm.median_ms, plan=plan)
    _stage(stage_fd, b"W")
    window = timing.time_calls(call, plan=plan, buffer=buffer, batch=batch)
    _stage(stage_fd, b"E")
    switches, run_kib = _involuntary_switches() - switches, _peak_kib()
    duration_s = (window.end_ns - window.start_ns) / 1e9
    counts = {"n": window.n, "duration_s": duration_s, "warmup_n": warm.n, "cold_start_ms": warm.cold_start_ms}
    return {
        "latency": counts | statistics.summarise(window.times_ms, single=batch == 1),
        "memory": {"peak_run_kib": run_kib},
        "window_ns": [window.start_ns, window.end_ns],
        "runtime": {
            **_versions(),
            "providers": session.get_providers(),
            "affinity": sorted(os.sched_getaffinity(0)),
            "batch": batch,
            "warmup_steady": warm.steady,
            "involuntary_switches": switches,
        },
        "phases_s": {"warmup": warmup_s, "window": duration_s},
    }


def _seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _import_onnxruntime() -> None:
    try:
        import onnxruntime  # noqa: F401
    except Exception as error:
        raise _Fault("agent", f"onnxruntime cannot be imported: {error}; run `nas-edge doctor`") from None


def _versions() -> dict[str, str]:
    import numpy
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "numpy": numpy.__version__}


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def open_session(model: Path, *, settings: dict[str, Any]) -> Any:
    """Return an onnxruntime session with the class's settings: `provider`, `threads`, `arena`.

    Raises:
        _Fault: Of kind `provider` if the requested execution provider is not the one that runs.
    """
    import onnxruntime

    provider = settings["provider"]
    if provider not in onnxruntime.get_available_providers():
        have = ", ".join(onnxruntime.get_available_providers())
        raise _Fault("provider", f"provider {provider!r} is not in this onnxruntime; it has: {have}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings["arena"]
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), sess_options=options, providers=[provider])
    if session.get_providers()[0] != provider:
        raise _Fault("provider", f"provider {provider!r} was asked for but {session.get_providers()[0]!r} runs")
    return session


def make_feeds(session: Any, *, seed: int) -> dict[str, Any]:
    """Return seeded inputs for a session: standard normal floats, integers 0 and 1; free dimensions are 1."""
    import numpy as np

    rng = np.random.default_rng(seed)
    feeds = {}
    for value in session.get_inputs():
        if value.type not in _INPUT_TYPES:
            known = ", ".join(_INPUT_TYPES)
            raise _Fault("model", f"input {value.name!r} has type {value.type} but must be one of: {known}")
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in value.shape]
        kind = np.dtype(_INPUT_TYPES[value.type])
        values = rng.standard_normal(shape) if kind.kind == "f" else rng.integers(0, 2, shape)
        feeds[value.name] = np.asarray(values).astype(kind)
    return feeds


def _limit_memory(limit_mib: int | None) -> None:
    if limit_mib is None:
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (limit_mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _peak_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise _Fault("agent", "/proc/self/status has no VmHWM; measure on Linux with /proc mounted")


def _stage(fd: int, letter: bytes) -> None:
    os.write(fd, letter)


if __name__ == "__main__":
    sys.exit(main())
