"""From a lease to its Result: the identity that every answer carries, the refusals, and the measured answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.cooling import START_C, Cooling, cool_down
from edge_agent.health import ROOT, read_health
from edge_agent.lifetime import StopSignal
from edge_agent.measuring import Measurement, Supervision, grade_window, measure_file, new_result_id, quiet_s
from edge_agent.pair_measuring import measure_pair
from edge_agent.records import RESULT_LIMIT_BYTES, Fault, Lease, RecordError, Result, Status
from edge_agent.sensors import EnergySensor
from edge_agent.sentinel import Sentinel, sentinel_cause
from edge_agent.throttling import ThrottleWatch
from edge_agent.tiers import SENTINEL_PLAN, TIERS
from edge_agent.verdict import Verdict, judge_health

_SENTINEL_QUIET_S = SENTINEL_PLAN.max_warmup_s + SENTINEL_PLAN.max_window_s + 10.0


def answer(lease: Lease, *, incarnation: str) -> Result:
    """Return the answer to a lease as it stands before anything was measured: an agent error."""
    return Result(
        result_id=new_result_id(),
        lease_id=lease.lease_id,
        token=lease.token,
        attempt=lease.attempt,
        board=lease.board,
        board_class=lease.board_class,
        incarnation=incarnation,
        measurement_key=lease.measurement_key,
        structure_key=lease.structure_key,
        model_sha256=lease.model.sha256,
        tier=lease.tier,
        half=lease.half,
        status="agent_error",
        fault="unknown",
        cause="nothing was measured",
        finished_unix_s=time.time(),
    )


def refusal(identity: Result, *, status: Status, fault: Fault, cause: str) -> Result:
    """Return an answer that says why there is no figure."""
    return dataclasses.replace(identity, status=status, fault=fault, cause=cause, finished_unix_s=time.time())


def sendable(result: Result, *, identity: Result) -> Result:
    """Return the result, or an answer that says why no gateway would take it: a child may answer anything."""
    try:
        checked = Result.from_dict(result.to_dict())
        size = len(checked.to_json())
    except RecordError as error:
        cause = f"what was measured is no result: {error}"
        return refusal(identity, status="agent_error", fault="unknown", cause=cause)
    if size <= RESULT_LIMIT_BYTES:
        return checked
    cause = f"what was measured takes {size} bytes but the gateway takes results of at most {RESULT_LIMIT_BYTES}"
    return refusal(identity, status="agent_error", fault="unknown", cause=cause)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What a board measures with.

    Attributes:
        work: A folder for the exchange with the child.
        sensor: Where energy is read, or None.
        sentinel: The board's own, None for none.
        local: Whether the board shares its machine with the service; it then does not wait for it to cool down.
        start_c: How hot it may be, in °C, when a measurement of a tier that asks for it begins.
    """

    work: Path
    sensor: EnergySensor | None
    sentinel: Sentinel | None = None
    local: bool = False
    start_c: float = START_C


def measure_lease(
    identity: Result,
    *,
    lease: Lease,
    model: Path,
    place: Workplace,
    stop: StopSignal,
    give_up_at: float,
    beat: Callable[[float | None], None],
    cooling: Callable[[], None] = lambda: None,
) -> Result:
    """Return the answer to a lease after measuring `model`.

    Args:
        identity: From `answer`.
        lease: Tier and settings.
        model: The verified ONNX file, or pair pack if the lease's half is `pair`.
        place: Folder, sensor, sentinel.
        stop: Aborts the measurement.
        give_up_at: time.monotonic() of the lease's deadline.
        beat: Called with None about once a second while a model is prepared, then once with the seconds of silence.
        cooling: Called every two seconds while the board cools down.

    Raises:
        StoppedError: If `stop` was set meanwhile.
    """
    supervision = Supervision(
        while_preparing=lambda: beat(None),
        before_timing=lambda: beat(quiet_s(lease.tier, half=lease.half)),
        stop_fd=stop.fileno(),
        give_up_at=give_up_at,
    )
    sentinel, local = place.sentinel, place.local
    calm = dataclasses.replace(supervision, before_timing=lambda: beat(_SENTINEL_QUIET_S))
    cooled: Cooling | None = None
    if TIERS[lease.tier].cool_start and not local:
        cooled = cool_down(place.start_c, stop=stop, waiting=cooling)
        if cooled.cause is not None:
            return refusal(identity, status="throttled", fault="board", cause=cooled.cause)
    before_ms = sentinel.read_ms(supervision=calm) if sentinel and sentinel.is_due(lease.tier) else None
    if before_ms is not None and not local and sentinel and (cause := sentinel.slower_cause(before_ms)):
        slow = refusal(identity, status="drift", fault="board", cause=cause)
        return dataclasses.replace(slow, health={"sentinel": {"before_ms": before_ms, "after_ms": None}})
    measured, before, after = _between_readings(lease, model, place, supervision=supervision)
    verdict = grade_window(measured, tier=lease.tier)
    if verdict.status in ("ok", "drift", "noisy"):
        found = judge_health(before, after, shared=local)
        verdict = verdict if found.status == "ok" else found
    ends = sentinel is not None and TIERS[lease.tier].sentinel and verdict.status == "ok"
    after_ms = sentinel.read_ms(supervision=calm) if sentinel and ends else None
    if not local and (cause := sentinel_cause(before_ms=before_ms, after_ms=after_ms)):
        verdict = Verdict(status="drift", fault="board", cause=cause)
    health = {"before": before, "after": after, "sentinel": {"before_ms": before_ms, "after_ms": after_ms}}
    if cooled is not None:
        health["cooling"] = dataclasses.asdict(cooled)
    return sendable(_result(identity, measured, verdict, lease=lease, health=health, local=local), identity=identity)


def _between_readings(
    lease: Lease, model: Path, place: Workplace, *, supervision: Supervision
) -> tuple[Measurement, dict[str, Any], dict[str, Any]]:
    """Measure, and return the board's health before and after, too."""
    before = read_health(measure_clocks=True)
    measure = measure_pair if lease.half == "pair" else measure_file
    with ThrottleWatch(ROOT) as watch:
        measured = measure(
            model,
            tier=lease.tier,
            settings=lease.settings,
            work=place.work,
            sensor=place.sensor,
            supervision=supervision,
        )
    meanwhile = {"throttled_meanwhile": sorted(watch.seen), "cooling_meanwhile": watch.cooling}
    return measured, before, {**read_health(measure_clocks=True), **meanwhile}


def _result(
    identity: Result, measured: Measurement, verdict: Verdict, *, lease: Lease, health: dict[str, Any], local: bool
) -> Result:
    return dataclasses.replace(
        identity,
        status=verdict.status,
        fault=verdict.fault,
        cause=verdict.cause,
        latency=measured.latency,
        memory=measured.memory,
        energy=measured.energy,
        sensor_fault=measured.sensor_fault,
        pair=measured.pair,
        grade="local" if local else "bronze",
        runtime={**measured.runtime, "settings": lease.settings.to_dict()},
        health=health,
        phases_s=measured.phases_s,
        finished_unix_s=time.time(),
    )
