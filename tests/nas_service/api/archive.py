"""A job as a search leaves it behind: candidates with curves, measured halves, boards, events."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from typing import Any

import numpy as np

from edge_agent.records import Artifact, Heartbeat, Latency, Lease, Memory, Result, stable_hash
from nas_service.candidate import Candidate, CandidateStatus, Proposal
from nas_service.curve import Curve
from nas_service.fleet import PendingRequest, Settlement
from nas_service.job import parse_job
from nas_service.job_state import JobState
from nas_service.measurement import MeasurementRequest, RequestStatus
from nas_service.pair_space import PairSpace
from nas_service.space import load_definition
from nas_service.store import Store
from nas_service.store.fleet import FleetStore
from nas_service.store.jobs import Progress
from nas_service.twins import is_twinned, twin_key


def curve(rng: np.random.Generator, *, little: float, big: float, n: int = 400) -> Curve:
    """A curve of n inputs whose little and big are right with these shares; surer inputs are more often right."""
    scores = rng.random(n)
    little_right = rng.random(n) < np.clip(little + 0.5 * (scores - 0.5), 0, 1)
    big_right = rng.random(n) < np.clip(big + 0.1 * (scores - 0.5), 0, 1)
    return Curve.from_outputs(scores, little_right, big_right)


def three_point_curve() -> Curve:
    """60 % without, 80 % with half, and 90 % with all of 100 inputs escalated."""
    return Curve(
        thresholds=np.array([-math.inf, 0.5, math.inf]),
        escalated=np.array([0, 50, 100]),
        correct=np.array([60, 80, 90]),
        n=100,
    )


def proposal(number: int, *, coupling: str, little_macs: float = 100.0, tail_macs: float = 900.0) -> Proposal:
    """What a strategy asks for."""
    costs = {
        "little_macs": little_macs,
        "tail_macs": tail_macs,
        "worst_macs": little_macs + tail_macs,
        "params": 50.0 * number,
        "weights_kib": 0.2 * number,
    }
    structures = {half: stable_hash([half, number]) for half in ("little", "big")}
    return Proposal({"coupling": coupling, "depth": number}, f"phenotype-{number}", costs, structures)


def finished(candidate: Candidate, shape: Curve, **changes: Any) -> Candidate:
    """The candidate as it is after its evaluation."""
    accuracies = {"little": 100 * float(shape.accuracy[0]), "big": 100 * float(shape.accuracy[-1]), "n": float(shape.n)}
    return replace(
        candidate,
        status=CandidateStatus.FINISHED,
        accuracies=accuracies,
        curve=shape.to_bytes(),
        finished_at=candidate.created_at + 1,
        **changes,
    )


def add_candidate(store: Store, job_id: str, number: int, **changes: Any) -> Candidate:
    """Store one finished candidate with the three-point curve."""
    (candidate,) = store.candidates.asked(job_id, 0, "random", [proposal(number, coupling="stem")])
    store.candidates.finish(finished(candidate, three_point_curve(), **changes), None)
    return store.candidates.get(candidate.id)


def enrol(fleet: FleetStore, name: str, *, board_class: str, now: float) -> None:
    """Enrol a board as the gateway would."""
    token = fleet.create_enrolment(name, board_class=board_class, ttl_s=600, now=now)
    key = "ssh-ed25519 " + _key_blob(name)
    fleet.redeem(token, public_key=key, fingerprint={"model": board_class}, now=now)


def _key_blob(name: str) -> str:
    header = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
    return base64.b64encode(header + name.encode().ljust(32, b"\0")[:32]).decode()


def beat(fleet: FleetStore, name: str, *, state: Any, now: float, energy_sensor: str | None = None) -> None:
    """Store a heartbeat as the gateway would."""
    heartbeat = Heartbeat(
        board=name, incarnation=f"{name}-1", state=state, sent_unix_s=now, agent_version="0.1.0",
        fingerprint={"model": fleet.board(name).board_class},
        health={"cpu_c": 51.5} | ({} if energy_sensor is None else {"energy_sensor": energy_sensor}),
    )  # fmt: skip
    fleet.heartbeats([(heartbeat, now)])


def measure(
    fleet: FleetStore, *, structure_key: str, half: Any, board: str, board_class: str, mean_ms: float, now: float
) -> str:
    """Have a half measured: ask, lease, answer; return its measurement key."""
    model = Artifact(sha256=stable_hash(["onnx", structure_key]), size_bytes=1000)
    settings = next(c.settings for c in fleet.board_classes() if c.name == board_class)
    request = MeasurementRequest(
        structure_key=structure_key, board_class=board_class, tier="probe", half=half, model=model, settings=settings
    )
    (asked,) = fleet.request([request], now=now)
    if asked.is_final:  # halves of the same structure share the figure
        return request.measurement_key
    lease = fleet.leases.grant(
        request.measurement_key, board=board, ttl_s=180, deadline=now + 180, now=now, holding_limit=2
    )
    assert lease is not None
    _answer(fleet, lease, mean_ms=mean_ms, now=now)
    return request.measurement_key


def measure_on_two(
    fleet: FleetStore, *, boards: tuple[str, str], board_class: str, means_ms: tuple[float, float], now: float
) -> None:
    """Have a half measured by one board, and its twin by another."""
    first, second = boards
    for number in range(2000):
        request = MeasurementRequest(
            structure_key=stable_hash([board_class, means_ms, number]), board_class=board_class, tier="probe",
            half="big", model=Artifact(sha256="0" * 64, size_bytes=1000),
        )  # fmt: skip
        if is_twinned(request.measurement_key):
            break
    key = measure(
        fleet, structure_key=request.structure_key, half="big", board=first, board_class=board_class,
        mean_ms=means_ms[0], now=now,
    )  # fmt: skip
    lease = fleet.leases.grant(twin_key(key), board=second, ttl_s=180, deadline=now + 180, now=now, holding_limit=2)
    assert lease is not None
    _answer(fleet, lease, mean_ms=means_ms[1], now=now)


def _answer(fleet: FleetStore, lease: Lease, *, mean_ms: float, now: float) -> None:
    result = Result(
        result_id=f"result-{lease.lease_id}",
        lease_id=lease.lease_id,
        token=lease.token,
        attempt=lease.attempt,
        board=lease.board,
        board_class=lease.board_class,
        incarnation=f"{lease.board}-1",
        measurement_key=lease.measurement_key,
        structure_key=lease.structure_key,
        model_sha256=lease.model.sha256,
        tier=lease.tier,
        half=lease.half,
        status="ok",
        latency=latency(mean_ms),
        memory=Memory(baseline_kib=40_000, peak_load_kib=40_300, peak_run_kib=40_500, model_file_bytes=1000),
        finished_unix_s=now,
    )
    fleet.leases.record(result, settle=_done, received_at=now)


def _done(pending: PendingRequest) -> Settlement:
    return Settlement(state=RequestStatus.DONE, attempts=pending.attempts + 1, infra_faults=pending.infra_faults)


def latency(mean_ms: float) -> Latency:
    """A timing around this mean."""
    return Latency(
        n=100,
        duration_s=mean_ms / 10,
        mean_ms=mean_ms,
        median_ms=mean_ms,
        min_ms=0.9 * mean_ms,
        max_ms=1.2 * mean_ms,
        cv=0.02,
        mean_ci95_low_ms=0.99 * mean_ms,
        mean_ci95_high_ms=1.01 * mean_ms,
        warmup_n=10,
        cold_start_ms=3 * mean_ms,
    )


def fill(store: Store, *, candidates: int = 40, seed: int = 0, now: float) -> str:
    """Store a search of real pairs of the preset `tiny`, half done, measured on two boards; return the job's id."""
    rng = np.random.default_rng(seed)
    job = store.jobs.create(parse_job(SPEC))
    store.jobs.transition(job.id, JobState.TRAINING)
    for epoch in range(1, 11):
        store.jobs.append_event(job.id, "epoch", f"epoch {epoch} of 10, loss {2.3 / epoch:.3f}", {"epoch": epoch})
    store.jobs.transition(job.id, JobState.SEARCHING)
    for name, board_class, state in (("pi-kitchen", "rpi5", "measuring"), ("pi-attic", "rpi5", "idle")):
        enrol(store.fleet, name, board_class=board_class, now=now - 3600)
        beat(store.fleet, name, state=state, now=now - 4)
    space = PairSpace(load_definition("tiny"), channels=3, resolution=32, classes=10)
    points = [space.sample(rng) for _ in range(candidates + 3)]
    proposals = [_proposal(space, point) for point in points]
    asked = store.candidates.asked(job.id, 0, "nsga2", proposals)
    for candidate in asked[:candidates]:
        _finish(store, candidate, rng, now=now)
    broken = replace(asked[candidates], status=CandidateStatus.FAILED, error="out of memory", finished_at=now)
    store.candidates.finish(broken, None)
    lease_one(store.fleet, board="pi-kitchen", board_class="rpi5", now=now - 6)
    store.jobs.set_progress(job.id, Progress(phase="searching", done=candidates, total=candidates + 20, detail="nsga2"))
    return job.id


SPEC = """
kind: search
name: cifar10 on rpi5
dataset: {name: digits}
space: {preset: tiny}
supernet: {epochs: 10}
strategy: [{name: nsga2, evaluations: 40}, {name: tpe, evaluations: 20}]
objectives: [error, macs]
"""


def lease_one(fleet: FleetStore, *, board: str, board_class: str, now: float) -> None:
    """Lease a board the measurement of a half."""
    request = MeasurementRequest(
        structure_key=stable_hash("asked"),
        board_class=board_class,
        tier="screen",
        half="big",
        model=Artifact(sha256=stable_hash("asked.onnx"), size_bytes=1000),
        settings=fleet.board_classes()[0].settings,
    )
    fleet.request([request], now=now)
    key = request.measurement_key
    assert fleet.leases.grant(key, board=board, ttl_s=180, deadline=now + 180, now=now, holding_limit=2)


def _proposal(space: PairSpace, point: dict[str, Any]) -> Proposal:
    plan = space.plan(point)
    return Proposal(point, space.phenotype(point), plan.costs(), plan.structures("msp"))


def _finish(store: Store, candidate: Candidate, rng: np.random.Generator, *, now: float) -> None:
    costs = candidate.costs
    little = 0.55 + 0.16 * math.log10(costs["little_macs"] / 1e5)
    big = 0.74 + 0.10 * math.log10(costs["tail_macs"] / 5e5)
    shape = curve(rng, little=min(0.86, little), big=min(0.94, big + 0.02 * rng.random()))
    keys = {
        half: measure(
            store.fleet,
            structure_key=candidate.structures[half],
            half=half,
            board="pi-attic",
            board_class="rpi5",
            mean_ms=0.2 + costs[f"{half if half == 'little' else 'tail'}_macs"] / 8e5,
            now=now,
        )
        for half in ("little", "big")
    }
    store.candidates.finish(finished(candidate, shape, measurements={"rpi5": keys}), None)
    store.jobs.append_event(
        candidate.job_id, "candidate", f"candidate {candidate.number} finished", {"id": candidate.id}
    )
