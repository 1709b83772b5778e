from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from nas_service.errors import ConflictError
from tests.workers.bench.made import as_of_format_1
from workers.bench.cell import Cell
from workers.bench.config import BenchConfig
from workers.bench.finished import read_finished
from workers.bench.folder import CellFolder, CellId
from workers.bench.outputs import part_of
from workers.bench.system import ExitCosts, SystemOutputs
from workers.bench.workload import Workload
from workers.data.dataset import DatasetSpec
from workers.protocol.budget import TrainingBudget

pytestmark = pytest.mark.slow


@dataclass
class Telltale:
    """Needs no training; its logits tell which images it was given, and it remembers every test part it saw."""

    name: str = "telltale"
    seed: int = 0
    seen: list[tuple[str, float]] = field(default_factory=list)

    def phases(self):
        return ()

    def costs(self):
        return ExitCosts(macs=(1e6, 3e6), params=10)

    def budget(self):
        return TrainingBudget(phases=())

    def findings(self):
        return {"telltale": True}

    def finish(self, modules, dataset, splits):
        brightness = float(dataset.test_images.float().mean())

        def run(split: str) -> SystemOutputs:
            self.seen.append((split, brightness))
            *_, labels = part_of(dataset, splits, split)
            rng = np.random.default_rng(3)
            logits = rng.normal(size=(2, len(labels), 10)) + 2 * np.eye(10)[labels] * [[[0.8]], [[1.2]]]
            return SystemOutputs(logits=(logits * (1 + brightness)).astype(np.float32), labels=labels)

        return run


@pytest.fixture(scope="module")
def workload() -> Workload:
    spec = DatasetSpec(name="digits")
    return Workload.load(BenchConfig(preset="micro", dataset=spec, systems=("ours",), seeds=(0,), epochs=1))


def cell(root, workload, system) -> Cell:
    return Cell(folder=CellFolder(root, CellId(system="telltale", seed=0)), workload=workload, system=system)


def poisoned(workload: Workload) -> Workload:
    """The same data with inverted test images and wrong test labels."""
    dataset = workload.dataset
    wrong = (dataset.test_labels + 1) % 10
    return replace(workload, dataset=replace(dataset, test_images=255 - dataset.test_images, test_labels=wrong))


def test_no_threshold_temperature_or_choice_sees_a_test_image(tmp_path, workload):
    runs = {"clean": workload, "poisoned": poisoned(workload)}
    for name, load in runs.items():
        cell(tmp_path / name, load, Telltale()).run(lambda text: None)
    files = {name: CellFolder(tmp_path / name, CellId(system="telltale", seed=0)) for name in runs}
    clean, poison = (files[name].read_json("choices.json") for name in runs)
    tests = [files[name].read_outputs("test.npz")["test"] for name in runs]
    assert clean == poison
    assert clean["by_class"]["class_thresholds"]
    assert clean["on_easy"]["calibration_n"] * 2 == pytest.approx(clean["by_class"]["calibration_n"], abs=1)
    assert not np.array_equal(tests[0].logits, tests[1].logits)


def test_until_the_choices_are_frozen_the_test_part_is_blank_and_then_it_is_read_once(tmp_path, workload):
    system = Telltale()
    cell(tmp_path, workload, system).run(lambda text: None)
    before, test, _shifted = system.seen[:2], system.seen[2], system.seen[3:]
    assert before == [("validation", 0.0), ("calibration", 0.0)]
    assert test == ("test", pytest.approx(float(workload.dataset.test_images.float().mean())))


def test_a_cell_that_an_earlier_version_froze_and_opened_is_finished_with_those_choices(tmp_path, workload):
    work = cell(tmp_path, workload, Telltale())
    work.run(lambda text: None)
    as_of_format_1(work.folder)
    before = work.folder.read_json("choices.json")
    for name in ("test.npz", "shift.npz", "record.json"):
        (work.folder.path / name).unlink()
    cell(tmp_path, workload, Telltale()).run(lambda text: None)
    assert work.folder.read_json("choices.json") == before
    assert [c.choices.by_class for c in read_finished(tmp_path, [work.folder.cell])] == [None]


def test_a_test_split_that_was_opened_for_other_choices_stays_shut(tmp_path, workload):
    work = cell(tmp_path, workload, Telltale())
    work.folder.write_json("openings.json", [{"system": "telltale-s0", "choices_sha256": "0" * 64}])
    with pytest.raises(ConflictError, match="was opened before, for choices 000000000000"):
        work.run(lambda text: None)
