"""Jobs of kind `compare`: several strategies over seeds, on one supernet or on supernets of the same training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.job_context import JobContext
from cluster.measurer import GatewayMeasurer, job_measurer
from cluster.search_job import run_session
from cluster.training_phase import Purpose, StopRequestedError, Trained, train_supernet
from nas_service.candidate import Candidate
from nas_service.comparison import CHARGE, COMPARED, TRAINED, Comparison, Run
from nas_service.job import JobSpec, Strategy
from nas_service.job_compare import Compare, Entrant
from nas_service.job_state import JobState
from nas_service.search import Searcher, make_searcher
from nas_service.search.listed import ListedSearcher
from nas_service.standings import Standings, final_text
from nas_service.tune.contest import Contest, Contestant, ContestArchive, ContestSession, Past, known_candidates
from nas_service.tune.task import Task
from workers.checkpoint import Checkpoint


class CompareJob:
    """Trains what is needed, lets the strategies search, and says how they stand.

    Args:
        job: What to work with.
    """

    def __init__(self, job: JobContext) -> None:
        assert job.spec.compare is not None
        self._job, self._compare = job, job.spec.compare
        self._told: dict[int, int] = {}

    def run(self) -> None:
        """Run what is left of it.

        Raises:
            StopRequestedError: the user asked for it; what was done is kept.
        """
        job = self._job
        job.enter(JobState.TRAINING)
        shared = [entrant for entrant in self._compare.entrants if not entrant.trains]
        teams: list[tuple[Sequence[Entrant], Trained]] = [(shared, self._train(None, shared))] if shared else []
        alone = [entrant for entrant in self._compare.entrants if entrant.trains]
        teams += [([entrant], self._train(entrant, [entrant])) for entrant in alone]
        job.enter(JobState.SEARCHING)
        measurer = job_measurer(job.spec)
        for entrants, trained in teams:
            self._search(entrants, trained, measurer)
        self._conclude()

    def _train(self, entrant: Entrant | None, entrants: Sequence[Entrant]) -> Trained:
        """Return the supernet that all ask/tell entrants share (None), or the one that an entrant trains."""
        job = self._job
        spec, purpose = job.spec, Purpose()
        if entrant is not None:
            spec = spec_of(spec, entrant, evaluations=self._compare.evaluations)
            artefact = f"supernet-{entrant.strategy}-{entrant.seed}"
            purpose = Purpose(artefact=artefact, label=entrant.label, seed=spec.seed + entrant.seed)
        trained = train_supernet(
            job.job_id, spec, store=job.store, work=job.work, scalars=job.scalars, purpose=purpose
        )  # fmt: skip
        self._note_training(entrants, purpose.label, trained.checkpoint)
        return trained

    def _note_training(self, entrants: Sequence[Entrant], label: str, checkpoint: bytes) -> None:
        """Tell once what the training that entrants build on took; a checkpoint from elsewhere took nothing here."""
        history = self._job.store.jobs.history(self._job.job_id)
        known = Comparison.of(history).runs
        epochs = epoch_seconds([event.data for event in history if event.kind == "epoch"], label)
        inside = int(Checkpoint.from_bytes(checkpoint).learner.get("evaluations", 0)) if label else 0
        for entrant in entrants:
            if entrant.index in known and known[entrant.index].training is not None:
                continue
            data = {"entrant": entrant.index, "strategy": entrant.strategy, "seed": entrant.seed,
                    "epochs": len(epochs), "seconds": sum(epochs.values()), "evaluations": inside}  # fmt: skip
            self._job.note(TRAINED, f"{entrant.label}: {len(epochs)} epochs in {sum(epochs.values()):.1f} s", data)

    def _search(self, entrants: Sequence[Entrant], trained: Trained, measurer: GatewayMeasurer | None) -> None:
        job, place = self._job, 1 + entrants[0].index if entrants[0].trains else 0
        mark = f"{entrants[0].label}: " if place else ""
        contest = self._contest(entrants, trained, place=place, mark=mark)
        self._told[place] = contest.told
        if contest.finished:
            return
        spec = session_spec(job.spec, self._compare)
        session = ContestSession(
            Task(spec=spec, job_id=job.job_id),
            searcher=contest,
            space=trained.space,
            archive=ContestArchive(job.store.candidates, contest, place=place, mark=mark),
            measurer=measurer,
            note=lambda kind, text: None if kind == "exhausted" else job.note(kind, text),
        )
        run_session(
            session, job, trained, progress=lambda told, in_flight: self._progress(place, contest.told, in_flight)
        )
        if job.stop_requested():
            raise StopRequestedError(f"stopped after {sum(self._told.values())} of {self._compare.total} evaluations")

    def _contest(self, entrants: Sequence[Entrant], trained: Trained, *, place: int, mark: str) -> Contest:
        job = self._job
        first_state = 1 + len(self._compare.entrants)
        candidates = job.store.candidates
        states = {e.index: candidates.search_state(job.job_id, first_state + e.index) for e in entrants}
        return Contest(
            [self._contestant(entrant, trained) for entrant in entrants],
            phenotype=trained.space.phenotype,
            past=Past(
                known=known_candidates(candidates.list(job.job_id), index=place, mark=mark),
                comparison=Comparison.of(job.store.jobs.history(job.job_id)),
                states={index: state for index, state in states.items() if state is not None},
            ),
            charge=self._charge,
            save=lambda index, state: candidates.save_search_state(job.job_id, first_state + index, state),
            objectives=job.spec.objectives,
            board_seconds=self._board_seconds,
        )

    def _contestant(self, entrant: Entrant, trained: Trained) -> Contestant:
        compare = self._compare
        return Contestant(
            entrant=entrant,
            searcher=searcher_of(entrant, trained, spec=self._job.spec, evaluations=compare.evaluations),
            evaluations=compare.evaluations,
            batch=compare.batch,
        )

    def _charge(self, run: Run, data: dict[str, Any]) -> None:
        number = str(data["candidate"]).rsplit("-", 1)[-1].lstrip("0")
        known = " (known)" if data["known"] else ""
        self._job.note(CHARGE, f"{run.strategy}, seed {run.seed}: candidate {number}{known}", data)

    def _board_seconds(self, candidate: Candidate) -> Mapping[str, float]:
        keys = sorted({key for halves in candidate.measurements.values() for key in halves.values()})
        states = self._job.store.fleet.states(keys) if keys else {}
        return {k: s.result.phases_s.get("wall", 0.0) for k, s in states.items() if s.result is not None}

    def _progress(self, place: int, told: int, in_flight: int) -> None:
        self._told[place] = told
        done = sum(self._told.values())
        self._job.progress("comparing", done=done, total=self._compare.total, detail=f"{in_flight} in flight")

    def _conclude(self) -> None:
        job = self._job
        comparison = Comparison.of(job.store.jobs.history(job.job_id)).after(COMPARED, {})
        job.note(COMPARED, final_text(Standings(comparison, objectives=job.spec.objectives)))


def spec_of(spec: JobSpec, entrant: Entrant, *, evaluations: int) -> JobSpec:
    """Return the job as the training of an entrant that searches while it trains sees it."""
    return spec.model_copy(update={"strategy": (Strategy(name=entrant.strategy, evaluations=evaluations),)})


def session_spec(spec: JobSpec, compare: Compare) -> JobSpec:
    """Return the job as the session that evaluates for all sees it: one strategy with more than everybody's budget.

    It is the contest that ends it: when all is evaluated, what is not yet charged must still be looked at.
    """
    everybody = Strategy(name="random", evaluations=compare.total + 1, concurrency=compare.concurrency)
    return spec.model_copy(update={"strategy": (everybody,)})


def searcher_of(entrant: Entrant, trained: Trained, *, spec: JobSpec, evaluations: int) -> Searcher:
    """Return an entrant's own searcher, which knows of no other."""
    if entrant.trains:
        return ListedSearcher(trained.found[:evaluations], space=trained.space)
    return make_searcher(
        entrant.strategy,
        trained.space,
        objectives=spec.objectives,
        seed=spec.seed + entrant.seed,
        budget=evaluations,
    )


def epoch_seconds(epochs: Sequence[Mapping[str, Any]], label: str) -> dict[int, float]:
    """Return what each epoch of the training with this label took, the last time that it was run."""
    mine = [data.get("figures", {}) if label else data for data in epochs if data.get("training", "") == label]
    return {int(figures["epoch"]): float(figures["seconds"]) for figures in mine}
