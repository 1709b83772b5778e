"""A finalist measured whole by a real board over real SSH, and what its bundle then promises; all but Ray is real."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cluster.evaluator import HALVES
from cluster.finalists import FinalistPhase
from cluster.gateway.gateway import Gateway
from cluster.local_board import enrol_local_board
from cluster.measurer import GatewayMeasurer
from edge_agent.records import Artifact, Manifest
from edge_agent.runtime import Pair
from nas_service.candidate import Candidate
from nas_service.home import Home
from nas_service.job import parse_job
from nas_service.pair_space import PairSpace
from nas_service.presets import PRESETS
from nas_service.store import Store
from tests.cluster.gateway.processes import wait_for
from tests.cluster.test_finalists import CHEAP, FakeStore
from tests.cluster.test_whole_pairs import JOB
from workers.data.dataset import DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationData
from workers.evaluator import EvaluatorCore
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import train

pytestmark = [pytest.mark.slow, pytest.mark.ssh, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]


class StoreWithFleet(FakeStore):
    """One job and one candidate in memory, and the gateway's own fleet and files."""

    def __init__(self, only: Candidate, store: Store) -> None:
        super().__init__(only)
        self.fleet, self.files = store.fleet, store.files

    def stop_requested(self, job_id: str) -> bool:
        return False


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[Gateway, Store]]:
    home = Home(tmp_path / "nas")
    with Store.open(home) as store, Gateway(home, store) as running:
        yield running, store


@pytest.fixture
def board(gateway: tuple[Gateway, Store], tmp_path: Path) -> Iterator[None]:
    running, store = gateway
    home = tmp_path / "board"
    enrol_local_board(home, address=f"127.0.0.1:{running.status().port}", code=running.enrol("quick", "quick"))
    command = [sys.executable, "-m", "tests.cluster.quick_board", "run", "--local", "--home", str(home)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    wait_for("a word of the board", lambda: store.fleet.board("quick").heartbeat, timeout_s=60)
    yield
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=20)


def actor() -> tuple[Any, dict[str, Any]]:
    """An evaluator of a supernet of one epoch on digits, called as Ray calls it, and an architecture of its space."""
    dataset = load(DatasetSpec(name="digits"))
    splits = Splits.of(dataset, seed=0)
    supernet = Supernet(PairSpace(PRESETS["micro"], channels=1, resolution=8, classes=10))
    *_, last = train(supernet, dataset, splits, TrainConfig(epochs=1, batch_size=64))
    core = EvaluatorCore(PRESETS["micro"], checkpoint=last.checkpoint, data=EvaluationData.of(dataset, splits))

    def finalist(
        architecture: dict[str, Any],
        *,
        candidate: str,
        finishing: Any,
        costs: Any,
        provenance: Any,
        **_: Any,
    ):
        return core.finalist(
            architecture,
            candidate=candidate,
            dataset=dataset,
            splits=splits,
            finishing=finishing,
            costs=costs,
            provenance=provenance,
        )

    return SimpleNamespace(finalist=SimpleNamespace(remote=finalist)), core.space.extreme("stem", largest=False)


def test_a_real_board_prices_every_operating_point_of_a_finalists_bundle(
    gateway: tuple[Gateway, Store], board: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running, real = gateway
    evaluator, architecture = actor()
    keys = {half: "0" * 64 for half in HALVES}
    candidate = Candidate.from_dict({**CHEAP.to_dict(), "architecture": architecture, "measurements": {"quick": keys}})
    store = StoreWithFleet(candidate, real)
    monkeypatch.setattr("cluster.finalists.answer_of", lambda reference: reference)
    monkeypatch.setattr(
        "cluster.finalist_measuring.publish",
        lambda data: Artifact(sha256=running.store_artifact(data), size_bytes=len(data)),
    )
    spec = parse_job({**JOB, "finalists": {"count": 1, "tier": "final", "int8": False}})
    phase = FinalistPhase(
        "job-1",
        spec,
        trained=SimpleNamespace(dataset=None),  # type: ignore[arg-type]
        store=store,  # type: ignore[arg-type]
        work=tmp_path,
        measurer=GatewayMeasurer(running),  # type: ignore[arg-type]
    )
    phase._finish(evaluator, candidate, show=print)

    assert [kind for kind, _ in store.events if kind in ("failed", "measurement")] == []
    key = store.only.final["measurements"]["quick"]["pair-fp32"]
    result = real.fleet.states([key])[key].result
    assert result is not None
    assert result.pair is not None
    assert (result.half, result.tier, len(result.pair.process_means_ms)) == ("pair", "final", 2)
    assert result.pair.route_agreement >= 0.995
    assert result.health["sentinel"]["before_ms"] > 0
    data = real.files.get(store.only.bundle_sha256 or "")
    manifest = Manifest.from_json(zipfile.ZipFile(io.BytesIO(data)).read("bundle.json"))
    for point in manifest.operating_points:
        cost, rate = point.calibration.expected_cost, point.calibration.escalation_rate
        assert cost["latency_ms@quick"] == pytest.approx(result.pair.mean_ms(rate))
        assert cost["memory_kib@quick"] > 0
    path = tmp_path / "bundle.zip"
    path.write_bytes(data)
    with Pair.load(path) as pair:
        assert pair.predict(np.zeros((8, 8), dtype=np.uint8)).latency_ms > 0
