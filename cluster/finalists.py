"""The last phase of a job: the front's best candidates, finished, measured again where asked, and bundled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import ray

from cluster.evaluator import HALVES, publish
from cluster.training_phase import StopRequestedError, Trained, answer_of, device, tuning_config
from edge_agent.records import Result
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.front import adaptive_reference, hypervolume
from nas_service.job import Finalists, JobSpec
from nas_service.measurement import MeasurementRequest, measurement_key
from nas_service.store import Store
from nas_service.store.job_record import Progress
from nas_service.tune.ports import Measurer
from nas_service.valuation import half_cost
from workers.actors import EvaluatorActor
from workers.evaluator import Finishing
from workers.quantize.choice import Int8Config
from workers.quantize.qat import QatConfig
from workers.routing.choice import Risk, RoutingOptions

POLL_S = 0.5


def choose_finalists(candidates: Sequence[Candidate], *, objectives: Sequence[str], count: int) -> list[Candidate]:
    """Return up to `count` candidates whose told curves together cover most hypervolume, greedily, best first."""
    curves = {
        c.id: np.array([[float(point[name]) for name in objectives] for point in c.values])
        for c in candidates
        if c.status is CandidateStatus.FINISHED and c.values
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


def int8_config(spec: JobSpec) -> Int8Config | None:
    """Return how each bundle's int8 variant is made; None if the job asks for none."""
    wanted = spec.finalists
    if not wanted.int8:
        return None
    if not wanted.qat_epochs:
        return Int8Config(qat=None)
    return Int8Config(qat=QatConfig(epochs=wanted.qat_epochs, batch_size=spec.supernet.batch_size, seed=spec.seed))


def finishing(spec: JobSpec) -> Finishing:
    """Return how the job's finalists are finished."""
    return Finishing(
        router=spec.router,
        tuning=tuning_config(spec),
        routing=routing_options(spec.finalists),
        int8=int8_config(spec),
    )


class FinalistPhase:
    """Finishes candidates one by one; one that is bundled already, from before a kill, is left as it is."""

    def __init__(
        self, job_id: str, spec: JobSpec, *, trained: Trained, store: Store, measurer: Measurer | None
    ) -> None:
        self._job_id, self._spec, self._trained, self._store, self._measurer = job_id, spec, trained, store, measurer

    def run(self) -> None:
        """Choose, finish and bundle the finalists.

        Raises:
            StopRequestedError: between two finalists, if the user asked for it.
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
                    self._finish(actor, candidate)
                if self._store.jobs.stop_requested(self._job_id):
                    raise StopRequestedError(f"stopped after {number + 1} of {len(chosen)} finalists")
            self._progress(len(chosen), len(chosen), "")
        finally:
            ray.kill(actor)

    def _progress(self, done: int, total: int, detail: str) -> None:
        self._store.jobs.set_progress(self._job_id, Progress(phase="finishing", done=done, total=total, detail=detail))

    def _finish(self, actor: Any, candidate: Candidate) -> None:
        spec, epochs = self._spec, self._spec.finalists.fine_tune_epochs
        keys = self._measure(actor, candidate)
        report = answer_of(
            actor.finalist.remote(
                candidate.architecture,
                candidate=candidate.id,
                dataset=self._trained.dataset,
                finishing=finishing(spec),
                seed=spec.seed,
                train_fraction=spec.supernet.train_fraction,
                costs=self._costs(candidate, keys),
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
        )
        if report.status != "ok":
            self._store.jobs.append_event(self._job_id, "failed", f"{candidate.id} was not bundled: {report.error}")
            return
        stored = self._store.candidates.get(candidate.id)
        final = {
            "accuracies": report.accuracies,
            "operating_points": report.manifest["operating_points"],
            "default_operating_point": report.manifest["default_operating_point"],
            "fine_tune_epochs": epochs,
            "int8": report.manifest["provenance"].get("int8"),
            "measurements": keys,
            "seconds": report.seconds,
        }
        self._store.candidates.update(
            replace(stored, finalist=True, bundle_sha256=self._store.files.put(report.bundle), final=final)
        )
        for note in report.notes:
            self._store.jobs.append_event(
                self._job_id, "routing", f"{candidate.id}: {note}", {"candidate": candidate.id}
            )
        self._store.jobs.append_event(
            self._job_id, "finalist", f"{candidate.id} is bundled", {"candidate": candidate.id, **report.accuracies}
        )

    def _measure(self, actor: Any, candidate: Candidate) -> dict[str, dict[str, str]]:
        """Return the measurement keys by class and half, measured anew if the finalists' tier differs."""
        tier = self._spec.finalists.tier
        if self._measurer is None or tier is None or tier == self._spec.measurement.tier:
            return candidate.measurements
        report = answer_of(actor.evaluate.remote(candidate.architecture, router=self._spec.router, export=HALVES))
        models = {half: publish(data) for half, data in report.models.items()}
        keys: dict[str, dict[str, str]] = {}
        requests = []
        for board_class in candidate.measurements:
            settings = self._measurer.settings(board_class)
            for half in HALVES:
                structure = candidate.structures[half]
                keys.setdefault(board_class, {})[half] = measurement_key(
                    structure, tier=tier, board_class=board_class, settings=settings, half=half
                )
                requests.append(
                    MeasurementRequest(
                        structure_key=structure,
                        board_class=board_class,
                        tier=tier,
                        half=half,
                        model=models[half],
                        settings=settings,
                        job_id=self._job_id,
                        priority=1,
                    )
                )
        self._measurer.request(requests)
        self._wait([key for halves in keys.values() for key in halves.values()])
        return keys

    def _wait(self, keys: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        assert self._measurer is not None
        give_up_at = clock() + self._spec.measurement.timeout_s
        while clock() < give_up_at:
            states = self._measurer.poll(keys)
            if all(key in states and states[key].is_final for key in keys):
                return
            if self._store.jobs.stop_requested(self._job_id):
                raise StopRequestedError("stopped while finalists were measured")
            time.sleep(POLL_S)
        self._store.jobs.append_event(
            self._job_id, "measurement", f"finalists were not measured within {self._spec.measurement.timeout_s:g} s"
        )

    def _costs(self, candidate: Candidate, keys: dict[str, dict[str, str]]) -> dict[str, tuple[float, float]]:
        """Return measured costs by objective: of the little, and of what escalation adds."""
        states = self._store.fleet.states([key for halves in keys.values() for key in halves.values()])
        results: dict[str, dict[str, Result]] = {}
        for board_class, halves in keys.items():
            found = {half: states[key].result for half, key in halves.items() if key in states}
            results[board_class] = {half: r for half, r in found.items() if r is not None and r.status == "ok"}
        costs: dict[str, tuple[float, float]] = {}
        for board_class, measured in results.items():
            if set(measured) != set(HALVES):
                continue
            little, big = half_cost(measured["little"]), half_cost(measured["big"])
            for name in ("latency_ms", "energy_mj"):
                pair = getattr(little, name), getattr(big, name)
                if None not in pair:
                    costs[f"{name}@{board_class}"] = pair
        return costs
