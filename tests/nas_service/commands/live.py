"""Fills a real store as a search would: a board that enrolled and measured, candidates with curves, a bundle."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np

from edge_agent.records import (
    Artifact,
    BundleFile,
    InputSpec,
    Latency,
    Manifest,
    Memory,
    OperatingPoint,
    Promise,
    Result,
    RuntimeSettings,
    Variant,
)
from nas_service.candidate import Candidate, CandidateStatus, Proposal
from nas_service.curve import Curve
from nas_service.errors import ConflictError
from nas_service.fleet import Board, Settlement
from nas_service.job import parse_job
from nas_service.job_state import JobState
from nas_service.measurement import MeasurementRequest, RequestStatus
from nas_service.store import Store
from tests.nas_service.api.fakes import Announced

BOARD, BOARD_CLASS = "demo-board", "local-x86"
N = 200


def make_spec(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "search",
        "name": "digits demo",
        "dataset": {"name": "digits"},
        "space": {"preset": "micro"},
        "supernet": {"epochs": 2},
        "strategy": {"name": "random", "evaluations": 8, "concurrency": 2},
        "objectives": ["error", "macs"],
        "measurement": {"tier": "probe"},
        **changes,
    }


class StoredFleet:
    """The boards of the store, as the gateway would show them."""

    def __init__(self, store: Store) -> None:
        self._fleet = store.fleet

    def enrol(self, board: str, board_class: str, *, settings: RuntimeSettings | None = None) -> str:
        token = self._fleet.create_enrolment(
            board, board_class=board_class, ttl_s=600, now=time.time(), settings=settings
        )
        return f"nas1-{token}-fingerprint"

    def drain(self, name: str, *, draining: bool = True) -> None:
        self._fleet.drain(name, draining=draining)

    def announce_host_key(self) -> Announced:
        return Announced()

    def switch_host_key(self, *, force: bool = False) -> Announced:
        if not force:
            raise ConflictError("not told of the new host key: pi-1; wait for them")
        return Announced()

    def remove(self, name: str) -> None:
        self._fleet.remove(name, now=2e9)

    def boards(self) -> list[Board]:
        return self._fleet.boards()


def sha(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def public_key(seed: int) -> str:
    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + hashlib.sha256(bytes([seed])).digest()
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


def enrol(store: Store, name: str, board_class: str = BOARD_CLASS, *, seed: int = 1) -> None:
    token = store.fleet.create_enrolment(name, board_class=board_class, ttl_s=600, now=1e9)
    store.fleet.redeem(token, public_key=public_key(seed), fingerprint={"model": "test"}, now=1e9 + 1)


def measure(store: Store, *, structure: str, half: str, mean_ms: float) -> str:
    """Let the board measure one half; return the measurement key."""
    settings = RuntimeSettings()
    request = MeasurementRequest(
        structure_key=structure,
        board_class=BOARD_CLASS,
        tier="probe",
        half=half,  # type: ignore[arg-type]
        model=Artifact(sha256=sha("model", structure), size_bytes=1000),
        settings=settings,
    )
    key = request.measurement_key
    store.fleet.request([request], now=1e9)
    lease = store.fleet.leases.grant(key, board=BOARD, ttl_s=180, deadline=1e9 + 180, now=1e9, holding_limit=100)
    assert lease is not None
    result = Result(
        result_id=f"r-{key[:20]}",
        lease_id=lease.lease_id,
        token=lease.token,
        attempt=lease.attempt,
        board=BOARD,
        board_class=BOARD_CLASS,
        incarnation="boot-1",
        measurement_key=key,
        structure_key=structure,
        model_sha256=lease.model.sha256,
        tier="probe",
        half=half,  # type: ignore[arg-type]
        status="ok",
        grade="local",
        latency=latency(mean_ms),
        memory=Memory(baseline_kib=30_000, peak_load_kib=31_000, peak_run_kib=33_000, model_file_bytes=1000),
        finished_unix_s=1e9 + 5,
    )
    done = Settlement(state=RequestStatus.DONE, attempts=1, infra_faults=0)
    store.fleet.leases.record(result, settle=lambda _: done, received_at=1e9 + 6)
    return key


def latency(mean_ms: float) -> Latency:
    return Latency(
        n=1000,
        duration_s=1.0,
        mean_ms=mean_ms,
        median_ms=mean_ms,
        p90_ms=mean_ms * 1.1,
        min_ms=mean_ms * 0.9,
        max_ms=mean_ms * 2,
        cv=0.05,
        mean_ci95_low_ms=mean_ms * 0.99,
        mean_ci95_high_ms=mean_ms * 1.01,
        warmup_n=10,
        cold_start_ms=5.0,
    )


def make_curve(seed: int, little: float, big: float) -> Curve:
    rng = np.random.default_rng(seed)
    scores = rng.random(N)
    surer = rng.random(N) * 0.5 + scores * 0.5
    return Curve.from_outputs(
        scores, little_correct=surer > np.quantile(surer, 1 - little), big_correct=rng.random(N) < big
    )


def finished_search(store: Store) -> str:
    """Return the id of a search that ran to its end."""
    enrol(store, BOARD)
    job_id = store.jobs.create(parse_job(make_spec())).id
    for state in (JobState.TRAINING, JobState.SEARCHING, JobState.FINISHING, JobState.FINISHED):
        if state is JobState.SEARCHING:
            for epoch in (1, 2):
                store.jobs.append_event(
                    job_id,
                    "epoch",
                    f"epoch {epoch}",
                    {"epoch": epoch, "losses": {"train": 2.0 / epoch}, "accuracies": {"big": 0.4 * epoch}},
                )
        store.jobs.transition(job_id, state)
    proposals = [proposal(i) for i in range(6)]
    for index, candidate in enumerate(store.candidates.asked(job_id, 0, "random", proposals)):
        store.candidates.finish(ended(store, candidate, index), None)
    chosen = store.candidates.get(f"{job_id}-0002")
    bundle = store.files.put(bundle_zip(chosen.id))
    store.candidates.update(replace(chosen, finalist=True, bundle_sha256=bundle, final=final()))
    return job_id


def proposal(index: int) -> Proposal:
    coupling = ("independent", "stem", "nested")[index % 3]
    little, tail = 100_000.0 * (index + 1), 900_000.0 + 50_000 * index
    return Proposal(
        architecture={"coupling": coupling, "depth": index},
        phenotype=f"{coupling}-{index}",
        costs={"little_macs": little, "tail_macs": tail, "worst_macs": little + tail, "params": 20_000.0},
        structures={"little": sha("little", index), "big": sha("big", index)},
    )


def ended(store: Store, candidate: Candidate, index: int) -> Candidate:
    if index == 5:
        return replace(candidate, status=CandidateStatus.FAILED, error="training diverged", finished_at=1e9)
    keys = {
        half: measure(store, structure=candidate.structures[half], half=half, mean_ms=(1 + index) * scale)
        for half, scale in (("little", 0.1), ("big", 0.5))
        if index < 4
    }
    curve = make_curve(index, 0.70 + 0.03 * index, 0.93)
    told = [
        {"error": 100 * (1 - float(a)), "macs": float(c), "threshold": curve.threshold(i)}
        for i, (a, c) in enumerate(
            zip(
                curve.accuracy,
                curve.expected_cost(candidate.costs["little_macs"], candidate.costs["tail_macs"]),
                strict=True,
            )
        )
        if i % 20 == 0
    ]
    return replace(
        candidate,
        status=CandidateStatus.FINISHED,
        accuracies={"little": 70.0, "big": 93.0, "n": float(N)},
        curve=curve.to_bytes(),
        measurements={BOARD_CLASS: keys} if keys else {},
        values=tuple(told),
        split_hashes={"validation": sha("validation")},
        finished_at=1e9 + index,
    )


def final() -> dict[str, Any]:
    point = OperatingPoint(name="best", threshold=0.5, calibration=Promise(accuracy=0.9, escalation_rate=0.3))
    return {"operating_points": [point.to_dict()]}


def bundle_files() -> dict[str, bytes]:
    return {"little.onnx": b"little graph", "big.onnx": b"big graph", "parity.npz": b"parity"}


def manifest(files: dict[str, bytes], *, candidate: str = "digits-demo-k3q7ab-0002") -> Manifest:
    point = OperatingPoint(name="best", threshold=0.5, calibration=Promise(accuracy=0.9, escalation_rate=0.3))
    return Manifest(
        candidate=candidate,
        classes=("0", "1"),
        input=InputSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.5,)),
        coupling="stem",
        router="msp",
        files=tuple(
            BundleFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
            for name, data in files.items()
        ),
        operating_points=(point,),
        default_operating_point="best",
        variants=(
            Variant(
                precision="fp32", little="little.onnx", big="big.onnx", parity="parity.npz", operating_points=(point,)
            ),
        ),
        provenance={"job": "digits-demo-k3q7ab"},
    )


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    return buffer.getvalue()


def bundle_zip(candidate: str) -> bytes:
    files = bundle_files()
    return zip_of({"bundle.json": json.dumps(manifest(files, candidate=candidate).to_dict()).encode(), **files})
