"""What `nas bench` compares by default, by preset: space, pair, data, epochs, budgets, systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas_service.errors import InvalidRequestError
from nas_service.layers import Activation

MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPreset:
    """One comparison.

    Attributes:
        space: A key of `nas_service.presets.PRESETS`.
        pair: Genes of the fixed pair; all that are missing are the space's smallest.
        dataset: Data set that is meant if none is named.
        epochs: Of a run at the base budget.
        systems: Compared if none are named.
        budgets: Average MACs, ascending; with `relative`, shares of the fixed pair's big.
        activation: That follows convolutions.
        relative: Whether the budgets are shares.
        validation_images: As in `BenchConfig`.
        train: Hyperparameters that differ from `TrainConfig`'s defaults.
        constraints: Upper bounds that a searched pair meets.
    """

    space: str
    pair: Mapping[str, Any]
    dataset: str
    epochs: int
    systems: tuple[str, ...]
    budgets: tuple[float, ...]
    activation: Activation = "relu"
    relative: bool = False
    validation_images: int | None = None
    train: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, float] = field(default_factory=dict)


SHARES = (0.2, 0.3, 0.4, 0.5, 0.7)
SYSTEMS = ("ours", "cascade-kd", "cascade", "static-little", "static-mid2", "static-mid3", "static-big", "branchy")

PRESETS: dict[str, BenchPreset] = {
    "micro": BenchPreset(
        space="micro",
        pair={
            "coupling": "stem",
            "stem_width": 8,
            "little0_width": 8,
            "little1_width": 16,
            "big0_width": 24,
            "big0_depth": 2,
            "big1_width": 48,
            "big1_depth": 2,
        },
        dataset="digits",
        epochs=30,
        systems=SYSTEMS,
        budgets=SHARES,
        relative=True,
        train={"batch_size": 64},
    ),
    "tiny": BenchPreset(
        space="tiny",
        activation="hardswish",
        pair={
            "coupling": "stem",
            "stem_width": 16,
            "little0_width": 32,
            "little0_depth": 2,
            "little1_width": 64,
            "little1_depth": 3,
            "big0_width": 64,
            "big0_depth": 4,
            "big0_kind": "fused",
            "big1_width": 112,
            "big1_depth": 3,
        },
        dataset="parquet",
        epochs=60,
        systems=SYSTEMS,
        budgets=(1.0 * MILLION, 1.3 * MILLION, 1.6 * MILLION, 1.9 * MILLION, 2.3 * MILLION),
        validation_images=1000,
        train={"learning_rate": 0.3, "weight_decay": 1e-4},
        constraints={"params": 100_000},
    ),
    "small": BenchPreset(
        space="small",
        activation="hardswish",
        pair={
            "coupling": "stem",
            "stem_width": 16,
            "little0_width": 32,
            "little0_depth": 2,
            "little1_width": 64,
            "little1_depth": 2,
            "little2_width": 128,
            "little2_depth": 2,
            "big0_width": 80,
            "big0_depth": 3,
            "big0_kind": "fused",
            "big1_width": 160,
            "big1_depth": 3,
            "big2_width": 256,
            "big2_depth": 2,
        },
        dataset="parquet",
        epochs=30,
        systems=("ours", "cascade-kd", "static-big"),
        budgets=SHARES,
        relative=True,
        validation_images=1000,
        train={"learning_rate": 0.3, "weight_decay": 1e-4},
    ),
}


def bench_preset(name: str) -> BenchPreset:
    """Return the preset; InvalidRequestError for another name."""
    if name not in PRESETS:
        raise InvalidRequestError(f"no bench is called {name!r}; choose one of: {', '.join(PRESETS)}")
    return PRESETS[name]
