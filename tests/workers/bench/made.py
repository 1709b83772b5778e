"""Outputs of systems that were never trained: logits whose accuracy and sureness are drawn."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from workers.bench.choices import SINCE_2, freeze_system
from workers.bench.folder import CellFolder, CellId
from workers.bench.system import ExitCosts, SystemOutputs

CLASSES = 4
BUDGETS = (1.5e6, 2.5e6)


def outputs(n: int, *, accuracies: tuple[float, ...], seed: int) -> SystemOutputs:
    """Return logits of one exit for each accuracy; a right answer is surer than a wrong one, most of the time."""
    labels = np.arange(n) % CLASSES
    rng = np.random.default_rng(seed)
    exits = []
    for accuracy in accuracies:
        right = rng.random(n) < accuracy
        answer = np.where(right, labels, (labels + 1) % CLASSES)
        logits = rng.normal(size=(n, CLASSES)) / 10
        logits[np.arange(n), answer] += np.where(right, rng.uniform(1, 4, n), rng.uniform(0.5, 2, n))
        exits.append(logits)
    return SystemOutputs(logits=np.stack(exits).astype(np.float32), labels=labels.astype(np.int64))


def finished_cell(
    root: Path, system: str, *, accuracies: tuple[float, ...], macs: tuple[float, ...], seed: int = 0, n: int = 240
) -> CellFolder:
    """Write the files of a finished cell."""
    folder, costs = CellFolder(root, CellId(system=system, seed=seed)), ExitCosts(macs=macs, params=1000)
    drawn = {
        s: outputs(n, accuracies=accuracies, seed=seed + 10 * i) for i, s in enumerate(("validation", "calibration"))
    }
    choices = freeze_system(str(folder.cell), drawn, costs=costs, budgets=BUDGETS)
    folder.write_outputs("outputs.npz", drawn)
    folder.write_json("choices.json", choices.to_dict())
    folder.write_json("openings.json", [{"system": choices.system, "choices_sha256": choices.sha256}])
    folder.write_outputs("test.npz", {"test": outputs(n, accuracies=accuracies, seed=seed + 20)})
    parts = {name: outputs(100, accuracies=accuracies, seed=seed + 30) for name in ("clean", "fog-1", "fog-3", "fog-5")}
    folder.write_outputs("shift.npz", parts)
    folder.write_json("record.json", record(system, seed, costs))
    return folder


def as_of_format_1(folder: CellFolder) -> None:
    """Rewrite a cell's choices as the version before wrote them, and that its test split was opened for those."""
    values = {name: v for name, v in folder.read_json("choices.json").items() if name not in SINCE_2} | {"version": 1}
    folder.write_json("choices.json", values)
    text = json.dumps(values, sort_keys=True, allow_nan=False)  # what the version before took the digest of
    digest = hashlib.sha256(text.encode()).hexdigest()
    folder.write_json("openings.json", [{"system": values["system"], "choices_sha256": digest}])


def record(system: str, seed: int, costs: ExitCosts) -> dict[str, Any]:
    """Return what a cell writes last."""
    return {
        "system": system,
        "seed": seed,
        "epochs": {"net": 3},
        "macs": list(costs.macs),
        "reference_macs": costs.reference_macs,
        "params": costs.params,
        "weights_bytes": 4 * costs.params,
        "tera_macs": 1.25,
        "search_tera_macs": 0.0,
        "cpu_hours": 0.5,
        "wall_hours": 0.6,
        "images": {"weights": 100, "test": 300},
        "made_with": {"cpu": "a CPU", "python": "3.11", "torch": "2"},
    }
