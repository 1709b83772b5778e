"""Earlier jobs with the same supernet warm a searcher up; what does not compare is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas_service.curve import Curve
from nas_service.errors import InvalidRequestError
from nas_service.front_query import HalfCost
from nas_service.job_state import JobState
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from nas_service.store.job_record import Job
from nas_service.tune.warm import unfit_for_warm_start, warm_start
from nas_service.valuation import priced
from tests.nas_service.tune.fakes import JOB, FakeTrials, MemoryArchive, make_session, make_spec, run

SHA, OTHER = "a" * 64, "b" * 64
HASHES = {"test": "0" * 64}  # what the fake trials say
SPACE = PairSpace(MICRO, channels=1, resolution=8, classes=10)
NO_BOARD = {"objectives": ["error", "macs"]}


def warm_spec(**changes):
    return make_spec(**{"supernet": {"checkpoint": SHA}, "warm_start": ["old"], **changes})


def job(*, kind="search", artefact=SHA, **changes):
    spec = make_spec(**changes)
    return Job(
        id="old", name="old", kind=kind, state=JobState.FINISHED, spec=spec, spec_hash=spec.hash(), created_at=0.0,
        started_at=None, finished_at=None, message=None, progress=None, submission_id=None, stop_requested=False,
        heartbeat_at=None, artefacts={"supernet": artefact},
    )  # fmt: skip


def test_a_job_with_the_same_supernet_space_data_and_boards_fits():
    assert unfit_for_warm_start(warm_spec(), job()) is None


def test_a_job_that_used_the_same_checkpoint_fits_before_it_has_kept_it():
    began = replace(job(supernet={"checkpoint": SHA}), artefacts={})
    assert unfit_for_warm_start(warm_spec(), began) is None


@pytest.mark.parametrize(
    ("earlier", "text"),
    [
        (job(artefact=OTHER), f"with supernet {OTHER}, and this job's is {SHA}: their accuracies do not compare"),
        (job(kind="compare"), "is of kind 'compare'"),
        (job(space={"preset": "tiny"}), "has the space"),
        (job(router="margin"), "has the router margin but this job has msp"),
        (job(seed=3), "has the seed (which draws the validation images) 3 but this job has 0"),
        (job(**NO_BOARD), "measured nothing on pi, which this job's objectives or constraints need"),
    ],
)
def test_what_does_not_compare_is_refused_with_the_reason(earlier, text):
    assert text in unfit_for_warm_start(warm_spec(), earlier)


def searched():
    archive = MemoryArchive()
    run(make_session(make_spec(**NO_BOARD), archive, None), None, FakeTrials())
    return archive.list(JOB, with_curves=True)


def known(candidates, boards=None, **changes):
    fronts = [priced(c, Curve.from_bytes(c.curve), boards or {}) for c in candidates if c.curve]
    options = {"spec": warm_spec(**NO_BOARD), "space": SPACE, "split_hashes": HASHES}
    return warm_start(candidates, fronts, **{**options, **changes})


def test_a_searcher_is_told_of_earlier_candidates_by_the_new_jobs_measure():
    candidates = searched()
    told = known(candidates, spec=warm_spec(objectives=["error", "params"]))
    assert [x for x, _ in told] == [c.architecture for c in candidates]
    assert all({"error", "params", "threshold"} == set(point) for _, points in told for point in points)


def test_what_lacks_a_figure_or_was_estimated_or_is_not_over_is_left_out():
    first, second, *rest = searched()
    partial = replace(second, accuracies={**second.accuracies, "n": 5, "of": 20})
    boards = {"pi": {half: HalfCost(latency_ms=1.0) for half in ("little", "big")}}
    assert len(known([first, partial, *rest])) == len(rest) + 1
    assert known([first], spec=warm_spec()) == []
    assert len(known([first], boards, spec=warm_spec())) == 1


def test_what_does_not_meet_the_new_constraints_is_told_as_such_and_no_phenotype_twice():
    candidates = searched()
    told = known(candidates * 2, spec=warm_spec(**NO_BOARD, constraints={"worst_macs": 1.0}))
    assert [points for _, points in told] == [None] * len(candidates)


def test_other_images_under_the_same_name_are_refused():
    with pytest.raises(InvalidRequestError, match=f"or was scored on other images; leave {JOB} out"):
        known(searched(), split_hashes={"test": "1" * 64})


def test_a_warm_searcher_asks_for_nothing_that_is_known_and_a_resumed_one_is_not_told_again():
    warm = known(searched())
    archive, trials = MemoryArchive(), FakeTrials()
    spec = make_spec(**NO_BOARD)
    run(make_session(spec, archive, None, warm=warm), None, trials)
    phenotypes = {c.phenotype for c in archive.list(JOB)}
    assert len(phenotypes) == 6
    assert not phenotypes & {SPACE.phenotype(x) for x, _ in warm}
    events = archive.search_state(JOB, 0)["events"]
    assert [event[0] for event in events[:6]] == ["tell"] * 6
    make_session(spec, archive, None, warm=known(searched()[:1]))
    assert archive.search_state(JOB, 0)["events"] == events
