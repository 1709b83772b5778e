"""What a child's end means, and the board's health around it: each way to fail has a status, a fault and a cause."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from edge_agent.clocks import HELD
from edge_agent.records import Fault, Status
from edge_agent.throttling import throttle_cause

_MAX_SLOWER = 1.10
_MAX_CLOCK_LOSS = 0.03
_MAX_STALL_MS = 500.0
_MAX_SWAPPED_PAGES = 1000
_MUST_STAY = {"governors": "governor", "power_mode": "power mode", "cores_online": "cores online"}
_KINDS: dict[str, tuple[Status, Fault]] = {
    "oom": ("infeasible_oom", "model"),
    "model": ("model_error", "model"),
    "provider": ("ep_fallback", "board"),
    "parity": ("parity_fail", "board"),
    "agent": ("agent_error", "board"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnd:
    """How a child ended.

    `stages` are the letters it sent (see child.py). `returncode` is negative for a signal. `timed_out` names the
    deadline that the parent enforced, the lease's own if `gave_up`. `oom_kills` is how many processes the kernel killed
    for memory meanwhile (None: unknown). `answer` is the decoded answer file, None if there was none to read.
    """

    stages: str
    returncode: int
    timed_out: str | None = None
    gave_up: bool = False
    oom_kills: int | None = None
    answer: dict[str, Any] | None = None
    errors: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Status, fault and cause as a Result holds them; fault and cause are None if all is well."""

    status: Status
    fault: Fault | None = None
    cause: str | None = None


def judge(end: ChildEnd) -> Verdict:
    """Return what a child's end says about the model and the board."""
    imported = "I" in end.stages
    if end.timed_out and end.gave_up:
        return Verdict(status="agent_error", fault="infra", cause=end.timed_out)
    if end.timed_out:
        if not imported:
            return Verdict(status="agent_error", fault="board", cause=f"{end.timed_out} while importing onnxruntime")
        return Verdict(status="infeasible_timeout", fault="model", cause=end.timed_out)
    if end.returncode < 0:
        return _judge_signal(end, imported)
    if end.answer is None:
        cause = f"the child left with status {end.returncode} and no readable answer: {end.errors or 'no message'}"
        return Verdict(status="agent_error", fault="unknown", cause=cause)
    if end.answer.get("ok") is True:
        return Verdict(status="ok")
    status, fault = _KINDS.get(str(end.answer.get("kind")), ("agent_error", "unknown"))
    return Verdict(status=status, fault=fault, cause=str(end.answer.get("cause")))


def _judge_signal(end: ChildEnd, imported: bool) -> Verdict:
    number = -end.returncode
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGXCPU:
        return Verdict(status="infeasible_timeout", fault="model", cause="used up its CPU time (SIGXCPU)")
    if number == signal.SIGKILL:
        if end.oom_kills:
            return Verdict(status="infeasible_oom", fault="model", cause="killed by the kernel for memory (SIGKILL)")
        cause = "killed by SIGKILL from outside; the kernel counted no kill for memory"
        return Verdict(status="agent_error", fault="infra", cause=cause)
    if number == signal.SIGTERM:
        return Verdict(status="agent_error", fault="infra", cause="ended by SIGTERM from outside")
    if not imported:
        cause = f"onnxruntime died of {name} on import; run `nas-edge doctor`"
        return Verdict(status="agent_error", fault="board", cause=cause)
    return Verdict(status="model_error", fault="model", cause=f"died of {name} in onnxruntime {end.errors}".strip())


def judge_health(before: dict[str, Any], after: dict[str, Any], *, shared: bool) -> Verdict:
    """Return what the board's health before and after a measurement says about its figures.

    Args:
        before: From `read_health`, clocks measured.
        after: The same, later.
        shared: Whether others use this machine too, so that its memory and its clocks say nothing about the model.
    """
    if cause := throttle_cause(before, after):
        return Verdict(status="throttled", fault="board", cause=cause)
    if shared:
        return Verdict(status="ok")
    for name, title in _MUST_STAY.items():
        if before[name] != after[name]:
            cause = f"{title} changed from {_shown(before[name])} to {_shown(after[name])} during the measurement"
            return Verdict(status="throttled", fault="board", cause=cause)
    if set(before["governors"]) and set(before["governors"]) <= HELD and (cause := _clock_cause(before, after)):
        return Verdict(status="throttled", fault="board", cause=cause)
    if cause := _memory_cause(before, after):
        return Verdict(status="noisy", fault="board", cause=cause)
    return Verdict(status="ok")


def _clock_cause(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Return how much slower held clocks have become, as measured, None if they have not."""
    old, new = before["clock_measured_mhz"], after["clock_measured_mhz"]
    if old and new and new < old * (1 - _MAX_CLOCK_LOSS):
        return f"the firmware measured {new} MHz after {old} MHz although the clocks are held"
    old, new = before["spin_ns"], after["spin_ns"]
    if old and new and new > old * _MAX_SLOWER:
        return f"a fixed loop took {new / old - 1:.0%} longer than before although the clocks are held"
    return None


def _memory_cause(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Return how the machine lacked memory meanwhile, None if it did not or does not tell."""
    stalls = (before["memory_stall_ms"], after["memory_stall_ms"])
    if None not in stalls and stalls[1] - stalls[0] > _MAX_STALL_MS:
        return f"everything waited {stalls[1] - stalls[0]:.0f} ms for memory; close what else runs on the board"
    swapped = (before["swapped_pages"], after["swapped_pages"])
    if None not in swapped and swapped[1] - swapped[0] > _MAX_SWAPPED_PAGES:
        return f"{swapped[1] - swapped[0]} pages were swapped; close what else runs on the board"
    return None


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
