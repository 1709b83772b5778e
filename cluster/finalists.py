"""The last phase of a job: the front's best candidates, finished, measured again where asked, and bundled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import ray

from cluster.evaluator import HALVES
from cluster.finalist_measuring import FinalistMeasuring, Keys
from cluster.last_epoch import LastEpoch
from cluster.training_phase import StopRequestedError, Trained, answer_of, device, tuning_config
from nas_service.bundle_costs import with_costs
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.errors import RetryableError
from nas_service.front import adaptive_reference, hypervolume
from nas_service.job import Finalists, JobSpec
from nas_service.store import Store
from nas_service.store.job_record import Progress
from nas_service.tune.ports import Measurer
from workers.actors import EvaluatorActor
from workers.bundle import BundleOptions
from workers.errors import TrainingCollapsedError
from workers.evaluator import FinalistReport, Finishing
from workers.quantize.choice import Int8Config
from workers.quantize.qat import QatConfig
from workers.routing.choice import Risk, RoutingOptions
from workers.trainer import EpochReport


def choose_finalists(candidates: Sequence[Candidate], *, objectives: Sequence[str], count: int) -> list[Candidate]:
    """Return up to `count` candidates whose told curves together cover most hypervolume, greedily, best first."""
    curves = {
        c.id: np.array([[float(point[name]) for name in objectives] for point in c.values])
        for c in candidates
        if c.status is CandidateStatus.FINISHED and c.values and not c.estimated
    }
    by_id = {c.id: c for c in candidates}
    chosen: list[Candidate] = []
    if not curves:
        return chosen
    reference = adaptive_reference(np.concatenate(list(curves.values())))
    covered = np.empty((0, len(objectives)))
    while curves and len(chosen) < count:
        volumes = {key: hypervolume(np.concatenate([covered, points]), reference) for key, points in curves.items()}
        best = max(volumes, key=lambda key: (volumes[key], key))
        if chosen and volumes[best] <= hypervolume(covered, reference):
            break
        chosen.append(by_id[best])
        covered = np.concatenate([covered, curves.pop(best)])
    return chosen


def routing_options(wanted: Finalists) -> RoutingOptions:
    """Return what is fitted for each bundle beside the usual thresholds."""
    risk = None if wanted.risk is None else Risk(epsilon=wanted.risk.epsilon, delta=wanted.risk.delta)
    return RoutingOptions(temperature=wanted.temperature, class_thresholds=wanted.class_thresholds, risk=risk)


def int8_config(spec: JobSpec, *, resume: bytes | None = None) -> Int8Config | None:
    """Return how a bundle's int8 variant is made, from a checkpoint on or not; None if the job asks for none."""
    wanted = spec.finalists
    if not wanted.int8:
        return None
    if not wanted.qat_epochs:
        return Int8Config(qat=None)
    qat = QatConfig(epochs=wanted.qat_epochs, batch_size=spec.supernet.batch_size, seed=spec.seed)
    return Int8Config(qat=qat, resume=resume)


def finishing(
    spec: JobSpec, *, packs: bool = False, tuned: bytes | None = None, rounded: bytes | None = None
) -> Finishing:
    """Return how a finalist is finished: with pair packs for boards or without, and from which checkpoints on.

    Those are the last ones of its fine-tuning, `tuned`, and of its fine-tuning for int8, `rounded`.
    """
    options = BundleOptions(
        router=spec.router,
        routing=routing_options(spec.finalists),
        int8=int8_config(spec, resume=rounded),
        packs=packs,
    )
    return Finishing(bundle=options, tuning=tuning_config(spec), tuned=tuned)


class FinalistPhase:
    """Finishes candidates one by one; one that is bundled already, from before a kill, is left as it is."""

    def __init__(
        self, job_id: str, spec: JobSpec, *, trained: Trained, store: Store, work: Path, measurer: Measurer | None
    ) -> None:
        self._job_id, self._spec, self._trained, self._store, self._work = job_id, spec, trained, store, work
        self._measuring = FinalistMeasuring(job_id, spec, store=store, measurer=measurer)

    def run(self) -> None:
        """Choose, finish and bundle the finalists.

        Raises:
            StopRequestedError: between two finalists or two epochs of one, if the user asked for it.
        """
        spec = self._spec
        chosen = choose_finalists(
            self._store.candidates.list(self._job_id), objectives=spec.objectives, count=spec.finalists.count
        )
        open_ones = [c for c in chosen if c.bundle_sha256 is None]
        if not open_ones:
            return
        resources = spec.resources.evaluators
        actor = (
            cast(Any, EvaluatorActor)
            .options(num_cpus=resources.cpus, num_gpus=resources.gpus)
            .remote(
                self._trained.definition,
                checkpoint=self._trained.checkpoint,
                data=self._trained.data,
                device=device(resources.gpus),
            )
        )
        try:
            for number, candidate in enumerate(chosen):
                self._progress(number, len(chosen), f"bundling {candidate.id}")
                if candidate in open_ones:
                    self._finish(actor, candidate, show=partial(self._progress, number, len(chosen)))
                if self._store.jobs.stop_requested(self._job_id):
                    raise StopRequestedError(f"stopped after {number + 1} of {len(chosen)} finalists")
            self._progress(len(chosen), len(chosen), "")
        finally:
            ray.kill(actor)

    def _progress(self, done: int, total: int, detail: str) -> None:
        self._store.jobs.set_progress(self._job_id, Progress(phase="finishing", done=done, total=total, detail=detail))

    def _finish(self, actor: Any, candidate: Candidate, *, show: Callable[[str], None]) -> None:
        keys = self._measuring.halves(candidate, export=lambda: self._graphs(actor, candidate))
        last = LastEpoch(self._work, f"finalist-{candidate.id}")
        rounded = LastEpoch(self._work, f"finalist-{candidate.id}-int8")
        try:
            tuned = self._tuned(actor, candidate, last, show=show)
        except TrainingCollapsedError as error:
            self._note("failed", f"{candidate.id} was not bundled: {error}")
            return
        report = self._report(actor, candidate, keys, tuned=tuned, last=rounded, show=show)
        if report.status != "ok" or report.bundle is None:
            self._note("failed", f"{candidate.id} was not bundled: {report.error}")
            return
        bundle, manifest = report.bundle, report.manifest
        whole = self._measuring.pairs(candidate, report.packs)
        if whole:
            bundle, repriced = with_costs(bundle, self._measuring.whole_costs(whole), measured=whole)
            manifest = repriced.to_dict()
            for board_class, named in whole.items():
                keys.setdefault(board_class, {}).update({f"pair-{name}": key for name, key in named.items()})
        self._keep(candidate, report, bundle=bundle, manifest=manifest, keys=keys)
        last.forget()
        rounded.forget()

    def _tuned(self, actor: Any, candidate: Candidate, last: LastEpoch, *, show: Callable[[str], None]) -> bytes | None:
        """Fine-tune from the last epoch on, if there is one, and keep it up to date; None without fine-tuning."""
        spec, tuning = self._spec, tuning_config(self._spec)
        if tuning is None:
            return None
        checkpoint = last.read()
        reports = actor.fine_tuning.remote(
            candidate.architecture,
            self._trained.dataset,
            tuning,
            seed=spec.seed,
            train_fraction=spec.supernet.train_fraction,
            resume=checkpoint,
        )
        for reference in reports:
            report: EpochReport = answer_of(reference)
            checkpoint = report.checkpoint
            self._epoch(report, last, show=show, training=f"fine-tuning {candidate.id}")
        return checkpoint

    def _epoch(self, report: EpochReport, last: LastEpoch, *, show: Callable[[str], None], training: str) -> None:
        """Keep the epoch and say so; StopRequestedError if the user asked for a stop."""
        last.keep(report.checkpoint)
        come = f"epoch {report.epoch} of {report.epochs}"
        show(f"{training}, {come}")
        if self._store.jobs.stop_requested(self._job_id):
            raise StopRequestedError(f"stopped {training}, after {come}")

    def _graphs(self, actor: Any, candidate: Candidate) -> dict[str, bytes]:
        report = answer_of(actor.evaluate.remote(candidate.architecture, router=self._spec.router, export=HALVES))
        return dict(report.models)

    def _report(
        self,
        actor: Any,
        candidate: Candidate,
        keys: Keys,
        *,
        tuned: bytes | None,
        last: LastEpoch,
        show: Callable[[str], None],
    ) -> FinalistReport:
        """Bundle the candidate; what is fine-tuned for int8 goes on from its last epoch, if there is one."""
        spec = self._spec
        steps = actor.finalist.remote(
            candidate.architecture,
            candidate=candidate.id,
            dataset=self._trained.dataset,
            finishing=finishing(spec, packs=self._measuring.whole, tuned=tuned, rounded=last.read()),
            seed=spec.seed,
            train_fraction=spec.supernet.train_fraction,
            costs=self._measuring.half_costs(keys),
            provenance={
                "job": self._job_id,
                "job_spec_sha256": spec.hash(),
                "seed": spec.seed,
                "space": spec.space.preset,
                "architecture": candidate.architecture,
                "supernet_sha256": self._store.jobs.get(self._job_id).artefacts.get("supernet"),
                "measurements": keys,
            },
        )
        for reference in steps:
            given: EpochReport | FinalistReport = answer_of(reference)
            if isinstance(given, FinalistReport):
                return given
            self._epoch(given, last, show=show, training=f"fine-tuning {candidate.id} for int8")
        raise RetryableError(f"{candidate.id} was finished without a report; resume the job")

    def _keep(
        self, candidate: Candidate, report: FinalistReport, *, bundle: bytes, manifest: dict[str, Any], keys: Keys
    ) -> None:
        """Store a finished candidate with its bundle, and tell of it."""
        stored = self._store.candidates.get(candidate.id)
        final = {
            "accuracies": report.accuracies,
            "operating_points": manifest["operating_points"],
            "default_operating_point": manifest["default_operating_point"],
            "fine_tune_epochs": self._spec.finalists.fine_tune_epochs,
            "int8": manifest["provenance"].get("int8"),
            "measurements": keys,
            "seconds": report.seconds,
        }
        self._store.candidates.update(
            replace(stored, finalist=True, bundle_sha256=self._store.files.put(bundle), final=final)
        )
        for note in report.notes:
            self._note("routing", f"{candidate.id}: {note}", {"candidate": candidate.id})
        self._note("finalist", f"{candidate.id} is bundled", {"candidate": candidate.id, **report.accuracies})

    def _note(self, kind: str, message: str, data: dict[str, Any] | None = None) -> None:
        self._store.jobs.append_event(self._job_id, kind, message, data)
