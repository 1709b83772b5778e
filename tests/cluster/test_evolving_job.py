from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from cluster.training_phase import _announce, evolution_of, train_config
from nas_service.candidate import CandidateStatus
from nas_service.class_cost import ClassCost
from nas_service.cost_predictor import fitted_predictor
from nas_service.curve import Curve
from nas_service.evaluation_report import EvaluationReport
from nas_service.front_query import FrontCandidate, FrontQuery, front_points
from nas_service.half import halves_of
from nas_service.job import JobSpec, parse_job
from nas_service.pair_space import PairSpace
from nas_service.report.collect import trajectory_from
from nas_service.search.listed import ListedSearcher
from nas_service.server_events import JobEvent
from nas_service.space import load_definition
from nas_service.trajectory import TrajectoryStep
from nas_service.tune.session import SearchSession
from nas_service.tune.task import Task
from tests.nas_service.measured import made_up_ms
from tests.nas_service.tune.fakes import JOB, MemoryArchive
from workers.data.dataset import DatasetSpec
from workers.data.loading import load
from workers.data.splits import Splits
from workers.evaluation import EvaluationData
from workers.evaluator import EvaluatorCore
from workers.evolving.settings import Coevolution, GradientSearch, Shrinking
from workers.supernet import Supernet
from workers.trainer import EpochReport
from workers.training import train


def spec(strategy: Any, **supernet: Any) -> JobSpec:
    return parse_job(
        {
            "kind": "search",
            "name": "evolving",
            "dataset": {"name": "digits"},
            "space": {"preset": "micro", "couplings": ["stem"]},
            "supernet": {"epochs": 4, "batch_size": 64, **supernet},
            "strategy": strategy,
            "objectives": ["error", "macs"],
        }
    )


GRADIENT = {"name": "gradient", "evaluations": 2, "targets": [0.2, 0.6]}
COEVOLVE = {"name": "coevolve", "evaluations": 4, "every": 2}
RANDOM = {"name": "random", "evaluations": 2}
STRATEGIES = {"gradient": GRADIENT, "coevolve": COEVOLVE}


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (spec(GRADIENT), GradientSearch(targets=(0.2, 0.6), searches=2)),
        (spec([RANDOM, COEVOLVE]), Coevolution(population=4, every=2)),
        (spec(RANDOM, shrinking=True), Shrinking()),
        (spec(RANDOM), None),
    ],
)
def test_a_job_says_how_dimensions_evolve(job, expected):
    assert evolution_of(job) == expected


class Jobs:
    """Keeps what is told of a job."""

    def __init__(self) -> None:
        self.jobs, self.events = self, []

    def append_event(self, job_id: str, kind: str, message: str, data: dict[str, Any]) -> None:
        self.events.append(JobEvent(id=len(self.events), kind=kind, message=message, data=data))

    def set_progress(self, job_id: str, progress: Any) -> None:
        """Nobody asks."""


@lru_cache
def trained(name: str) -> tuple[EvaluatorCore, PairSpace, list[EpochReport]]:
    """Train as the trainer's actor does; return an evaluator over the last checkpoint, the space and all reports."""
    torch.set_num_threads(1)
    job = spec(STRATEGIES[name])
    dataset = load(DatasetSpec(name="digits"))
    splits = Splits.of(dataset, seed=0, train_fraction=0.5)
    definition = load_definition("micro", couplings=["stem"])
    space = PairSpace(definition, channels=1, resolution=8, classes=10)
    supernet = Supernet(space, seed=0)
    reports = list(train(supernet, dataset, splits, train_config(job), evolution=evolution_of(job)))
    data = EvaluationData.of(dataset, splits, recalibration=300)
    return EvaluatorCore(definition, checkpoint=reports[-1].checkpoint, data=data), space, reports


def search(job: JobSpec, evaluator: EvaluatorCore, space: PairSpace, found: list[dict[str, Any]]) -> MemoryArchive:
    archive = MemoryArchive()
    session = SearchSession(
        Task(spec=job, job_id=JOB), searcher=ListedSearcher(found, space=space), space=space, archive=archive,
        measurer=None,
    )  # fmt: skip
    while (candidate := session.next()) is not None:
        made = evaluator.evaluate(candidate.architecture, router=job.router)
        session.evaluated(
            EvaluationReport(
                candidate_id=candidate.id, status=made.status, error=made.error, accuracies=made.accuracies,
                curve=made.curve, split_hashes=made.split_hashes, seconds=made.seconds,
            )
        )  # fmt: skip
    assert session.finished
    return archive


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_training_found_becomes_candidates_with_curves_and_a_front(name):
    job = spec(STRATEGIES[name])
    evaluator, space, reports = trained(name)
    found = reports[-1].learner["found"]
    candidates = search(job, evaluator, space, found).list(JOB, with_curves=True)
    assert {c.phenotype for c in candidates} == {space.phenotype(point) for point in found}
    assert {c.status for c in candidates} == {CandidateStatus.FINISHED}
    priced = [
        FrontCandidate(
            id=c.id, number=c.number, coupling="stem", curve=Curve.from_bytes(c.curve), costs=c.costs, boards={}
        )
        for c in candidates
    ]
    axis, points = front_points(priced, FrontQuery(objectives=("error", "macs")))
    assert axis == "macs"
    assert len(points) > 2


@pytest.mark.slow
def test_what_a_board_class_takes_is_counted_and_held_at_the_target():
    job, dataset = (
        spec({"name": "gradient", "evaluations": 1, "targets": [0.7]}, epochs=6),
        load(DatasetSpec(name="digits")),
    )
    space = PairSpace(load_definition("micro", couplings=["stem"]), channels=1, resolution=8, classes=10)
    rng = np.random.default_rng(0)
    halves = [h for _ in range(40) for h in halves_of(space.plan(space.sample(rng))).values()]
    cost = ClassCost(unit="ms on pi", predictor=fitted_predictor(halves, made_up_ms(halves)))
    reports = train(
        Supernet(space, seed=0),
        dataset,
        Splits.of(dataset, seed=0),
        train_config(job),
        evolution=evolution_of(job, cost=cost),
    )
    last = list(reports)[-1].learner
    [one] = TrajectoryStep.from_dict(last["trajectory"]["steps"][-1]).evolving.values()
    largest = space.plan(space.extreme("stem", largest=True))
    assert one.unit == "ms on pi"
    assert one.target_cost == pytest.approx(0.7 * sum(cost.halves(largest)))
    little, tail = cost.halves(space.plan(last["found"][0]))
    assert one.expected_cost == pytest.approx(little + one.escalation_rate * tail)
    assert one.expected_cost <= one.target_cost


@pytest.mark.slow
def test_every_epochs_event_tells_the_report_where_the_dimensions_stand():
    jobs = Jobs()
    for report in trained("coevolve")[2]:
        _announce(JOB, report, jobs)
    trajectory = trajectory_from(jobs.events)
    assert [step.epoch for step in trajectory.steps] == [1, 2, 3, 4]
    assert trajectory.steps[-1].evaluations == 4 + 8  # before epochs 2 and 4
    assert trajectory.expected("population", "big1_width")
