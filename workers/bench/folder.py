"""The folder of a bench: what lies where, written whole or not at all, and one trainer for a cell.

```
bench.json                    what is compared
cells/SYSTEM-sSEED/
  lock                        held by the process that trains the cell
  PHASE.ckpt                  the last epoch's checkpoint of a training phase
  log.jsonl                   one line for every finished epoch
  outputs.npz                 logits and labels of `validation` and `calibration`
  choices.json                everything chosen on them, frozen before the test split is opened
  openings.json               that the test split was opened, against which choices
  test.npz                    logits and labels of `test`
  shift.npz                   the same of corrupted test images, by corruption and severity
  record.json                 what the cell cost; written last: the cell is done
  failure.txt                 why it is not
```
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from nas_service.whole_file import write_whole
from workers.bench.config import BenchConfig
from workers.bench.system import SystemOutputs


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CellId:
    """One system with one seed."""

    system: str
    seed: int

    def __str__(self) -> str:
        return f"{self.system.replace(':', '.')}-s{self.seed}"


class CellFolder:
    """The files of one cell; nothing is made before it is written."""

    def __init__(self, root: Path, cell: CellId) -> None:
        self.cell = cell
        self.path = root / "cells" / str(cell)

    @property
    def done(self) -> bool:
        """Whether the cell is trained, judged and on disk."""
        return (self.path / "record.json").exists()

    def checkpoint(self, phase: str) -> Path:
        """Return the path of a phase's last checkpoint."""
        return self.path / f"{phase}.ckpt"

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all."""
        write_whole(self.path / name, data)

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON, whole or not at all."""
        self.write(name, (json.dumps(value, indent=1, allow_nan=False, sort_keys=True) + "\n").encode())

    def read_json(self, name: str) -> Any:
        """Return the JSON in a file; None if there is none."""
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else None

    def write_outputs(
        self, name: str, outputs: Mapping[str, SystemOutputs], *, precision: DTypeLike = np.float32
    ) -> None:
        """Write the outputs of some splits, or of shifted images, by name; logits in this floating type."""
        arrays: dict[str, Any] = {f"{split}_logits": o.logits.astype(precision) for split, o in outputs.items()}
        arrays |= {f"{split}_labels": o.labels for split, o in outputs.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        self.write(name, buffer.getvalue())

    def read_outputs(self, name: str) -> dict[str, SystemOutputs]:
        """Return the outputs in a file, by split; empty if there is none."""
        path = self.path / name
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as arrays:
            splits = [key.removesuffix("_labels") for key in arrays.files if key.endswith("_labels")]
            return {
                s: SystemOutputs(logits=arrays[f"{s}_logits"].astype(np.float32), labels=arrays[f"{s}_labels"])
                for s in splits
            }

    def log(self) -> list[dict[str, Any]]:
        """Return the log's lines; one that was cut off is left out."""
        path = self.path / "log.jsonl"
        return list(_whole_lines(path.read_text())) if path.exists() else []

    def append_log(self, line: Mapping[str, Any]) -> None:
        """Add a line to the log."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def trim_log(self, phase: str, epoch: int) -> None:
        """Drop the lines of a phase that lie after its checkpoint: those epochs are trained again."""
        lines = self.log()
        kept = [line for line in lines if line["phase"] != phase or line["epoch"] <= epoch]
        if lines:
            self.write("log.jsonl", "".join(json.dumps(line) + "\n" for line in kept).encode())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the cell; ConflictError if another process does."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConflictError(
                    f"another process trains {self.cell}; wait for it, or stop it, then run this again"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield


def read_config(root: Path) -> BenchConfig:
    """Return the configuration of a bench's folder; NotFoundError if it is none."""
    path = root / "bench.json"
    if not path.exists():
        raise NotFoundError(f"{root} holds no bench (no bench.json); give the folder of one, or start one there")
    try:
        return BenchConfig.from_dict(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequestError(f"{path} is damaged ({error}); restore it, or start anew elsewhere") from None


def write_config(root: Path, config: BenchConfig) -> None:
    """Write `bench.json`."""
    write_whole(root / "bench.json", (json.dumps(config.to_dict(), indent=1) + "\n").encode())


def _whole_lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
