from __future__ import annotations

from pathlib import Path
from typing import Any

from cluster.training_phase import dataset_spec
from nas_service.job import JobSpec, parse_job
from workers.data.dataset import DatasetSpec


def spec(dataset: dict[str, Any], **supernet: Any) -> JobSpec:
    return parse_job(
        {
            "kind": "train",
            "name": "data",
            "dataset": dataset,
            "space": {"preset": "micro"},
            "supernet": {"epochs": 1, **supernet},
        }
    )


def test_workers_load_what_the_job_names_as_it_says(tmp_path: Path):
    job = spec({"name": "folder", "root": "/data/parts", "resolution": 64}, augmentation={"pad": 0, "cutmix": 1.0})
    assert dataset_spec(job, cache=tmp_path) == DatasetSpec(
        name="folder",
        root="/data/parts",
        cache=str(tmp_path),
        resolution=64,
        augmentation={"pad": 0, "cutmix": 1.0},
    )


def test_without_augmentation_the_data_sets_own_stays(tmp_path: Path):
    assert dataset_spec(spec({"name": "digits"}), cache=tmp_path) == DatasetSpec(name="digits", cache=str(tmp_path))
