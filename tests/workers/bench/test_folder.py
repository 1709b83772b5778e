from __future__ import annotations

import numpy as np
import pytest

from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from tests.workers.bench.made import outputs
from workers.bench.config import BenchConfig
from workers.bench.folder import CellFolder, CellId, read_config, write_config
from workers.data.dataset import DatasetSpec

CONFIG = BenchConfig(preset="micro", dataset=DatasetSpec(name="digits"), systems=("ours",), seeds=(0,), epochs=3)


@pytest.fixture
def folder(tmp_path):
    return CellFolder(tmp_path, CellId(system="ours", seed=1))


def test_outputs_come_back_as_they_were_written(folder):
    written = {"test": outputs(20, accuracies=(0.5, 0.9), seed=0)}
    folder.write_outputs("test.npz", written)
    read = folder.read_outputs("test.npz")
    assert np.array_equal(read["test"].logits, written["test"].logits)
    assert np.array_equal(read["test"].labels, written["test"].labels)


def test_outputs_that_were_never_written_are_none(folder):
    assert folder.read_outputs("test.npz") == {}


def test_a_log_line_that_was_cut_off_is_left_out(folder):
    folder.append_log({"phase": "net", "epoch": 1})
    with (folder.path / "log.jsonl").open("a") as file:
        file.write('{"phase": "net", "ep')
    assert [line["epoch"] for line in folder.log()] == [1]


def test_epochs_after_the_checkpoint_are_dropped_from_the_log(folder):
    for phase, epoch in (("big", 1), ("big", 2), ("little", 1), ("little", 2)):
        folder.append_log({"phase": phase, "epoch": epoch})
    folder.trim_log("little", 1)
    assert [(line["phase"], line["epoch"]) for line in folder.log()] == [("big", 1), ("big", 2), ("little", 1)]


def test_a_cell_that_is_held_cannot_be_held_again(folder):
    with folder.lock(), pytest.raises(ConflictError, match="another process trains ours-s1; wait for it"):
        with CellFolder(folder.path.parents[1], folder.cell).lock():
            pass


def test_a_cell_that_was_let_go_can_be_held_again(folder):
    for _ in range(2):
        with folder.lock():
            assert (folder.path / "lock").read_text().strip().isdigit()


def test_the_configuration_comes_back(tmp_path):
    write_config(tmp_path, CONFIG)
    assert read_config(tmp_path) == CONFIG


def test_a_folder_without_a_bench_says_so(tmp_path):
    with pytest.raises(NotFoundError, match=r"holds no bench \(no bench.json\); give the folder of one"):
        read_config(tmp_path)


def test_a_damaged_configuration_says_so(tmp_path):
    (tmp_path / "bench.json").write_text("{")
    with pytest.raises(InvalidRequestError, match=r"is damaged .* start anew elsewhere"):
        read_config(tmp_path)


def test_systems_and_seeds_may_be_added_and_come_after_the_earlier_ones():
    later = BenchConfig.from_dict({**CONFIG.to_dict(), "systems": ["cascade", "ours"], "seeds": [0, 1]})
    grown = later.grown_from(CONFIG)
    assert (grown.systems, grown.seeds) == (("ours", "cascade"), (0, 1))


def test_another_number_of_epochs_is_another_bench():
    later = BenchConfig.from_dict({**CONFIG.to_dict(), "epochs": 4})
    with pytest.raises(ConflictError, match="this folder's bench has epochs 3, not 4; leave that option out"):
        later.grown_from(CONFIG)


def test_the_data_may_lie_elsewhere():
    later = BenchConfig.from_dict({**CONFIG.to_dict(), "dataset": {"name": "digits", "root": "/elsewhere"}})
    assert later.grown_from(CONFIG).dataset.root == "/elsewhere"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"systems": []}, "give at least one of each"),
        ({"epochs": 0}, "epochs 0 and train_fraction 1; give at least 1"),
        ({"validation_images": 0}, "validation_images is 0 but must be at least 1, or None"),
        ({"train": {"epochs": 3}}, "training key 'epochs' is the bench's own"),
        ({"version": 7}, "bench.json has format 7 but this code reads 1"),
        ({"epoch": 3}, "unknown bench key 'epoch'; choose from: preset, dataset"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(change, message):
    with pytest.raises(InvalidRequestError, match=message):
        BenchConfig.from_dict({**CONFIG.to_dict(), **change})
