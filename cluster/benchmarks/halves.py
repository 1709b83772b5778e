"""Halves that were really measured, as a committed table: what they compute, and what they took.

`python -m cluster.benchmarks.halves` measures them again, with the agent's own measuring code, a fresh child for each.
What is there already is measured once more; of several rounds the least median counts, since a machine that others
work on can only make an inference slower.
"""

from __future__ import annotations

import csv
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from cluster.benchmarks.table import pair_halves
from edge_agent.measuring import measure_file
from edge_agent.records import Half, RuntimeSettings
from edge_agent.tiers import TierPlan
from nas_service.half import HalfStructure, halves_of
from nas_service.layers import LayerRecord
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from nas_service.presets import PRESETS
from workers.network import Pair
from workers.untrained import untrained_graphs

FILE = Path(__file__).with_name("halves.csv")
FIELDS = ("origin", "half", "carried", "carried_values", "rounds", "median_ms", "min_ms", "memory_kib", "layers")
DRAWN = {"tiny": 40, "small": 40}
SEED = 0
WINDOW = TierPlan(
    min_n=128,
    min_window_s=0.3,
    max_window_s=4.0,
    ci_fraction=None,
    warmup_n=10,
    min_warmup_s=0.05,
    max_warmup_s=2.0,
    steady_fraction=None,
    idle_baseline_s=0.0,
    max_drift_fraction=None,
)
_LAYER = re.compile(r"(\w+):(\d+)>(\d+)k(\d+)s(\d+)@(\d+)/(\d+)(\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredHalf:
    """One half and the least that it took in `rounds` measurements; medians and minima of single inferences.

    Attributes:
        origin: Where it comes from: a preset and a number, or the table of trained networks and a number.
    """

    origin: str
    structure: HalfStructure
    rounds: int
    median_ms: float
    min_ms: float
    memory_kib: float

    def merged(self, other: MeasuredHalf) -> MeasuredHalf:
        """Return what both rounds say together."""
        return replace(
            self,
            rounds=self.rounds + other.rounds,
            median_ms=min(self.median_ms, other.median_ms),
            min_ms=min(self.min_ms, other.min_ms),
            memory_kib=min(self.memory_kib, other.memory_kib),
        )


def measured_halves(path: Path = FILE) -> list[MeasuredHalf]:
    """Return the rows of the table."""
    with path.open(newline="") as file:
        return [_read(row) for row in csv.DictReader(file)]


def write_halves(rows: list[MeasuredHalf], path: Path = FILE) -> None:
    """Write the table anew."""
    with path.with_suffix(".part").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for row in rows:
            s = row.structure
            figures = (row.rounds, f"{row.median_ms:.6f}", f"{row.min_ms:.6f}", f"{row.memory_kib:.0f}")
            writer.writerow((row.origin, s.half, s.carried, s.carried_values, *figures, _text(s.layers)))
    os.replace(path.with_suffix(".part"), path)


def _read(row: dict[str, str]) -> MeasuredHalf:
    half: Half = row["half"]  # type: ignore[assignment]
    structure = HalfStructure(
        half=half,
        layers=_layers(row["layers"]),
        carried=int(row["carried"]),
        carried_values=int(row["carried_values"]),
    )
    return MeasuredHalf(
        origin=row["origin"],
        structure=structure,
        rounds=int(row["rounds"]),
        median_ms=float(row["median_ms"]),
        min_ms=float(row["min_ms"]),
        memory_kib=float(row["memory_kib"]),
    )


def _text(layers: tuple[LayerRecord, ...]) -> str:
    return " ".join(
        f"{r.operation}:{r.in_channels}>{r.out_channels}k{r.kernel}s{r.stride}@{r.size}/{r.groups}{r.activation or ''}"
        for r in layers
    )


def _layers(text: str) -> tuple[LayerRecord, ...]:
    records = []
    for word in text.split():
        operation, *numbers, activation = cast(tuple[Any, ...], _LAYER.fullmatch(word).groups())  # type: ignore[union-attr]
        reads, writes, kernel, stride, size, groups = map(int, numbers)
        records.append(
            LayerRecord(
                operation=operation,
                in_channels=reads,
                out_channels=writes,
                kernel=kernel,
                stride=stride,
                size=size,
                groups=groups,
                activation=activation or None,
            )
        )
    return tuple(records)


def _pairs() -> Iterator[tuple[str, PairPlan, tuple[Half, ...]]]:
    """Yield where a half comes from, a pair that has it, and which halves of it are wanted."""
    littles, bigs = pair_halves()
    for number, little in enumerate(littles):
        yield f"digits/{number}", PairPlan(coupling="independent", little=little, big=bigs[0]), ("little",)
    for number, big in enumerate(bigs):
        yield f"digits/{number}", PairPlan(coupling="independent", little=littles[0], big=big), ("big",)
    for name, count in DRAWN.items():
        space, rng = PairSpace(PRESETS[name], channels=3, resolution=32, classes=10), np.random.default_rng(SEED)
        for number in range(count):
            yield f"{name}/{number}", space.plan(space.sample(rng)), ("little", "big")


def main(rounds: int, *, only: str = "") -> None:
    """Measure every half so many times more, and keep the table up to date all along."""
    known = {(row.origin, row.structure.half): row for row in (measured_halves() if FILE.is_file() else [])}
    order = [(o, p, h) for o, p, halves in _pairs() for h in halves if o.startswith(only)]
    np.random.default_rng().shuffle(order)
    order.sort(key=lambda one: known[one[0], one[2]].rounds if (one[0], one[2]) in known else 0)
    for _ in range(rounds):
        for origin, plan, half in track(order, description="halves", console=Console(stderr=True)):
            found = _measured(origin, plan, half)
            if found is None:
                continue
            known[origin, half] = known[origin, half].merged(found) if (origin, half) in known else found
            write_halves([known[key] for key in sorted(known, key=_natural)])


def _natural(key: tuple[str, str]) -> tuple[str, int, str]:
    name, _, number = key[0].partition("/")
    return name, int(number), key[1]


def _measured(origin: str, plan: PairPlan, half: Half) -> MeasuredHalf | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(_graph(plan, half))
        found = measure_file(path, tier="probe", settings=RuntimeSettings(), work=Path(folder), plan=WINDOW)
    if found.latency is None or found.memory is None:
        Console(stderr=True).print(f"{origin} {half}: {found.verdict.cause}", markup=False)
        return None
    return MeasuredHalf(
        origin=origin,
        structure=halves_of(plan)[half],
        rounds=1,
        median_ms=found.latency.median_ms,
        min_ms=found.latency.min_ms,
        memory_kib=float(found.memory.memory_kib),
    )


def _graph(plan: PairPlan, half: Half) -> bytes:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return untrained_graphs(Pair(plan), router="margin", halves=[half])[half]


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1, only=sys.argv[2] if sys.argv[2:] else "")
