"""What only the contents of data and checkpoints show fails a job when it starts, in words that say what to do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from tests.cluster.live import LiveService
from workers.data.dataset import DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.training import train

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.ssh, pytest.mark.timeout(240)]

JOB: dict[str, Any] = {
    "kind": "search",
    "name": "bad content",
    "space": {"preset": "tiny"},
    "strategy": {"name": "random", "evaluations": 2},
    "objectives": ["error", "macs"],
}


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _damaged_parquet(folder: Path) -> Path:
    """Both splits as Parquet; the bytes of the test split's first column are overwritten, its ends are whole."""
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    table = pa.table({"img": [{"bytes": _png(i), "path": None} for i in images], "label": [i % 2 for i in range(40)]})
    for part in ("train", "test"):
        pq.write_table(table, folder / f"{part}-00000-of-00001.parquet")
    path = folder / "test-00000-of-00001.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = b"\xff" * 196
    path.write_bytes(data)
    return folder


def _checkpoint_of_micro() -> bytes:
    digits = load(DatasetSpec(name="digits"))
    splits = Splits.of(digits, seed=0, train_fraction=0.1)
    supernet = Supernet(PairSpace(MICRO, channels=1, resolution=8, classes=10))
    return next(iter(train(supernet, digits, splits, TrainConfig(epochs=1, batch_size=64)))).checkpoint


@pytest.fixture(scope="module")
def ended(live: LiveService, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Both jobs, submitted together and over."""
    root = _damaged_parquet(tmp_path_factory.mktemp("parquet"))
    sha256 = live.store.files.put(_checkpoint_of_micro())
    jobs = {
        "parquet": {**JOB, "dataset": {"name": "parquet", "root": str(root)}, "supernet": {"epochs": 1}},
        "checkpoint": {**JOB, "dataset": {"name": "digits"}, "supernet": {"checkpoint": sha256}},
    }
    submitted = {name: live.client.submit(job)["id"] for name, job in jobs.items()}
    return {name: live.ended(job_id) for name, job_id in submitted.items()}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("parquet", ["test-00000-of-00001.parquet", "fetch it again"]),
        ("checkpoint", ["the checkpoint belongs to space 'micro'", "this job has 'tiny'", "train a new supernet"]),
    ],
)
def test_the_job_fails_at_its_start_and_says_why(live, ended, what, words):
    job = ended[what]
    assert job["state"] == "failed"
    assert [word for word in words if word not in job["message"]] == []
    assert "\n" not in job["message"]
    assert live.store.candidates.list(job["id"]) == []


def test_the_command_shows_the_reason(live, ended):
    shown = live.nas("show", ended["checkpoint"]["id"])
    assert shown.returncode == 0, shown.stderr
    assert "the checkpoint belongs to space 'micro'" in shown.stdout
