"""Whether a well-formed job makes sense as a whole: what is missing, contradicts itself, or would do nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from nas_service.job_compare import compare_problems
from nas_service.job_parts import DATASETS, NO_ORIGIN, Finalists, Supernet, TrainerResources
from nas_service.job_problem import Problem
from nas_service.job_tune import tune_problems
from nas_service.objective import ALLOWED
from nas_service.presets import PRESETS

if TYPE_CHECKING:
    from nas_service.job import JobSpec

# What this version runs; the rest of what a job can say is refused by name rather than left undone.
KINDS_THAT_RUN = ("search", "train", "tune", "compare", "measure")
HALVES_TIERS = ("probe", "screen", "rank")  # above these a pair is measured whole, which takes its final weights
DATASETS_THAT_RUN = ("digits", "fashion_mnist", "cifar10", "cifar100", "imagenet", "folder", "parquet")


def unfit(spec: JobSpec) -> list[Problem]:
    """Return what is wrong with a well-formed spec as a whole."""
    if spec.kind not in KINDS_THAT_RUN:
        return [_absent("kind", spec.kind, KINDS_THAT_RUN)]
    problems = [*_not_in_this_version(spec)]
    if DATASETS.get(spec.dataset.name) and spec.dataset.root is None:
        problems.append(Problem(path="dataset.root", message=f"is missing; say where {spec.dataset.name!r} lies"))
    if spec.kind != "measure" and spec.supernet == Supernet():
        return [*problems, Problem(path="supernet", message=NO_ORIGIN)]
    problems += _KIND_CHECKS[spec.kind](spec)
    return [*problems, *_without_effect(spec), *_training_twice(spec), *_small_parts(spec), *_idle_priority(spec)]


def _unfit_search(spec: JobSpec) -> Iterator[Problem]:
    if not spec.strategy:
        yield Problem(path="strategy", message="is missing; give {name, evaluations}, or a list of them")
    if not spec.objectives:
        yield Problem(path="objectives", message=f"is missing; a search needs at least one of: {ALLOWED}")
    yield from _meaningless(spec, "tune", "compare")
    if spec.warm_start and spec.supernet.checkpoint is None:
        message = (
            "takes over accuracies, which compare only where the weights are the same; set supernet.checkpoint to the "
            "supernet of those jobs (`nas show JOB`). What boards measured is used again in any case"
        )
        yield Problem(path="warm_start", message=message)
    for strategy in spec.strategy:
        cost = strategy.board_cost
        if cost is not None and cost.board_class not in spec.board_classes():
            message = f"counts on {cost.board_class!r}, where the job measures nothing; add {cost} to objectives"
            yield Problem(path="strategy.cost", message=message)
    if spec.finalists.audit and spec.supernet.epochs is None:
        message = "is missing; finalists.audit trains pairs alone for as many epochs as the supernet had"
        yield Problem(path="supernet.epochs", message=message)


def _unfit_train(spec: JobSpec) -> Iterator[Problem]:
    if spec.supernet.epochs is None:
        yield Problem(path="supernet.epochs", message="is missing; kind 'train' trains a supernet")
    yield from _meaningless(spec, "strategy", "objectives", "warm_start", "tune", "compare")


def _unfit_tune(spec: JobSpec) -> Iterator[Problem]:
    yield from _meaningless(spec, "strategy", "objectives", "warm_start", "compare")
    if spec.supernet.tuned is not None:
        yield Problem(path="supernet.tuned", message="means nothing to kind 'tune', which finds hyperparameters itself")
    if spec.resources.trainer != TrainerResources():
        message = (
            "means nothing to kind 'tune': every trial trains by itself; resources.evaluators says how many at once"
        )
        yield Problem(path="resources.trainer", message=message)
    if spec.tune is None:
        yield Problem(path="tune", message="is missing; give {method, trials, parameters: {NAME: {log: [LOW, HIGH]}}}")
    else:
        yield from tune_problems(spec.supernet, spec.tune)


def _unfit_compare(spec: JobSpec) -> Iterator[Problem]:
    yield from _meaningless(spec, "strategy", "warm_start", "tune")
    if spec.finalists != Finalists():
        message = "means nothing to kind 'compare', which finishes no candidate; search with the strategy that won"
        yield Problem(path="finalists", message=message)
    if spec.measurement.only is not None:
        message = "means nothing to kind 'compare': what one strategy would be spared hangs on what others had measured"
        yield Problem(path="measurement.only", message=message)
    if spec.measurement.near_front is not None:
        message = "means nothing to kind 'compare': how one strategy's are measured hangs on what others had found"
        yield Problem(path="measurement.near_front", message=message)
    if spec.evaluation.parts:
        message = "means nothing to kind 'compare': what one strategy is spared hangs on what others had found"
        yield Problem(path="evaluation.parts", message=message)
    if not spec.objectives:
        yield Problem(path="objectives", message=f"is missing; a comparison needs at least one of: {ALLOWED}")
    if spec.compare is None:
        yield Problem(path="compare", message="is missing; give {strategies: [NAME, NAME], seeds: 3, evaluations: 30}")
    else:
        yield from compare_problems(spec.compare, supernet=spec.supernet, objectives=spec.objectives)


def _unfit_measure(spec: JobSpec) -> Iterator[Problem]:
    yield from _meaningless(spec, "strategy", "warm_start", "tune", "compare")
    if spec.supernet != Supernet():
        message = "means nothing to kind 'measure': graphs are measured with untrained weights; remove it"
        yield Problem(path="supernet", message=message)
    if spec.measurement.only is not None:
        message = "means nothing to kind 'measure', which measures all that it has chosen; remove it"
        yield Problem(path="measurement.only", message=message)
    if spec.measurement.near_front is not None:
        message = "means nothing to kind 'measure', which has no front; remove it"
        yield Problem(path="measurement.near_front", message=message)
    if not spec.board_classes():
        message = "names no board class; say what is to be measured where, such as [latency_ms@rpi5]"
        yield Problem(path="objectives", message=message)


# What each kind of job needs, and what means nothing to it.
_KIND_CHECKS: dict[str, Callable[[JobSpec], Iterator[Problem]]] = {
    "search": _unfit_search,
    "train": _unfit_train,
    "tune": _unfit_tune,
    "compare": _unfit_compare,
    "measure": _unfit_measure,
}


def _meaningless(spec: JobSpec, *paths: str) -> Iterator[Problem]:
    for path in paths:
        if getattr(spec, path):
            yield Problem(path=path, message=f"means nothing to kind {spec.kind!r}; remove it")


def _training_twice(spec: JobSpec) -> Iterator[Problem]:
    """Yield what is wrong with strategies that search while the supernet is trained: it is trained once."""
    training = [strategy.name for strategy in spec.strategy if strategy.trains]
    if not training:
        return
    if len(training) > 1:
        yield Problem(
            path="strategy", message=f"has {' and '.join(training)}, but a supernet is trained by one of them"
        )
    if spec.supernet.epochs is None:
        yield Problem(
            path="supernet.epochs", message=f"is missing; {training[0]!r} searches while the supernet is trained"
        )
    if spec.supernet.shrinking:
        yield Problem(
            path="supernet.shrinking", message=f"decides which pairs are trained, as {training[0]!r} does; choose one"
        )


def _small_parts(spec: JobSpec) -> Iterator[Problem]:
    """Yield a batch that leaves fewer than two images for a part: BatchNorm needs two."""
    supernet, workers = spec.supernet, spec.resources.trainer.workers
    if supernet.batch_size // workers < 2 * supernet.accumulate and workers * supernet.accumulate > 1:
        yield Problem(
            path="supernet.batch_size",
            message=f"is {supernet.batch_size} but {workers} workers with {supernet.accumulate} parts each need at "
            f"least {2 * workers * supernet.accumulate}; raise it, or lower resources.trainer.workers or accumulate",
        )


def _without_effect(spec: JobSpec) -> Iterator[Problem]:
    terms = spec.supernet.cotraining
    if terms is None:
        return
    if spec.strategy and all(strategy.name == "gradient" for strategy in spec.strategy):
        own = {"cost": "strategy.targets and strategy.cost", "phases": "phases of its own"}
        for key, instead in own.items():
            if getattr(terms, key):
                message = f"does nothing with strategy 'gradient', which has {instead}; leave it out"
                yield Problem(path=f"supernet.cotraining.{key}", message=message)
    if not terms.gate:
        return
    if spec.finalists.fine_tune_epochs == 0 and (terms.phases is None or terms.phases.fine_tune == 0):
        yield Problem(
            path="supernet.cotraining.gate",
            message="is on while fine-tuning alone; set phases.fine_tune or finalists.fine_tune_epochs above 0",
        )


def _idle_priority(spec: JobSpec) -> Iterator[Problem]:
    if spec.priority and not spec.board_classes():
        message = "orders measurements on boards, and this job names no board class in its objectives; remove it"
        yield Problem(path="priority", message=message)


def _not_in_this_version(spec: JobSpec) -> Iterator[Problem]:
    if ":" not in spec.dataset.name and spec.dataset.name not in DATASETS_THAT_RUN:
        yield _absent("dataset.name", spec.dataset.name, DATASETS_THAT_RUN)
    if ":" not in spec.space.preset and spec.space.preset not in PRESETS:
        yield _absent("space.preset", spec.space.preset, PRESETS)
    if (tier := spec.measurement.tier) not in HALVES_TIERS:
        choice = f"choose one of {', '.join(HALVES_TIERS)}, and set finalists.tier to {tier!r}"
        yield Problem(path="measurement.tier", message=f"{tier!r} measures finished pairs, not a search's; {choice}")


def _absent(path: str, got: str, works: Iterable[str]) -> Problem:
    return Problem(path=path, message=f"{got!r} is not part of this version; what works: {', '.join(works)}")
