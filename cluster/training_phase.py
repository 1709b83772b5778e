"""The first phase of a job: a trained supernet, and the images that candidates are scored on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import ray

from cluster.last_epoch import LastEpoch
from nas_service.class_cost import ClassCost
from nas_service.errors import InvalidRequestError, RetryableError
from nas_service.job import JobSpec
from nas_service.pair_space import PairSpace, SpaceDefinition
from nas_service.scalar_log import NO_LOG, ScalarLog
from nas_service.space import load_definition
from nas_service.store import Store
from nas_service.store.job_record import Progress
from workers.actors import TrainerActor, on_this_node
from workers.checkpoint import Checkpoint, load_weights
from workers.data.dataset import DatasetSpec
from workers.evaluation import EvaluationData
from workers.evolving.settings import Coevolution, Evolution, GradientSearch, Shrinking
from workers.supernet import Supernet
from workers.train_config import TrainConfig
from workers.trainer import EpochReport
from workers.training_run import WorkerGroup

STOP_S = 90.0
GRADIENT_TARGETS = (0.2, 0.35, 0.5)
DISTILLATION = ("distillation", "little_distillation", "temperature")
OPTIONAL = ("weight_decay", "momentum", "random_pairs", "label_smoothing", "clip_norm", "rollbacks")


_log = logging.getLogger(__name__)


class StopRequestedError(Exception):
    """The job stops before its end, since the user asked for it or boards are gone; a resume goes on from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """Which of a job's supernets is trained, for the jobs that have several.

    Attributes:
        artefact: Under which name the job keeps it.
        label: What people read before its epochs; empty for a job's only supernet, whose epochs are the job's.
        seed: Of weights and batches; None for the job's. The splits are the job's in any case.
    """

    artefact: str = "supernet"
    label: str = ""
    seed: int | None = None


ONLY = Purpose()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """What the later phases build on.

    Attributes:
        definition: The space's definition, limited to the job's couplings.
        space: The space for this data set, with the job's constraints.
        checkpoint: The supernet's bytes.
        data: An object reference to the `EvaluationData`.
        dataset: How the data set is loaded.
        split_hashes: SHA-256 by split.
    """

    definition: SpaceDefinition
    space: PairSpace
    checkpoint: bytes
    data: ray.ObjectRef[EvaluationData]
    dataset: DatasetSpec
    split_hashes: dict[str, str]

    @property
    def found(self) -> list[dict[str, Any]]:
        """The points that a search during training found, best first; none without one."""
        points: list[dict[str, Any]] = Checkpoint.from_bytes(self.checkpoint).learner.get("found", [])
        return points


def dataset_spec(spec: JobSpec, *, cache: Path) -> DatasetSpec:
    """Return how workers load the job's data set; `~` is the service's user."""
    root = None if spec.dataset.root is None else str(Path(spec.dataset.root).expanduser())
    augmentation = spec.supernet.augmentation
    return DatasetSpec(
        name=spec.dataset.name,
        root=root,
        cache=str(cache),
        image_column=spec.dataset.image_column,
        label_column=spec.dataset.label_column,
        resolution=spec.dataset.resolution,
        augmentation=None if augmentation is None else augmentation.model_dump(exclude_none=True),
    )


def train_config(spec: JobSpec) -> TrainConfig:
    """Return the hyperparameters of the job's supernet."""
    terms = {} if spec.supernet.cotraining is None else spec.supernet.cotraining.given()
    plain = {name: terms.pop(name) for name in DISTILLATION if name in terms}
    plain |= {name: value for name in OPTIONAL if (value := getattr(spec.supernet, name)) is not None}
    return TrainConfig.from_dict(
        {
            "epochs": spec.supernet.epochs or 1,
            "batch_size": spec.supernet.batch_size,
            "learning_rate": spec.supernet.learning_rate,
            "autocast": spec.resources.trainer.gpus > 0,
            "accumulate": spec.supernet.accumulate,
            "compile": spec.supernet.compile,
            "seed": spec.seed,
            "cotraining": terms,
            **plain,
        }
    )


def evolution_of(spec: JobSpec, *, cost: ClassCost | None = None) -> Evolution | None:
    """Return how the dimensions of the job's pairs evolve while the supernet is trained; None if they do not.

    `cost` is what `gradient` counts, MACs if None.
    """
    for strategy in spec.strategy:
        if strategy.name == "gradient":
            targets = strategy.targets or GRADIENT_TARGETS
            return GradientSearch(targets=targets, searches=strategy.evaluations, measure=cost)
        if strategy.name == "coevolve":
            return Coevolution(population=strategy.evaluations, every=strategy.every or 2)
    return Shrinking() if spec.supernet.shrinking else None


def tuning_config(spec: JobSpec) -> TrainConfig | None:
    """Return how finalists are fine-tuned, None if they are not: the same terms, at a tenth of the learning rate."""
    if not spec.finalists.fine_tune_epochs:
        return None
    config = train_config(spec)
    return replace(
        config,
        epochs=spec.finalists.fine_tune_epochs,
        learning_rate=config.learning_rate / 10,
        cotraining=config.cotraining.only_fine_tuning(),
    )


def device(gpus: float) -> str:
    """Return the torch device of an actor that was given `gpus`."""
    return "cuda" if gpus > 0 else "cpu"


def train_supernet(
    job_id: str,
    spec: JobSpec,
    *,
    store: Store,
    work: Path,
    scalars: ScalarLog = NO_LOG,
    purpose: Purpose = ONLY,
    cost: Callable[[], ClassCost] | None = None,
) -> Trained:
    """Return the trained supernet: from the store if it is there, else trained, from the last epoch's checkpoint on.

    What a search during training counts is asked of `cost` when it trains, MACs if None.

    Raises:
        InvalidRequestError: the data or a checkpoint cannot be used, or no pair meets the constraints.
        StopRequestedError: between two epochs, if the user asked for it.
    """
    definition = load_definition(spec.space.preset, couplings=spec.space.couplings, activation=spec.space.activation)
    dataset = dataset_spec(spec, cache=work.parent / "data")
    trainer = _trainer(spec, definition, dataset)
    try:
        shape, hashes = answer_of([trainer.shape.remote(), trainer.split_hashes.remote()])
        store.jobs.append_event(job_id, "data", f"data set {dataset.name} loaded", {**shape, "split_hashes": hashes})
        space = PairSpace(definition, **shape, constraints=spec.constraints)
        space.check_constraints()
        checkpoint = _known_checkpoint(job_id, spec, space, store=store, artefact=purpose.artefact)
        if checkpoint is None:
            evolution = evolution_of(spec, cost=None if cost is None else cost())
            checkpoint = _train(
                job_id, spec, trainer, evolution, store=store, work=work, scalars=scalars, purpose=purpose
            )
        data = answer_of(trainer.evaluation_data.remote())
        return Trained(
            definition=definition,
            space=space,
            checkpoint=checkpoint,
            data=ray.put(data),
            dataset=dataset,
            split_hashes=hashes,
        )
    finally:
        if spec.resources.trainer.workers > 1:
            _stop(trainer)
        ray.kill(trainer)


def _stop(trainer: Any) -> None:
    """Let the workers give back what they hold; if they do not, or are gone, Ray frees it after the actor's end."""
    try:
        ray.get(trainer.stop.remote(), timeout=STOP_S)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError):
        _log.warning("the workers that train did not end in time; they are killed")


def _trainer(spec: JobSpec, definition: SpaceDefinition, dataset: DatasetSpec) -> Any:
    """Return the actor that trains; one that has workers trains nothing itself and takes nothing from them."""
    resources = spec.resources.trainer
    group = WorkerGroup(workers=resources.workers, cpus=resources.cpus, gpus=resources.gpus)
    alone = resources.workers == 1
    return (
        cast(Any, TrainerActor)
        .options(
            num_cpus=resources.cpus if alone else 0,
            num_gpus=resources.gpus if alone else 0,
            max_concurrency=1 if alone else 2,
            scheduling_strategy="DEFAULT" if alone else on_this_node(),
        )
        .remote(
            definition,
            dataset=dataset,
            seed=spec.seed,
            train_fraction=spec.supernet.train_fraction,
            device=device(resources.gpus),
            group=None if alone else group,
        )
    )


def _known_checkpoint(job_id: str, spec: JobSpec, space: PairSpace, *, store: Store, artefact: str) -> bytes | None:
    sha256 = store.jobs.get(job_id).artefacts.get(artefact) or spec.supernet.checkpoint
    if sha256 is None:
        return None
    data = store.files.get(sha256)
    load_weights(Supernet(space), Checkpoint.from_bytes(data))  # refused here, once, and not by every evaluator
    store.jobs.set_artefact(job_id, artefact, sha256)
    return data


def _train(
    job_id: str,
    spec: JobSpec,
    trainer: Any,
    evolution: Evolution | None,
    *,
    store: Store,
    work: Path,
    scalars: ScalarLog,
    purpose: Purpose,
) -> bytes:
    last = LastEpoch(work, purpose.artefact if purpose.label else "")
    config = train_config(spec) if purpose.seed is None else replace(train_config(spec), seed=purpose.seed)
    checkpoint = resume = last.read()
    store.jobs.set_progress(job_id, Progress(phase="training", done=0, total=config.epochs))
    for reference in trainer.train.remote(config, evolution=evolution, constraints=spec.constraints, resume=resume):
        report: EpochReport = answer_of(reference)
        checkpoint = report.checkpoint
        last.keep(checkpoint)
        _announce(job_id, report, store, label=purpose.label)
        scalars.log(report.epoch, training_figures(report, label=purpose.label))
        if store.jobs.stop_requested(job_id):
            raise StopRequestedError(f"stopped after epoch {report.epoch} of {report.epochs}")
    if checkpoint is None:
        raise InvalidRequestError("training ended without an epoch; set supernet.epochs to at least 1")
    store.jobs.set_artefact(job_id, purpose.artefact, store.files.put(checkpoint))
    last.forget()
    return checkpoint


def training_figures(report: EpochReport, *, label: str = "") -> dict[str, float]:
    """Return an epoch's figures as a scalar log has them."""
    under = f"training/{label.replace(', ', '-').replace(' ', '-')}" if label else "training"
    losses = {f"{under}/losses/{name}": value for name, value in report.losses.items()}
    accuracies = {f"{under}/accuracies/{name}": value for name, value in report.accuracies.items()}
    return {**losses, **accuracies, f"{under}/learning_rate": report.learning_rate}


def _announce(job_id: str, report: EpochReport, store: Store, *, label: str = "") -> None:
    figures = {
        "epoch": report.epoch,
        "epochs": report.epochs,
        "losses": report.losses,
        "accuracies": report.accuracies,
        "seconds": report.seconds,
        "images_per_s": report.images_per_s,
        "learning_rate": report.learning_rate,
        "rollbacks": report.rollbacks,
    }
    if steps := report.learner.get("trajectory", {}).get("steps"):
        figures["dimensions"] = {"choices": report.learner["trajectory"]["choices"], "step": steps[-1]}
    shown = ", ".join(f"{name} {100 * value:.1f} %" for name, value in report.accuracies.items())
    text, detail = f"epoch {report.epoch} of {report.epochs}: {shown}", f"{report.seconds:.0f} s an epoch"
    if label:  # one of several supernets: its epochs are not the job's
        text, detail, figures = f"{label}: {text}", f"{label}, {detail}", {"training": label, "figures": figures}
    store.jobs.append_event(job_id, "epoch", text, figures)
    store.jobs.set_progress(job_id, Progress(phase="training", done=report.epoch, total=report.epochs, detail=detail))


def answer_of(reference: Any) -> Any:
    """Return what an actor answered; an error that it raised is raised as itself, not wrapped in Ray's.

    Raises:
        RetryableError: the actor's process or machine was lost.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None
    except ray.exceptions.RayActorError as error:
        raise RetryableError(
            f"a worker was lost ({' '.join(str(error).split())}); resume the job, and it goes on"
        ) from error
