"""One child from its start to its end: the job, the talk over its stages, its deadlines, and what it left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edge_agent.errors import StoppedError
from edge_agent.health import memory_available_kib, oom_kill_count
from edge_agent.inference import ON_GPU, PROVIDERS
from edge_agent.launch import kill_group, start_module
from edge_agent.records import RuntimeSettings, check_plain
from edge_agent.tiers import TierPlan
from edge_agent.verdict import ChildEnd

_ERROR_TAIL_BYTES = 500
_SEED = 0
_AVAILABLE_SHARE = 0.9
_SPARE_S = 30.0
_WRITTEN_BYTES, _ENGINE_BYTES = 64 << 20, 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """What goes on beside a measurement.

    `while_preparing` is called at once and then about once a second until the model is prepared, then `before_timing`
    once, while the child waits. `stop_fd` becomes readable when the agent is to stop; at `give_up_at` of
    time.monotonic() the result would be worth nothing. `on_start` is told the child's process id.
    """

    while_preparing: Callable[[], None] = lambda: None
    before_timing: Callable[[], object] = lambda: None
    on_start: Callable[[int], object] = lambda pid: None
    stop_fd: int | None = None
    give_up_at: float | None = None


UNSUPERVISED = Supervision()


@dataclass(slots=True, kw_only=True)
class ChildRun:
    """A child's run. `extra` adds to its job, `extra_s` to its time beside warm-up and window.

    The board rests for `idle_s` before the timing and after the child's end; `idle_ns` says when it did.
    """

    plan: TierPlan
    settings: RuntimeSettings
    folder: Path
    supervision: Supervision
    idle_s: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    extra_s: float = 0.0
    stages: str = ""
    gave_up: bool = False
    idle_ns: list[tuple[int, int]] = field(default_factory=list)

    def follow(self, model: Path) -> ChildEnd:
        """Run the child to its end, whatever that is.

        Raises:
            StoppedError: If the supervision's `stop_fd` became readable; the child is dead by then.
        """
        kills_before = oom_kill_count()
        stage_fd, child_fd = os.pipe()
        with (self.folder / "stderr").open("w+b") as errors, os.fdopen(stage_fd, "rb", buffering=0) as stage:
            arguments = ["--stage-fd", str(child_fd)]
            process = start_module("edge_agent.child", arguments=arguments, pass_fds=[child_fd], stderr=errors)
            os.close(child_fd)
            try:
                self.supervision.on_start(process.pid)
                timed_out = self._converse(process, stage, self._job(model))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0 if timed_out else 5)
            finally:
                returncode = kill_group(process)
            end = ChildEnd(
                stages=self.stages,
                returncode=returncode,
                timed_out=timed_out,
                gave_up=self.gave_up,
                oom_kills=_difference(oom_kill_count(), kills_before),
                answer=_decoded(self.folder / "answer.json"),
                errors=_tail(errors),
            )
        if end.answer is not None and end.answer.get("ok") is True:
            self._rest()
        return end

    def measure_timeout_s(self) -> float:
        """Return how long the child may take once it is prepared."""
        planned_s = self.plan.max_warmup_s + self.plan.max_window_s + self.extra_s + _SPARE_S
        return max(self.settings.measure_timeout_s, planned_s)

    def _job(self, model: Path) -> bytes:
        limit_mib = self.settings.memory_limit_mib
        if limit_mib is None and (available := memory_available_kib()) is not None:
            limit_mib = max(1, int(available * _AVAILABLE_SHARE) >> 10)
        # A GPU's compilers and driver have threads of their own, as many as there are cores
        threads = (os.cpu_count() or 1) if self.settings.provider in ON_GPU else self.settings.threads
        budget_s = (self.settings.prepare_timeout_s + self.measure_timeout_s()) * threads
        job = {
            "model": str(model),
            "answer": str(self.folder / "answer.json"),
            "provider": self.settings.provider,
            "threads": self.settings.threads,
            "arena": self.settings.arena,
            "memory_limit_mib": limit_mib,
            "cpu_limit_s": int(budget_s) + 10,
            "written_limit_bytes": _ENGINE_BYTES if self.settings.provider == PROVIDERS["tensorrt"] else _WRITTEN_BYTES,
            "engines": str(self.folder / "engines"),
            "seed": _SEED,
            "plan": dataclasses.asdict(self.plan),
            **self.extra,
        }
        return json.dumps(job).encode() + b"\n"

    def _converse(self, process: subprocess.Popen[bytes], stage: IO[bytes], job: bytes) -> str | None:
        """Talk with the child until it closes its pipe; return the deadline that it missed, if it did."""
        _say(process, job)
        limit_s = self.settings.prepare_timeout_s
        prepare_end = time.monotonic() + limit_s
        self.supervision.while_preparing()
        while "P" not in self.stages:
            heard = self._hear(stage, until=min(prepare_end, time.monotonic() + 1.0))
            if heard == "":
                return None
            if heard is None and self._is_late():
                return self._give_up()
            if heard is None and time.monotonic() >= prepare_end:
                return f"prepare_timeout_s of {limit_s:g} passed"
            if heard is None:
                self.supervision.while_preparing()
        self.supervision.before_timing()
        self._rest()
        _say(process, b"go\n")
        limit_s = self.measure_timeout_s()
        end = min(time.monotonic() + limit_s, self.supervision.give_up_at or float("inf"))
        while (heard := self._hear(stage, until=end)) != "":
            if heard is None:
                return self._give_up() if self._is_late() else f"measure_timeout_s of {limit_s:g} passed"
        return None

    def _rest(self) -> None:
        """Leave the board idle for the baseline of its power, if the tier has one and there is a sensor."""
        if self.idle_s > 0:
            begin_ns = time.perf_counter_ns()
            if select.select(
                [] if self.supervision.stop_fd is None else [self.supervision.stop_fd], [], [], self.idle_s
            )[0]:
                raise StoppedError("the agent was asked to stop while it measured")
            self.idle_ns.append((begin_ns, time.perf_counter_ns()))

    def _give_up(self) -> str:
        self.gave_up = True
        return "the lease's deadline passed before there was a result"

    def _is_late(self) -> bool:
        return self.supervision.give_up_at is not None and time.monotonic() >= self.supervision.give_up_at

    def _hear(self, stage: IO[bytes], *, until: float) -> str | None:
        """Return new stage letters, "" when the child closed the pipe, None when time is up."""
        watched: list[Any] = [stage] if self.supervision.stop_fd is None else [stage, self.supervision.stop_fd]
        ready, _, _ = select.select(watched, [], [], max(0.0, until - time.monotonic()))
        if self.supervision.stop_fd is not None and self.supervision.stop_fd in ready:
            raise StoppedError("the agent was asked to stop while it measured")
        if stage not in ready:
            return None
        letters = stage.read(16).decode("ascii", "replace")
        self.stages += letters
        return letters


def _say(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def _decoded(path: Path) -> dict[str, Any] | None:
    try:
        answer = check_plain(json.loads(path.read_bytes()), where="answer")
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - _ERROR_TAIL_BYTES))
    return " ".join(errors.read().decode(errors="replace").split())
