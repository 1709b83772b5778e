"""The parent's side of one measurement: starts the child, keeps its deadlines, reads its answer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edge_agent.errors import StoppedError
from edge_agent.health import memory_available_kib, oom_kill_count
from edge_agent.launch import kill_group, start_module
from edge_agent.records import Energy, Latency, Memory, RuntimeSettings, Tier
from edge_agent.sensors import EnergySensor, Sampler
from edge_agent.tiers import TIERS, TierPlan
from edge_agent.verdict import ChildEnd, Verdict, judge

_ERROR_TAIL_BYTES = 500
_SEED = 0
_AVAILABLE_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What measuring one ONNX file gave; figures are present only if the verdict has them."""

    verdict: Verdict
    latency: Latency | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    runtime: dict[str, Any] = field(default_factory=dict)
    phases_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """What goes on beside a measurement.

    `while_preparing` is called about once a second until the model is prepared, then `before_timing` once, while the
    child waits. `stop_fd` becomes readable when the agent is to stop; at `give_up_at` of time.monotonic() the result
    would be worth nothing. `on_start` is told the child's process id.
    """

    while_preparing: Callable[[], None] = lambda: None
    before_timing: Callable[[], object] = lambda: None
    on_start: Callable[[int], object] = lambda pid: None
    stop_fd: int | None = None
    give_up_at: float | None = None


def quiet_s(tier: Tier) -> float:
    """Return how long a measurement at this tier stays silent at most, once the model is prepared."""
    plan = TIERS[tier]
    return plan.max_warmup_s + plan.max_window_s + 10.0


def measure_file(
    model: Path,
    *,
    tier: Tier,
    settings: RuntimeSettings,
    work: Path,
    sensor: EnergySensor | None = None,
    supervision: Supervision = Supervision(),
) -> Measurement:
    """Measure one ONNX file in a fresh child process; whatever the child does, a Measurement comes back.

    Args:
        model: The file; no second file is ever opened for it.
        tier: How long to measure.
        settings: Provider, threads, arena, deadlines and memory limit.
        work: A folder for the exchange with the child.
        sensor: Where energy is read, or None.
        supervision: Who is called meanwhile, and what ends the measurement early.

    Raises:
        StoppedError: If the supervision's `stop_fd` became readable; the child is dead by then.
    """
    begin = time.monotonic()
    plan = TIERS[tier]
    folder = Path(tempfile.mkdtemp(prefix="measure-", dir=work))
    sampler = Sampler(sensor, folder=folder) if sensor else None
    try:
        run = _Run(
            plan=plan,
            settings=settings,
            folder=folder,
            supervision=supervision,
            idle_s=plan.idle_baseline_s if sampler else 0.0,
        )
        end = run.follow(model)
        return _read(end, sampler=sampler, idle_ns=run.idle_ns, wall_s=time.monotonic() - begin)
    finally:
        if sampler:
            sampler.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class _Run:
    plan: TierPlan
    settings: RuntimeSettings
    folder: Path
    supervision: Supervision
    idle_s: float
    stages: str = ""
    gave_up: bool = False
    idle_ns: tuple[int, int] | None = None

    def follow(self, model: Path) -> ChildEnd:
        """Run the child to its end, whatever that is."""
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
            return ChildEnd(
                stages=self.stages,
                returncode=returncode,
                timed_out=timed_out,
                gave_up=self.gave_up,
                oom_kills=_difference(oom_kill_count(), kills_before),
                answer=_decoded(self.folder / "answer.json"),
                errors=_tail(errors),
            )

    def _job(self, model: Path) -> bytes:
        limit_mib = self.settings.memory_limit_mib
        if limit_mib is None and (available := memory_available_kib()) is not None:
            limit_mib = max(1, int(available * _AVAILABLE_SHARE) >> 10)
        budget_s = (self.settings.prepare_timeout_s + self._measure_timeout_s()) * self.settings.threads
        job = {
            "model": str(model),
            "answer": str(self.folder / "answer.json"),
            "provider": self.settings.provider,
            "threads": self.settings.threads,
            "arena": self.settings.arena,
            "memory_limit_mib": limit_mib,
            "cpu_limit_s": int(budget_s) + 10,
            "seed": _SEED,
            "plan": dataclasses.asdict(self.plan),
        }
        return json.dumps(job).encode() + b"\n"

    def _measure_timeout_s(self) -> float:
        return max(self.settings.measure_timeout_s, self.plan.max_warmup_s + self.plan.max_window_s + 30.0)

    def _converse(self, process: subprocess.Popen[bytes], stage: IO[bytes], job: bytes) -> str | None:
        """Talk with the child until it closes its pipe; return the deadline that it missed, if it did."""
        _say(process, job)
        limit_s = self.settings.prepare_timeout_s
        prepare_end = time.monotonic() + limit_s
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
        limit_s = self._measure_timeout_s()
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
            self.idle_ns = (begin_ns, time.perf_counter_ns())

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
        answer = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0, os.SEEK_END)
    errors.seek(max(0, errors.tell() - _ERROR_TAIL_BYTES))
    return " ".join(errors.read().decode(errors="replace").split())


def _read(end: ChildEnd, *, sampler: Sampler | None, idle_ns: tuple[int, int] | None, wall_s: float) -> Measurement:
    verdict = judge(end)
    if verdict.status != "ok" or end.answer is None:
        return Measurement(verdict=verdict, phases_s={"wall": wall_s})
    try:
        latency = Latency.from_dict(end.answer["latency"])
        memory = Memory.from_dict(end.answer["memory"])
        start_ns, end_ns = end.answer["window_ns"]
        phases_s = {**end.answer["phases_s"], "wall": wall_s}
        runtime = end.answer["runtime"]
    except (KeyError, ValueError, TypeError) as error:
        cause = f"the child's answer is not one: {error}"
        return Measurement(verdict=Verdict(status="agent_error", fault="unknown", cause=cause))
    energy = None
    if sampler:
        idle_mw = sampler.power_mw(start_ns=idle_ns[0], end_ns=idle_ns[1]) if idle_ns else None
        energy = sampler.energy(start_ns=start_ns, end_ns=end_ns, n=latency.n, idle_power_mw=idle_mw)
    return Measurement(
        verdict=verdict, latency=latency, memory=memory, energy=energy, runtime=runtime, phases_s=phases_s
    )


def grade_window(measurement: Measurement, *, tier: Tier) -> Verdict:
    """Return the verdict after the tier's own demands: drift and the confidence interval's width."""
    plan, latency = TIERS[tier], measurement.latency
    if measurement.verdict.status != "ok" or latency is None:
        return measurement.verdict
    drift = latency.drift_fraction
    if plan.max_drift_fraction is not None and drift is not None and abs(drift) > plan.max_drift_fraction:
        cause = f"latency moved by {drift:+.1%} over the window; at most {plan.max_drift_fraction:.0%} is allowed"
        return Verdict(status="drift", fault="board", cause=cause)
    half_width = (latency.mean_ci95_high_ms - latency.mean_ci95_low_ms) / 2 / latency.mean_ms
    if plan.ci_fraction is not None and half_width > plan.ci_fraction:
        cause = f"the mean is known to {half_width:.1%} only; {plan.ci_fraction:.1%} is asked for"
        return Verdict(status="noisy", fault="board", cause=cause)
    return measurement.verdict


def new_result_id() -> str:
    """Return a result id that no other result has."""
    return f"r-{uuid.uuid4().hex}"
