"""Ray actors over the trainer and the evaluator: the only file of this package that knows Ray."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import ray

from nas_service.pair_space import PairSpace, SpaceDefinition
from workers.data.dataset import Dataset, DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationData
from workers.evaluator import CandidateReport, EvaluatorCore, FinalistReport, Half
from workers.evolving.settings import Evolution
from workers.quantize.choice import Int8Config
from workers.routing.choice import RoutingOptions
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import EpochReport
from workers.training import train


@ray.remote
class TrainerActor:
    """Loads a data set once, trains a supernet on it, and hands out what evaluators need of the data.

    It is loaded by the first call, not by the constructor, so that what is wrong with it reaches the caller as raised.

    Args:
        definition: The space of the supernet.
        dataset: Which data set.
        seed: Of the splits.
        train_fraction: Share of the weights split to use.
        device: Where to train.
    """

    def __init__(
        self,
        definition: SpaceDefinition,
        *,
        dataset: DatasetSpec,
        seed: int = 0,
        train_fraction: float = 1.0,
        device: str = "cpu",
    ) -> None:
        self._definition, self._device = definition, device
        self._source, self._seed, self._train_fraction = dataset, seed, train_fraction
        self._loaded: tuple[Dataset, Splits] | None = None

    def _data(self) -> tuple[Dataset, Splits]:
        if self._loaded is None:
            dataset = load(self._source)
            self._loaded = dataset, Splits.of(dataset, seed=self._seed, train_fraction=self._train_fraction)
        return self._loaded

    def shape(self) -> dict[str, int]:
        """Return `channels`, `resolution` and `classes` of the data set: what `PairSpace` wants to know."""
        dataset, _ = self._data()
        return {"channels": dataset.channels, "resolution": dataset.resolution, "classes": len(dataset.classes)}

    def split_hashes(self) -> dict[str, str]:
        """Return SHA-256 by data split."""
        return self._data()[1].hashes

    def evaluation_data(self) -> EvaluationData:
        """Return what an `EvaluatorCore` needs of the data: put it into the object store once for all of them."""
        return EvaluationData.of(*self._data())

    @ray.method(num_returns="streaming")
    def train(
        self,
        config: TrainConfig,
        *,
        evolution: Evolution | None = None,
        constraints: Mapping[str, float] | None = None,
        resume: bytes | None = None,
    ) -> Iterator[EpochReport]:
        """Train a supernet and stream a report, with its checkpoint, after every epoch; errors as in `train`.

        `constraints` hold for the pairs that a search during training finds; a plain supernet is trained for them all.
        """
        space = PairSpace(self._definition, **self.shape(), constraints=constraints if evolution else None)
        supernet = Supernet(space, seed=config.seed)
        yield from train(supernet, *self._data(), config, evolution=evolution, resume=resume, device=self._device)


@ray.remote
class EvaluatorActor:
    """An `EvaluatorCore` in a process of its own; it also finishes candidates, and loads the data set only then.

    Args:
        definition: The job's space.
        checkpoint: The trained supernet.
        data: What to score on.
        threads: Threads of the process.
        device: Where to run.
    """

    def __init__(
        self,
        definition: SpaceDefinition,
        *,
        checkpoint: bytes,
        data: EvaluationData,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        self._core = EvaluatorCore(definition, checkpoint=checkpoint, data=data, threads=threads, device=device)
        self._loaded: tuple[DatasetSpec, Dataset] | None = None

    def evaluate(
        self, architecture: Mapping[str, Any], *, router: str, export: Collection[Half] = ()
    ) -> CandidateReport:
        """Return the report of one candidate; a failure is a report too."""
        return self._core.evaluate(architecture, router=router, export=export)

    def finalist(
        self,
        architecture: Mapping[str, Any],
        *,
        candidate: str,
        router: str,
        dataset: DatasetSpec,
        seed: int = 0,
        train_fraction: float = 1.0,
        tuning: TrainConfig | None = None,
        routing: RoutingOptions | None = None,
        int8: Int8Config | None = None,
        costs: Mapping[str, tuple[float, float]] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> FinalistReport:
        """Return the finished candidate and its bundle; a failure is a report too, but a missing data set raises."""
        if self._loaded is None or self._loaded[0] != dataset:
            self._loaded = dataset, load(dataset)
        splits = Splits.of(self._loaded[1], seed=seed, train_fraction=train_fraction)
        return self._core.finalist(
            architecture,
            candidate=candidate,
            router=router,
            dataset=self._loaded[1],
            splits=splits,
            tuning=tuning,
            routing=routing,
            int8=int8,
            costs=costs,
            provenance=provenance,
        )
