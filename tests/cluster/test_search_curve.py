"""What the scalar log is told of a search: one entry for every evaluation that was spent."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from cluster.search_curve import SearchCurve
from nas_service.candidate import CandidateStatus
from tests.cluster.test_tune_job import candidate


def test_a_candidate_that_failed_counts_as_an_evaluation_and_brings_nothing():
    told = [candidate(n, 50.0 - n, 10.0 - n) for n in range(1, 7)]
    told[4] = replace(told[4], status=CandidateStatus.FAILED, error="its outputs are not finite", values=())
    logged = {}
    job = SimpleNamespace(
        job_id="j",
        store=SimpleNamespace(candidates=SimpleNamespace(list=lambda job_id: told)),
        scalars=SimpleNamespace(log=lambda step, figures: logged.update({step: figures})),
        spec=SimpleNamespace(objectives=("error", "macs")),
    )
    SearchCurve(job).update()
    assert list(logged) == [1, 2, 3, 4, 5, 6]
    assert logged[5]["search/hypervolume"] == logged[4]["search/hypervolume"] < logged[6]["search/hypervolume"]
    assert logged[6]["search/wall_seconds"] == 6.0
