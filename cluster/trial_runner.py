"""What a worker of a tuning runs: one epoch after another of one trial after another, over data that is loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cluster.training_phase import evolution_of, train_config
from nas_service.errors import NasError
from nas_service.job import JobSpec
from nas_service.job_tune import with_parameters
from nas_service.pair_space import SpaceDefinition
from nas_service.tuning import TrialReport
from workers.data.dataset import Dataset, DatasetSpec
from workers.data.splits import Splits
from workers.trainer import EpochReport
from workers.training_run import TrainingRun, load_split
from workers.tuning import train_trial


class SupernetTrials:
    """Trains supernets with given hyperparameters; whatever goes wrong with one is a report of its failure.

    Args:
        spec: The job.
        definition: Its space.
        dataset: Its data set; what the job says of augmentation is applied with each trial's own.
        device: Where to train, as torch writes it.
    """

    def __init__(self, *, spec: JobSpec, definition: SpaceDefinition, dataset: DatasetSpec, device: str) -> None:
        self._spec, self._definition, self._device = spec, definition, device
        self._dataset = replace(dataset, augmentation=None)
        self._loaded: tuple[Dataset, Splits] | None = None
        self._reports: Iterator[EpochReport] = iter(())

    def begin(self, parameters: dict[str, Any], checkpoint: bytes | None) -> None:
        """Forget the last trial and take this one; nothing is trained yet."""
        self._reports = self._train(parameters, checkpoint)

    def epoch(self) -> TrialReport:
        """Train one epoch; a failure is returned, never raised."""
        try:
            report = next(self._reports)
        except NasError as error:
            return TrialReport(error=str(error))
        except Exception as error:
            return TrialReport(error=f"{type(error).__name__}: {error}")
        return TrialReport(
            epoch=report.epoch,
            losses=report.losses,
            accuracies=report.accuracies,
            learning_rate=report.learning_rate,
            seconds=report.seconds,
            checkpoint=report.checkpoint,
        )

    def _train(self, parameters: dict[str, Any], checkpoint: bytes | None) -> Iterator[EpochReport]:
        spec = self._spec.model_copy(update={"supernet": with_parameters(self._spec.supernet, parameters)})
        if self._loaded is None:
            fraction = spec.supernet.train_fraction
            self._loaded = load_split(self._dataset, seed=spec.seed, train_fraction=fraction)
        run = TrainingRun(
            definition=self._definition,
            dataset=self._dataset,
            seed=spec.seed,
            train_fraction=spec.supernet.train_fraction,
            config=replace(train_config(spec), autocast=self._device != "cpu"),
            evolution=evolution_of(spec),
            constraints=None,
        )
        change = spec.supernet.augmentation
        yield from train_trial(
            run,
            loaded=self._loaded,
            augmentation=None if change is None else change.model_dump(exclude_none=True),
            resume=checkpoint,
            device=self._device,
        )
