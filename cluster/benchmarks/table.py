"""Tables of real trained networks as searches see them: a space, and what evaluating any of its points gives."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cluster.benchmarks.tables.nets import EDGES, OPERATIONS, STAGE_GENES, TRAINING_IMAGES, staged, working
from nas_service.choice_space import ChoiceSpace
from nas_service.curve import Curve
from nas_service.front import Floats, hypervolume, non_dominated, thin_curve
from nas_service.plan import NetworkPlan

FOLDER = Path(__file__).with_name("tables")
IMAGES = 1797 - TRAINING_IMAGES
CURVE_POINTS = 12


@dataclass(frozen=True, kw_only=True)
class SearchTable:
    """A space whose every point has been evaluated.

    Attributes:
        name: Its name.
        space: Its space; every raw point is in it.
        objectives: Names of the figures, all minimised.
        outcomes: For each point, in the order of `space.enumerate()`, its curve (k, d).
    """

    name: str
    space: ChoiceSpace
    objectives: tuple[str, ...]
    outcomes: list[Floats]

    def curve(self, indexes: list[int]) -> Floats:
        """Return the curve (k, d) of the point at these indexes."""
        shape = [len(values) for values in self.space.choices.values()]
        return self.outcomes[int(np.ravel_multi_index(indexes, shape))]

    @cached_property
    def worst(self) -> Floats:
        """The worst figure (d,) of any point: the reference of the hypervolume."""
        return np.asarray(np.vstack(self.outcomes).max(axis=0), dtype=np.float64)

    @cached_property
    def whole(self) -> float:
        """The hypervolume of all points."""
        return hypervolume(np.unique(np.vstack(self.outcomes), axis=0), self.worst)

    def regret(self, curves: list[Floats]) -> float:
        """Return the share (0 to 1) of the whole hypervolume that these curves lack."""
        return 1.0 - hypervolume(np.vstack(curves), self.worst) / self.whole


def cells() -> SearchTable:
    """Cells of five edges with one of four operations each: error against MACs, 1,024 points."""
    frame = pd.read_parquet(FOLDER / "cells.parquet")
    edges = [f"e{i}" for i in range(len(EDGES))]
    known = {tuple(row[:-2]): row[-2:] for row in frame[[*edges, "error", "macs"]].itertuples(index=False, name=None)}
    space = ChoiceSpace({edge: OPERATIONS for edge in edges})
    outcomes = [np.array([known[tuple(working(_words(x)).values())]], dtype=np.float64) for x in space.enumerate()]
    return SearchTable(name="cells", space=space, objectives=("error", "macs"), outcomes=outcomes)


def stages() -> SearchTable:
    """Networks of two stages of chosen width, depth, kernel and kind: error against parameters, 576 points."""
    figures = _staged()[["error", "params"]].to_numpy(np.float64)
    space = ChoiceSpace(STAGE_GENES)
    return SearchTable(
        name="stages", space=space, objectives=("error", "params"), outcomes=[row[None] for row in figures]
    )


def pairs() -> SearchTable:
    """Cascades of a small and any other network of two stages: curves of error against mean MACs."""
    littles, bigs = _pair_frames()
    genes = {f"little_{name}": tuple(littles[name].unique()) for name in STAGE_GENES} | {
        f"big_{name}": tuple(bigs[name].unique()) for name in STAGE_GENES
    }
    space = ChoiceSpace({name: _plain(values) for name, values in genes.items() if len(values) > 1})
    outcomes = [_pair_curve(little, big) for little, big in itertools.product(*_pair_rows())]
    return SearchTable(name="pairs", space=space, objectives=("error", "macs"), outcomes=outcomes)


TABLES = {"cells": cells, "stages": stages, "pairs": pairs}


def pair_halves() -> tuple[list[NetworkPlan], list[NetworkPlan]]:
    """The littles and the bigs of `pairs`; the pair of the i-th and the j-th is its point i * len(bigs) + j."""
    littles, bigs = ([staged(row) for row in half] for half in _pair_rows())
    return littles, bigs


def pair_curve(little: int, big: int) -> Curve:
    """The whole curve of the cascade of two of `pair_halves`."""
    halves = _pair_rows()
    return _cascade(halves[0][little], halves[1][big])


@cache
def _pair_rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    littles, bigs = (
        [{str(name): value for name, value in row.items()} for row in half.to_dict("records")]
        for half in _pair_frames()
    )
    return littles, bigs


def _pair_frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = _staged()
    littles = frame[(frame["margin"].str.len() > 0) & (frame["kernel1"] == 3)]
    bigs = frame[(frame["depth0"] == 1) & (frame["kernel0"] == 3) & (frame["kernel1"] == 3)]
    return littles, bigs


def _staged() -> pd.DataFrame:
    return pd.read_parquet(FOLDER / "stages.parquet")


def _words(x: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in x.items()}


def _plain(values: tuple[Any, ...]) -> list[Any]:
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _pair_curve(little: Mapping[str, Any], big: Mapping[str, Any]) -> Floats:
    curve = _cascade(little, big)
    cost = curve.expected_cost(float(little["macs"]), float(big["macs"]))
    points = np.stack([100 * (1 - curve.accuracy), cost], axis=1)
    points = points[non_dominated(points)]
    return np.asarray(points[thin_curve(points, CURVE_POINTS)], dtype=np.float64)


def _cascade(little: Mapping[str, Any], big: Mapping[str, Any]) -> Curve:
    right, other = (_bits(half["right"]) for half in (little, big))
    return Curve.from_outputs(np.frombuffer(little["margin"], dtype=np.uint8).astype(np.float64), right, other)


def _bits(packed: bytes) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=IMAGES).astype(bool)
