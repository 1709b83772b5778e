"""`python -m cluster.benchmarks.tables`: train the networks of both tables, one by one, and write the files anew.

About five minutes for each table on one quiet core. The committed files were made by this, with torch 2.14 on CPU.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import track

from cluster.benchmarks.tables.nets import (
    EDGES,
    OPERATIONS,
    STAGE_GENES,
    CellNetwork,
    Digits,
    cell_macs,
    staged,
    working,
)
from workers.network import Network

SEED = 0


def main(names: list[str]) -> None:
    """Make the tables named, or both."""
    torch.set_num_threads(1)
    for name in names or ["cells", "stages"]:
        frame = {"cells": _cells, "stages": _stages}[name](Digits())
        path = Path(__file__).with_name(f"{name}.parquet")
        frame.to_parquet(path.with_suffix(".part"), compression="zstd", index=False)
        os.replace(path.with_suffix(".part"), path)


def _cells(digits: Digits) -> pd.DataFrame:
    """Every cell that differs from the others in what it computes."""
    names = [f"e{i}" for i in range(len(EDGES))]
    cells = sorted(
        {
            tuple(working(dict(zip(names, ops, strict=True))).values())
            for ops in itertools.product(OPERATIONS, repeat=len(names))
        }
    )
    rows = []
    for cell in track(cells, description="cells"):
        operations = dict(zip(names, cell, strict=True))
        torch.manual_seed(SEED)
        right, _ = digits.outputs(CellNetwork(operations), seed=SEED)
        rows.append(operations | {"error": _percent(~right), "macs": cell_macs(operations)})
    return pd.DataFrame(rows)


def _stages(digits: Digits) -> pd.DataFrame:
    """Every network of two stages, with its outputs: one bit per image if right, and its margin in 255 steps."""
    rows = []
    points = [dict(zip(STAGE_GENES, values, strict=True)) for values in itertools.product(*STAGE_GENES.values())]
    for genes in track(points, description="stages"):
        plan = staged(genes)
        torch.manual_seed(SEED)
        right, margin = digits.outputs(Network(plan), seed=SEED)
        totals = plan.totals()
        row: dict[str, Any] = genes | {"error": _percent(~right), "macs": totals.macs, "params": totals.params}
        row["right"] = np.packbits(right).tobytes()
        small = max(genes["width0"], genes["width1"]) <= 16 and genes["depth0"] == 1
        row["margin"] = np.round(margin * 255).astype(np.uint8).tobytes() if small else b""
        rows.append(row)
    return pd.DataFrame(rows)


def _percent(wrong: np.ndarray[Any, Any]) -> float:
    return round(100 * float(wrong.mean()), 4)


if __name__ == "__main__":
    main(sys.argv[1:])
