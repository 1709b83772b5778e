"""Jobs of kind `compare`, and the audit after a search: drivers of their own under Ray, one of them killed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.audit_phase import sampled
from cluster.compare_job import epoch_seconds, session_spec, spec_of
from nas_service.candidate import CandidateStatus
from nas_service.comparison import Comparison
from nas_service.fidelity import audit
from nas_service.job import parse_job
from nas_service.job_state import JobState
from nas_service.report import collect, write_report
from nas_service.standings import Standings
from nas_service.strict_yaml import load_yaml
from tests.cluster.gateway.processes import wait_for
from tests.cluster.test_tune_job import DriverOnly, StoreSource, candidate, driver_alone

EXAMPLE = Path(__file__).resolve().parents[2] / "docs/examples/digits-compare.yaml"
PLAIN = {
    "dataset": {"name": "digits"},
    "space": {"preset": "micro", "couplings": ["stem"]},
    "supernet": {"epochs": 2, "batch_size": 64, "train_fraction": 0.5},
    "objectives": ["error", "macs"],
}
COMPARE = {"strategies": ["random", "nsga2", "tpe"], "seeds": 2, "evaluations": 5}
SEARCH = {
    "kind": "search", "name": "audited", "strategy": {"name": "random", "evaluations": 4},
    "finalists": {"count": 2, "fine_tune_epochs": 1, "audit": 2},
}  # fmt: skip


def test_the_example_of_the_docs_is_a_job():
    assert parse_job(load_yaml(EXAMPLE.read_text())).compare.total == 360


def test_a_search_during_training_sees_a_job_with_itself_as_its_only_strategy():
    spec = parse_job(
        {"kind": "compare", "name": "c", "compare": {**COMPARE, "strategies": ["gradient", "tpe"]}, **PLAIN}
    )
    entrant = spec.compare.entrants[0]
    assert [(s.name, s.evaluations) for s in spec_of(spec, entrant, evaluations=5).strategy] == [("gradient", 5)]
    assert session_spec(spec, spec.compare).strategy[0].evaluations == 21


def test_epochs_count_once_as_they_were_run_last_and_for_the_training_they_belong_to():
    own = [{"training": "gradient, seed 0", "figures": {"epoch": 1, "seconds": 5.0}}]
    shared = [{"epoch": 1, "seconds": 2.0}, {"epoch": 2, "seconds": 2.5}, {"epoch": 2, "seconds": 3.0}]
    assert epoch_seconds([*own, *shared], "") == {1: 2.0, 2: 3.0}
    assert epoch_seconds([*own, *shared], "gradient, seed 0") == {1: 5.0}


def test_the_pairs_of_an_audit_are_drawn_from_the_finished_and_are_the_same_after_a_kill():
    every = [candidate(n, 10.0, 1.0) for n in range(1, 21)]
    drawn = sampled(every, 5, seed=3)
    assert (
        [c.id for c in drawn] == [c.id for c in sampled(every, 5, seed=3)] != [c.id for c in sampled(every, 5, seed=4)]
    )
    assert len({c.id for c in drawn}) == 5
    assert len(sampled(every, 50, seed=0)) == 20


@pytest.fixture(scope="module")
def driver() -> Iterator[DriverOnly]:
    with driver_alone() as driven:
        yield driven


@pytest.fixture(scope="module")
def compared(driver: DriverOnly) -> str:
    """A comparison whose driver was killed once it had charged a few candidates."""
    job_id = driver.store.jobs.create(
        parse_job({"kind": "compare", "name": "compared", "compare": COMPARE, **PLAIN})
    ).id
    driver.start(job_id)
    wait_for("a few charges", lambda: Comparison.of(driver.store.jobs.history(job_id)).charged >= 4, timeout_s=300)
    driver.kill()
    driver.resume(job_id)
    assert driver.ended(job_id) is JobState.FINISHED
    return job_id


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
class TestWholeJob:
    """A driver under Ray, and what came of its jobs."""

    def test_every_run_has_its_budget_and_nothing_is_evaluated_or_counted_twice(self, driver, compared):
        events = driver.store.jobs.history(compared)
        charges = [(e.data["entrant"], e.data["candidate"]) for e in events if e.kind == "charge"]
        candidates = driver.store.candidates.list(compared)
        assert len(charges) == len(set(charges)) == 30
        assert {c.id for c in candidates} == {key for _, key in charges}
        assert {c.status for c in candidates} == {CandidateStatus.FINISHED}

    def test_the_report_has_ranks_intervals_and_every_charge(self, driver, compared, tmp_path):
        write_report(collect(StoreSource(driver.store), compared), tmp_path)
        rows = list(csv.DictReader((tmp_path / "comparison.csv").open()))
        standings = Standings(Comparison.of(driver.store.jobs.history(compared)), objectives=("error", "macs"))
        assert len(rows) == 30
        assert max(float(row["hypervolume"]) for row in rows) > 0
        assert sum(s.rank for s in standings.standings) == 6.0
        assert "## Ranks" in (tmp_path / "report.md").read_text()
        assert all(run.training.epochs == 2 for run in standings.comparison.runs.values())

    def test_a_search_is_audited_against_fine_tuning_and_training_alone(self, driver, compared):
        job_id = driver.store.jobs.create(parse_job({**SEARCH, **PLAIN})).id
        driver.start(job_id)
        assert driver.ended(job_id) is JobState.FINISHED
        found = audit(driver.store.candidates.list(job_id), driver.store.jobs.history(job_id))
        assert {a.against: a.tau.n for a in found.agreements} == {"fine-tuned": 2, "alone": 2}
        assert [s.cost for s in found.stayed] == ["macs"]
