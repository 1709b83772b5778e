"""The process that meets one model: `python -m edge_agent.child --stage-fd N`, a job on stdin, an answer in a file.

It is the only part of the agent that imports onnxruntime for measuring. It may die of the model, which has no network
here. The parent learns how far it came from single letters on the stage pipe: I(mported), P(repared), and W(indow
opens), E(nds). After P the child waits for a line on stdin, so that the parent's traffic is over before anything is
timed. A job with `pair` is that of a pair measured whole, see edge_agent.pair_child.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.errors import ChildFaultError, ModelRefusedError
from edge_agent.files import write_whole
from edge_agent.inference import CPU, ON_GPU, build_engine, make_feeds, open_session, prove_provider, versions
from edge_agent.isolation import cut_network
from edge_agent.onnx_file import check_model_file
from edge_agent.process_limits import involuntary_switches, limit_memory, peak_kib, reset_peak, set_limits
from edge_agent.records import CAUSE_LIMIT, shortened
from edge_agent.tiers import TierPlan

_OOM_TEXTS = ("bad_alloc", "failed to allocate memory", "cannot allocate memory", "out of memory")


def main() -> int:
    """Do the job on stdin; the answer file says what came of it, and the exit status is 0 if it was written."""
    stage_fd = int(sys.argv[sys.argv.index("--stage-fd") + 1])
    job = json.loads(sys.stdin.readline())
    network_cut = cut_network()
    set_limits(cpu_s=job["cpu_limit_s"], written_bytes=job["written_limit_bytes"])
    try:
        answer = {"ok": True, **_measure(job, Stages(stage_fd))}
        answer["runtime"]["network_cut"] = network_cut
    except ChildFaultError as error:
        answer = {"ok": False, "kind": error.kind, "cause": shortened(str(error), CAUSE_LIMIT)}
    except ModelRefusedError as error:
        answer = {"ok": False, "kind": "model", "cause": shortened(str(error), CAUSE_LIMIT)}
    except MemoryError:
        answer = {"ok": False, "kind": "oom", "cause": "the child ran out of memory"}
    except Exception as error:
        kind = "oom" if any(text in str(error).lower() for text in _OOM_TEXTS) else "model"
        answer = {"ok": False, "kind": kind, "cause": shortened(f"{type(error).__name__}: {error}", CAUSE_LIMIT)}
    write_whole(Path(job["answer"]), json.dumps(answer, allow_nan=False).encode())
    return 0


class Stages:
    """The child's side of the talk with its parent."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def reach(self, letter: bytes) -> None:
        """Tell the parent that a stage is reached."""
        os.write(self._fd, letter)

    def prepared(self) -> None:
        """Say that all is prepared and wait for the parent's word.

        Raises:
            ChildFaultError: If there is no parent any more.
        """
        self.reach(b"P")
        if not sys.stdin.readline():
            raise ChildFaultError("agent", "the agent went away before the measurement began")


def import_onnxruntime() -> float:
    """Import onnxruntime and return the seconds that it took.

    Raises:
        ChildFaultError: If it cannot be imported.
    """
    begin = time.perf_counter()
    try:
        import onnxruntime  # noqa: F401
    except Exception as error:
        raise ChildFaultError("agent", f"onnxruntime cannot be imported: {error}; run `nas-edge doctor`") from None
    return time.perf_counter() - begin


def _measure(job: dict[str, Any], stages: Stages) -> dict[str, Any]:
    if job.get("pair"):
        from edge_agent.pair_child import measure_pair

        return measure_pair(job, stages=stages, import_runtime=import_onnxruntime)
    return _measure_file(job, stages)


def _measure_file(job: dict[str, Any], stages: Stages) -> dict[str, Any]:
    model = Path(job["model"])
    check_model_file(model)
    import numpy as np

    from edge_agent import statistics, timing

    buffer = np.ones(timing.CAPACITY, dtype=np.int64)  # written now, so that it counts as baseline and not as model
    statistics.summarise(np.arange(1.0, 65.0))
    phases_s = {"import": import_onnxruntime()}
    stages.reach(b"I")
    baseline_kib = peak_kib()
    limit_memory(job["memory_limit_mib"], on_gpu=job["provider"] in ON_GPU)
    begin = time.perf_counter()
    build_engine(model, settings=job)
    session = open_session(model, settings=job)
    feeds = make_feeds(session, seed=job["seed"])
    phases_s["prepare"], load_kib = time.perf_counter() - begin, peak_kib()
    reset_peak()
    stages.prepared()
    answer = _time(session, feeds, plan=TierPlan(**job["plan"]), buffer=buffer, reach=stages.reach)
    if job["provider"] != CPU:
        folder = Path(job["answer"]).parent
        answer["runtime"]["node_providers"] = prove_provider(model, settings=job, feeds=feeds, folder=folder)
    answer["memory"] |= {
        "baseline_kib": baseline_kib,
        "peak_load_kib": load_kib,
        "model_file_bytes": model.stat().st_size,
    }
    answer["phases_s"] |= phases_s
    return answer


def _time(
    session: Any, feeds: dict[str, Any], *, plan: TierPlan, buffer: Any, reach: Callable[[bytes], None]
) -> dict[str, Any]:
    from edge_agent import statistics, timing

    def call(run: Any = session.run, feeds: Any = feeds) -> object:
        return run(None, feeds)

    gc.disable()
    begin = time.perf_counter()
    warm = timing.warm_up(call, plan=plan)
    warmup_s, switches = time.perf_counter() - begin, involuntary_switches()
    batch = timing.choose_batch(warm.median_ms, plan=plan)
    reach(b"W")
    window = timing.time_calls(call, plan=plan, buffer=buffer, batch=batch)
    reach(b"E")
    switches, run_kib = involuntary_switches() - switches, peak_kib()
    duration_s = (window.end_ns - window.start_ns) / 1e9
    counts = {"n": window.n, "duration_s": duration_s, "warmup_n": warm.n, "cold_start_ms": warm.cold_start_ms}
    return {
        "latency": counts | statistics.summarise(window.times_ms, single=batch == 1),
        "memory": {"peak_run_kib": run_kib},
        "window_ns": [window.start_ns, window.end_ns],
        "runtime": {
            **versions(),
            "providers": session.get_providers(),
            "affinity": sorted(os.sched_getaffinity(0)),
            "batch": batch,
            "warmup_steady": warm.steady,
            "involuntary_switches": switches,
        },
        "phases_s": {"warmup": warmup_s, "window": duration_s},
    }


if __name__ == "__main__":
    sys.exit(main())
