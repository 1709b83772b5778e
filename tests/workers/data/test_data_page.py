"""What docs/data.md says to write is what is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from nas_service.job import parse_job
from nas_service.job_fit import DATASETS_THAT_RUN
from workers.data.dataset import DatasetSpec
from workers.data.loading import LOADERS, load

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_data_set_that_a_job_may_name_has_a_loader_and_a_row():
    assert set(DATASETS_THAT_RUN) == set(LOADERS)
    assert all(f"`{name}`" in PAGE for name in LOADERS)


def test_the_job_is_one():
    (text,) = [block for block in blocks("yaml") if block.startswith("kind:")]
    job = parse_job(text)
    assert (job.dataset.name, job.dataset.resolution) == ("folder", 96)
    assert job.supernet.augmentation is not None


def test_the_parquet_files_that_the_example_writes_are_read(tmp_path, monkeypatch: pytest.MonkeyPatch):
    for name in "abcd":
        Image.new("RGB", (20, 30), ord(name)).save(tmp_path / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(code, {})
    dataset = load(DatasetSpec(name="parquet", root=str(tmp_path), resolution=96))
    assert dataset.train_labels.tolist() == dataset.test_labels.tolist() == [0, 1]
    assert dataset.resolution == 96
