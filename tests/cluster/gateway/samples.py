"""Results as an agent would write them, for tests that need no agent."""

from __future__ import annotations

from edge_agent.records import Artifact, Heartbeat, Latency, Lease, Memory, Result, stable_hash
from nas_service.measurement import MeasurementRequest


def good_latency(mean_ms: float = 2.0) -> Latency:
    return Latency(
        n=64,
        duration_s=1.0,
        mean_ms=mean_ms,
        median_ms=mean_ms,
        min_ms=0.95 * mean_ms,
        max_ms=1.2 * mean_ms,
        cv=0.01,
        mean_ci95_low_ms=0.995 * mean_ms,
        mean_ci95_high_ms=1.005 * mean_ms,
        warmup_n=10,
        cold_start_ms=5.0,
    )


def good_result(lease: Lease, *, result_id: str = "result-1") -> Result:
    return Result(
        result_id=result_id,
        lease_id=lease.lease_id,
        token=lease.token,
        attempt=lease.attempt,
        board=lease.board,
        board_class=lease.board_class,
        incarnation="boot-1",
        measurement_key=lease.measurement_key,
        structure_key=lease.structure_key,
        model_sha256=lease.model.sha256,
        tier=lease.tier,
        half=lease.half,
        status="ok",
        latency=good_latency(),
        memory=Memory(baseline_kib=30000, peak_load_kib=31000, peak_run_kib=32000, model_file_bytes=1000),
        finished_unix_s=1000.0,
    )


def heartbeat(board: str, *, incarnation: str = "boot-1", lease_id: str | None = None) -> Heartbeat:
    return Heartbeat(
        board=board,
        incarnation=incarnation,
        state="measuring" if lease_id else "idle",
        sent_unix_s=1000.0,
        lease_id=lease_id,
        agent_version="0.1.0",
        fingerprint={"model": "pi"},
    )


def wanted(
    model_sha256: str, *, name: str = "a", board_class: str = "rpi5", size_bytes: int = 10
) -> MeasurementRequest:
    return MeasurementRequest(
        structure_key=stable_hash(name),
        board_class=board_class,
        tier="probe",
        half="little",
        model=Artifact(sha256=model_sha256, size_bytes=size_bytes),
    )
