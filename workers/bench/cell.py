"""One cell: a system with a seed, trained, its choices frozen, its test split opened once, all on disk.

Any step may be cut off at any time; the next run goes on from the last epoch, or from the last file that is whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from workers.bench.choices import SystemChoices, freeze_system
from workers.bench.folder import CellFolder, CellId, read_config
from workers.bench.outputs import without_test
from workers.bench.registry import make_system
from workers.bench.shifting import can_shift, shift_parts, shifted_test
from workers.bench.surroundings import surroundings
from workers.bench.system import Phase, System, SystemOutputs
from workers.bench.workload import Workload
from workers.checkpoint import Checkpoint, load_state
from workers.protocol.sealed import Opening, SealedTest
from workers.trainer import EpochReport, Trainer

HELD_OUT = ("validation", "calibration")
Notice = Callable[[str], None]


def run_cell(root: Path, cell: CellId, *, notice: Notice = lambda text: None) -> None:
    """Bring the cell of a bench's folder to its end; nothing is done again.

    Raises:
        ConflictError: another process trains it.
        NasError: whatever the system, the data or the training says.
    """
    folder = CellFolder(root, cell)
    with folder.lock():
        if not folder.done:
            workload = Workload.load(read_config(root))
            Cell(folder=folder, workload=workload, system=make_system(workload.setting(cell))).run(notice)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """A system on its way through training, choices, test."""

    folder: CellFolder
    workload: Workload
    system: System

    def run(self, notice: Notice) -> None:
        """Do what is not done yet."""
        modules = self.train(notice)
        held_out = self.held_out(modules)
        choices = self.choices(held_out)
        self.open_test(choices, modules)
        self.shift(modules)
        self.folder.write_json("record.json", self.record())

    def train(self, notice: Notice) -> dict[str, nn.Module]:
        """Return the trained modules by phase."""
        modules: dict[str, nn.Module] = {}
        for phase in self.system.phases():
            modules[phase.name] = self._train_phase(phase, modules, notice)
        return modules

    def _train_phase(self, phase: Phase, modules: dict[str, nn.Module], notice: Notice) -> nn.Module:
        learner, path = phase.learner(dict(modules)), self.folder.checkpoint(phase.name)
        resume = path.read_bytes() if path.exists() else None
        trainer = Trainer(learner, without_test(self.workload.dataset), self.workload.splits, phase.config)
        epoch = 0 if resume is None else Checkpoint.from_bytes(resume).epoch
        self.folder.trim_log(phase.name, epoch)
        for report, cpu_seconds in _timed(trainer.epochs(resume=resume)):
            self.folder.append_log(_line(phase, report, cpu_seconds))
            self.folder.write(path.name, report.checkpoint)
            notice(f"{self.folder.cell} {phase.name} {report.epoch}/{report.epochs}")
        # From the file in every case, so that a resumed run goes on with what an uninterrupted one has.
        load_state(learner.module, Checkpoint.from_bytes(path.read_bytes()).model)
        return learner.module.eval()

    def held_out(self, modules: dict[str, nn.Module]) -> dict[str, SystemOutputs]:
        """Return the outputs that choices are made from; the system is given no test image."""
        if recorded := self.folder.read_outputs("outputs.npz"):
            return recorded
        finished = self.system.finish(modules, without_test(self.workload.dataset), self.workload.splits)
        outputs = {split: finished(split) for split in HELD_OUT}
        self.folder.write_outputs("outputs.npz", outputs)
        return outputs

    def choices(self, held_out: dict[str, SystemOutputs]) -> SystemChoices:
        """Return all choices, frozen on disk; once the test split was opened for them they are what they were.

        So a cell that an earlier version froze is finished with the choices of that version.
        """
        recorded = self.folder.read_json("choices.json")
        if recorded and self.folder.read_json("openings.json"):
            return SystemChoices.from_dict(recorded)
        choices = freeze_system(
            str(self.folder.cell), held_out, costs=self.system.costs(), budgets=self.workload.budgets
        )
        self.folder.write_json("choices.json", choices.to_dict())
        return choices

    def open_test(self, choices: SystemChoices, modules: dict[str, nn.Module]) -> None:
        """Open the test split, unless its outputs are on disk."""
        if self.folder.read_outputs("test.npz"):
            return
        recorded = [Opening.from_dict(o) for o in self.folder.read_json("openings.json") or []]

        def run(system: str) -> SystemOutputs:
            return self.system.finish(modules, self.workload.dataset, self.workload.splits)("test")

        sealed = SealedTest(
            run, openings=recorded, record=lambda o: self.folder.write_json("openings.json", [o.to_dict()])
        )
        self.folder.write_outputs("test.npz", {"test": sealed.open(choices)})

    def shift(self, modules: dict[str, nn.Module]) -> None:
        """Run the system on corrupted test images; what it does there changes nothing any more."""
        if self.folder.read_outputs("shift.npz") or not can_shift(self.workload.dataset):
            return
        if self.system.costs().alternatives:  # nothing is compared with them there, and they are many
            return
        dataset, splits, names = shifted_test(self.workload.dataset, self.workload.splits)
        outputs = self.system.finish(modules, dataset, splits)("test")
        self.folder.write_outputs("shift.npz", shift_parts(outputs, names), precision=np.float16)

    def record(self) -> dict[str, Any]:
        """Return what the cell cost and what it was made with."""
        log, budget, costs = self.folder.log(), self.system.budget(), self.system.costs()
        return {
            "system": self.system.name,
            "seed": self.system.seed,
            "epochs": {phase.name: phase.config.epochs for phase in self.system.phases()},
            "config": {phase.name: phase.config.to_dict() for phase in self.system.phases()},
            "macs": list(costs.macs),
            "reference_macs": costs.reference_macs,
            "params": costs.params,
            "weights_bytes": costs.params * 4 if costs.weights_bytes is None else costs.weights_bytes,
            "budget": budget.to_dict(),
            "tera_macs": budget.tera_macs,
            "search_tera_macs": budget.search_tera_macs,
            "cpu_hours": sum(line["cpu_seconds"] for line in log) / 3600,
            "wall_hours": sum(line["seconds"] for line in log) / 3600,
            "rollbacks": sum({line["phase"]: line["rollbacks"] for line in log}.values()),
            "findings": self.system.findings(),
            "splits": self.workload.splits.hashes,
            "images": {name: len(getattr(self.workload.splits, name)) for name in self.workload.splits.hashes},
            "made_with": surroundings(),
        }


def _timed(reports: Iterator[EpochReport]) -> Iterator[tuple[EpochReport, float]]:
    """Yield each report with the CPU seconds of its epoch, checkpoint and watching included."""
    before = time.process_time()
    for report in reports:
        now = time.process_time()
        yield report, now - before
        before = now


def _line(phase: Phase, report: EpochReport, cpu_seconds: float) -> dict[str, Any]:
    return {
        "phase": phase.name,
        "epoch": report.epoch,
        "epochs": report.epochs,
        "losses": report.losses,
        "accuracies": report.accuracies,
        "learning_rate": report.learning_rate,
        "rollbacks": report.rollbacks,
        "seconds": round(report.seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "unix_s": round(time.time(), 1),
    }
