"""A driver that is killed at a random moment, at concurrency 1: its archive is that of one that was left alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from nas_service.curve import Curve
from nas_service.job import parse_job
from nas_service.job_state import JobState
from tests.cluster.gateway.processes import wait_for
from tests.cluster.test_tune_job import DriverOnly, driver_alone

CANDIDATES = 40
SEARCH = {
    "kind": "search",
    "name": "same archive",
    "dataset": {"name": "digits"},
    "space": {"preset": "micro"},
    "supernet": {"epochs": 1, "batch_size": 64, "train_fraction": 0.5},
    "strategy": {"name": "auto", "evaluations": CANDIDATES, "concurrency": 1},
    "resources": {"evaluators": {"count": 1}},
    "objectives": ["error", "macs"],
    "finalists": {"count": 0},
    "seed": 0,
}


@pytest.fixture(scope="module")
def driver() -> Iterator[DriverOnly]:
    with driver_alone() as driven:
        yield driven


def submitted(driver: DriverOnly, **changes: Any) -> str:
    job_id = driver.store.jobs.create(parse_job({**SEARCH, **changes})).id
    driver.start(job_id)
    return job_id


def over(driver: DriverOnly, job_id: str) -> int:
    return sum(c.over for c in driver.store.candidates.list(job_id))


def archive(driver: DriverOnly, job_id: str) -> list[tuple[Any, ...]]:
    """Everything that the search decided and was told; times and ids are the run's own."""
    return [
        (c.number, c.phenotype, c.status, c.architecture, c.accuracies, *_columns(c.curve), c.values)
        for c in driver.store.candidates.list(job_id, with_curves=True)
    ]


def _columns(curve: bytes) -> tuple[list[Any], ...]:
    decoded = Curve.from_bytes(curve)  # the file's bytes hold the time at which it was written
    return decoded.thresholds.tolist(), decoded.escalated.tolist(), decoded.correct.tolist()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_search_that_was_killed_at_a_random_moment_ends_with_the_archive_of_one_that_was_not(driver):
    undisturbed = submitted(driver)
    assert driver.ended(undisturbed) is JobState.FINISHED
    expected = archive(driver, undisturbed)
    checkpoint = driver.store.jobs.get(undisturbed).artefacts["supernet"]
    whole = driver.store.candidates.list(undisturbed)
    lasted_s = max(c.finished_at for c in whole) - min(c.created_at for c in whole)

    rng = np.random.default_rng()
    least, moment_s = int(rng.integers(1, CANDIDATES // 2)), float(rng.uniform(0, lasted_s / CANDIDATES))
    killed = submitted(driver, supernet={"checkpoint": checkpoint, "train_fraction": 0.5})
    wait_for(f"{least} candidates", lambda: over(driver, killed) >= least, timeout_s=200)
    time.sleep(moment_s)
    driver.kill()
    told = over(driver, killed)
    assert told < CANDIDATES, "the kill came too late to disturb anything"
    driver.resume(killed)
    assert driver.ended(killed) is JobState.FINISHED

    assert len(expected) == CANDIDATES
    assert archive(driver, killed) == expected, f"killed {moment_s:.3f} s after {least} candidates, {told} told"
