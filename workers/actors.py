"""Ray actors over the trainer and the evaluator: the only file of this package that knows Ray."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas_service.errors import InvalidRequestError, RetryableError
from nas_service.pair_space import SpaceDefinition
from workers.data.dataset import Dataset, DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationData
from workers.evaluator import CandidateReport, EvaluatorCore, FinalistReport, Finishing, Half
from workers.evolving.settings import Evolution
from workers.parallel import ProcessGroup
from workers.train_config import TrainConfig
from workers.trainer import EpochReport
from workers.training_run import TrainingRun, WorkerGroup, load_split, run_training

REPORTS_EVERY_S = 0.1
MAX_FAILURES = 3
STOP_S = 60.0


@ray.remote(num_cpus=0)
class ReportBox:
    """Takes the reports of a group's first worker for whoever streams them, and keeps the last checkpoint.

    No disk is shared: a group that starts again, on whatever machines, asks here where to go on.

    Args:
        checkpoint: Where the first group goes on, None for a new run.
    """

    def __init__(self, checkpoint: bytes | None) -> None:
        self._checkpoint = checkpoint
        self._reports: list[EpochReport] = []
        self._error: Exception | None = None
        self._wanted = True

    def start(self) -> tuple[bytes | None, bool]:
        """Return the last checkpoint, and whether training is wanted."""
        return self._checkpoint, self._wanted

    def put(self, report: EpochReport) -> bool:
        """Take the report of an epoch and return whether another is wanted."""
        self._checkpoint = report.checkpoint
        self._reports.append(report)
        return self._wanted

    def fail(self, error: Exception) -> None:
        """Take the error that ends training; the first one counts."""
        self._error = self._error or error
        self._wanted = False

    def stop(self) -> None:
        """Want no further epoch."""
        self._wanted = False

    def take(self) -> tuple[list[EpochReport], Exception | None]:
        """Return the reports since the last call, and the error if there was one."""
        reports, self._reports = self._reports, []
        return reports, self._error


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Return what keeps an actor on this process's node, so that the end of another one does not take it along."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def train_worker(settings: dict[str, Any]) -> None:
    """Train as one worker of a Ray Train group and put reports into the box, if this is the first worker.

    Errors that no second try would mend end the run; any others leave it to Ray Train to start the group again.
    """
    from ray.train.torch import get_device

    run, box = cast(TrainingRun, settings["run"]), settings["box"]
    checkpoint, wanted = ray.get(box.start.remote())
    if not wanted:
        return
    device = str(get_device())
    team = ProcessGroup(device=device)
    try:
        for report in run_training(run, resume=checkpoint, device=device, team=team):
            more = str(ray.get(box.put.remote(report))) if team.rank == 0 else ""
            if team.from_first(more) == str(False):
                return
    except InvalidRequestError as error:
        ray.get(box.fail.remote(error))
        raise


class GroupTraining:
    """A run of several workers under Ray Train; a group that loses one starts again from the last finished epoch.

    Args:
        run: What to train.
        group: How many workers.
        resume: The checkpoint to go on from.
    """

    def __init__(self, run: TrainingRun, group: WorkerGroup, *, resume: bytes | None = None) -> None:
        self._run, self._group = run, group
        self._box = cast(Any, ReportBox).options(scheduling_strategy=on_this_node()).remote(resume)
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._fit, daemon=True)
        self._thread.start()

    def reports(self) -> Iterator[EpochReport]:
        """Yield a report after every epoch.

        Raises:
            InvalidRequestError: as in `train`.
            RetryableError: workers were lost more than `MAX_FAILURES` times.
        """
        running = True
        while running:
            running = self._thread.is_alive()
            reports, error = ray.get(self._box.take.remote())
            for report in reports:  # noqa: UP028 - Ray sends into generators of threaded actors, and lists take nothing
                yield report
            if error is not None:
                self._thread.join(STOP_S)
                raise error
            self._thread.join(REPORTS_EVERY_S)
        if self._failure is not None:
            raise RetryableError(
                f"training was interrupted {MAX_FAILURES + 1} times ({self._failure}); see what Ray's logs of the "
                "workers say, then resume"
            )

    def stop(self) -> bool:
        """Let the workers end after their present epoch and return whether they did so in time."""
        ray.get(self._box.stop.remote())
        self._thread.join(STOP_S)
        return not self._thread.is_alive()

    def _fit(self) -> None:
        """Run Ray Train to its end; what it writes itself is of no use and removed."""
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # a data set's path may be relative to where the service runs
        group = self._group
        scaling = ScalingConfig(
            num_workers=group.workers,
            use_gpu=group.gpus > 0,
            resources_per_worker={"CPU": group.cpus} | ({"GPU": group.gpus} if group.gpus else {}),
        )
        settings = {"run": self._run, "box": self._box}
        failures = FailureConfig(max_failures=MAX_FAILURES)
        with tempfile.TemporaryDirectory(prefix="nas-train-") as folder:
            config = RunConfig(storage_path=folder, failure_config=failures)
            trainer = TorchTrainer(train_worker, train_loop_config=settings, scaling_config=scaling, run_config=config)
            try:
                trainer.fit()
            except Exception as error:  # whatever Ray Train raises: `reports` tells it
                self._failure = error


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
        group: The workers that train; None trains in this actor.
    """

    def __init__(
        self,
        definition: SpaceDefinition,
        *,
        dataset: DatasetSpec,
        seed: int = 0,
        train_fraction: float = 1.0,
        device: str = "cpu",
        group: WorkerGroup | None = None,
    ) -> None:
        self._definition, self._device, self._group = definition, device, group
        self._source, self._seed, self._train_fraction = dataset, seed, train_fraction
        self._loaded: tuple[Dataset, Splits] | None = None
        self._loading = threading.Lock()
        self._training: GroupTraining | None = None

    def _data(self) -> tuple[Dataset, Splits]:
        with self._loading:
            if self._loaded is None:
                self._loaded = load_split(self._source, seed=self._seed, train_fraction=self._train_fraction)
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

    def stop(self) -> bool:
        """Let a group end after its present epoch and return whether it did so in time; nothing without a group.

        The actor needs a `max_concurrency` of 2 to hear this while it trains.
        """
        return self._training is None or self._training.stop()

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
        run = TrainingRun(
            definition=self._definition,
            dataset=self._source,
            seed=self._seed,
            train_fraction=self._train_fraction,
            config=config,
            evolution=evolution,
            constraints=constraints,
        )
        if self._group is not None:
            self._training = GroupTraining(run, self._group, resume=resume)
            yield from self._training.reports()
        else:
            yield from run_training(run, loaded=self._data(), resume=resume, device=self._device)


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

    @ray.method(num_returns="streaming")  # type: ignore[arg-type]  # its types know no keyword that must be given
    def finalist(
        self,
        architecture: Mapping[str, Any],
        *,
        candidate: str,
        dataset: DatasetSpec,
        finishing: Finishing,
        seed: int = 0,
        train_fraction: float = 1.0,
        costs: Mapping[str, tuple[float, float]] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Iterator[EpochReport | FinalistReport]:
        """Stream as `EvaluatorCore.finalist`; a failure is a report too, but a missing data set raises."""
        images, splits = self._split(dataset, seed=seed, train_fraction=train_fraction)
        yield from self._core.finalist(
            architecture,
            candidate=candidate,
            dataset=images,
            splits=splits,
            finishing=finishing,
            costs=costs,
            provenance=provenance,
        )

    @ray.method(num_returns="streaming")
    def fine_tuning(
        self,
        architecture: Mapping[str, Any],
        dataset: DatasetSpec,
        tuning: TrainConfig,
        *,
        seed: int = 0,
        train_fraction: float = 1.0,
        resume: bytes | None = None,
    ) -> Iterator[EpochReport]:
        """Fine-tune one candidate and stream a report, with its checkpoint, after every epoch; errors as in `train`."""
        images, splits = self._split(dataset, seed=seed, train_fraction=train_fraction)
        yield from self._core.fine_tuning(architecture, dataset=images, splits=splits, tuning=tuning, resume=resume)

    def _split(self, dataset: DatasetSpec, *, seed: int, train_fraction: float) -> tuple[Dataset, Splits]:
        if self._loaded is None or self._loaded[0] != dataset:
            self._loaded = dataset, load(dataset)
        return self._loaded[1], Splits.of(self._loaded[1], seed=seed, train_fraction=train_fraction)
