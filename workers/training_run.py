"""A whole training run as a value: what a process needs to load its data, build the supernet and train it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nas_service.pair_space import PairSpace, SpaceDefinition
from workers.data.dataset import Dataset, DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evolving.settings import Evolution
from workers.parallel import ALONE, Team
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import EpochReport
from workers.training import train


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """Processes that train one supernet together.

    Attributes:
        workers: How many, at least 2.
        cpus: Of each.
        gpus: Of each: 1, or 0 for CPUs.
    """

    workers: int
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """What every worker of a group needs to train.

    Attributes:
        definition: The space of the supernet.
        dataset: Which data set; every worker loads it.
        seed: Of the splits.
        train_fraction: Share of the weights split to use.
        config: Hyperparameters.
        evolution: How dimensions evolve.
        constraints: Of the pairs that a search during training finds.
    """

    definition: SpaceDefinition
    dataset: DatasetSpec
    seed: int
    train_fraction: float
    config: TrainConfig
    evolution: Evolution | None
    constraints: Mapping[str, float] | None


def run_training(
    run: TrainingRun,
    *,
    loaded: tuple[Dataset, Splits] | None = None,
    resume: bytes | None = None,
    device: str = "cpu",
    team: Team = ALONE,
) -> Iterator[EpochReport]:
    """Train a supernet and yield a report after every epoch; errors as in `train`."""
    dataset, splits = loaded or load_split(run.dataset, seed=run.seed, train_fraction=run.train_fraction)
    space = PairSpace(
        run.definition,
        channels=dataset.channels,
        resolution=dataset.resolution,
        classes=len(dataset.classes),
        constraints=run.constraints if run.evolution else None,
    )
    supernet = Supernet(space, seed=run.config.seed)
    yield from train(
        supernet, dataset, splits, run.config, evolution=run.evolution, resume=resume, device=device, team=team
    )


def load_split(spec: DatasetSpec, *, seed: int, train_fraction: float) -> tuple[Dataset, Splits]:
    """Return a data set and its splits."""
    dataset = load(spec)
    return dataset, Splits.of(dataset, seed=seed, train_fraction=train_fraction)
