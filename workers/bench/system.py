"""What the bench compares: a system is trained in phases, then gives logits of every exit on one split at a time.

A static net has one exit, a pair two (the little, then the escalated answer), an early-exit net one for every head.
Static nets that are trained together are exits of one system, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from nas_service.errors import InvalidRequestError
from nas_service.pair_space import PairSpace
from nas_service.plan import PairPlan
from workers.data.dataset import Dataset
from workers.data.splits import Splits
from workers.learner import Learner
from workers.protocol.budget import TrainingBudget
from workers.train_config import TrainConfig

OUTPUT_SPLITS = ("validation", "calibration", "test")
Modules = Mapping[str, nn.Module]  # trained modules by the name of their phase


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SystemOutputs:
    """Of one finished system on one split.

    Attributes:
        logits: (exits, N, classes) float32, finite; exit 0 is the little, the last the escalated answer.
        labels: (N,) int64.
    """

    logits: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        if self.logits.ndim != 3 or not self.logits.size or self.labels.shape != self.logits.shape[1:2]:
            raise InvalidRequestError(
                f"logits {self.logits.shape} with labels {self.labels.shape}; give (exits, N, classes) and (N,)"
            )
        if bad := int((~np.isfinite(self.logits)).any(axis=(0, 2)).sum()):
            raise InvalidRequestError(f"logits of {bad} of {len(self.labels)} images are not finite; train again")

    def part(self, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> SystemOutputs:
        """Return the outputs of some images: a mask (N,) or indices."""
        return SystemOutputs(logits=self.logits[:, chosen], labels=self.labels[chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitCosts:
    """What answering costs.

    Attributes:
        macs: Cumulative MACs of an input that leaves at each exit, rising.
        params: Learnable parameters, shared ones counted once.
        big_macs: Of the static net that savings are counted against; None: the last exit's.
        weights_bytes: Of the float32 weights as deployed; None: of `params`.
        alternatives: Whether the exits are static nets, of which one answers every input: nothing routes between them.
    """

    macs: tuple[float, ...]
    params: int
    big_macs: float | None = None
    weights_bytes: int | None = None
    alternatives: bool = False

    def __post_init__(self) -> None:
        if not self.macs or self.macs[0] <= 0 or any(a >= b for a, b in pairwise(self.macs)):
            raise InvalidRequestError(f"exits cost {self.macs} MACs; give rising numbers above 0, one for each exit")

    @property
    def reference_macs(self) -> float:
        """MACs that savings are counted against."""
        return self.macs[-1] if self.big_macs is None else self.big_macs


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One resumable training run of a system.

    Attributes:
        name: Unique in its system; letters, digits and hyphens, since files are named for it.
        learner: Makes the learner from the trained modules of the phases before. Called again when the phase is resumed
            or when only its trained module is wanted, so it must be deterministic.
        config: Hyperparameters, epochs among them.
    """

    name: str
    learner: Callable[[Modules], Learner]
    config: TrainConfig


Finished = Callable[[str], SystemOutputs]


class System(Protocol):
    """One member of the comparison.

    Attributes:
        name: A key of `workers.bench.registry.SYSTEMS`.
        seed: Of all that is drawn.
    """

    name: str
    seed: int

    def phases(self) -> tuple[Phase, ...]:
        """Return the training phases, in order."""
        ...

    def costs(self) -> ExitCosts:
        """Return the MACs of every exit and the parameters."""
        ...

    def budget(self) -> TrainingBudget:
        """Return what all phases together cost to train."""
        ...

    def findings(self) -> dict[str, Any]:
        """Return what training found beside weights, such as an architecture, JSON-able, for the record."""
        ...

    def finish(self, modules: Modules, dataset: Dataset, splits: Splits) -> Finished:
        """Return a function from a split of OUTPUT_SPLITS to the outputs there.

        What is fitted, such as the weight of the little's logits, is fitted on `calibration` alone; `test` is read when
        it is asked for, never before.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """What a system is made from: `make(setting) -> System`.

    Attributes:
        name: The system's.
        seed: Of all that it draws.
        space: The preset's space, for the data set's shape.
        pair: The fixed pair of the preset; a system may choose another of the space.
        config: Hyperparameters of a run of the base number of epochs, with the seed.
        images: Training images of an epoch: whole batches.
        budgets: Average MACs that accuracies are compared at, ascending.
        data: The data set, without its test part, and its splits, for a system that searches before it trains.
    """

    name: str
    seed: int
    space: PairSpace
    pair: PairPlan
    config: TrainConfig
    images: int
    budgets: tuple[float, ...] = ()
    data: tuple[Dataset, Splits] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FromSetting:
    """What all systems have in common that are made from a setting."""

    setting: Setting

    @property
    def name(self) -> str:
        """The system's name."""
        return self.setting.name

    @property
    def seed(self) -> int:
        """Of all that is drawn."""
        return self.setting.seed

    def findings(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


MakeSystem = Callable[[Setting], System]
