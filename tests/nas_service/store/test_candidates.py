from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nas_service.candidate import Candidate, CandidateStatus, Proposal
from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from nas_service.job import JobSpec
from nas_service.store import Store
from nas_service.store.jobs import Job

Propose = Callable[[int], tuple[dict[str, Any], str, dict[str, float], dict[str, str]]]


@pytest.fixture
def asked(store: Store, job: Job, propose: Propose) -> Candidate:
    return store.candidates.asked(job.id, 0, "random", [propose(1)])[0]


def finished(candidate: Candidate) -> Candidate:
    return replace(
        candidate,
        status=CandidateStatus.FINISHED,
        accuracies={"little": 80.0, "big": 92.5, "n": 360},
        curve=b"\x00npz\xff",
        measurements={"local": {"little": "c" * 64, "big": "d" * 64}},
        values=({"error": 7.5, "macs": 9000.0, "threshold": 0.4}, {"error": 20.0, "macs": 800.0, "threshold": "never"}),
        seconds={"evaluate": 1.5},
        split_hashes={"calibration": "e" * 64},
        finished_at=99.0,
    )


def test_what_is_asked_is_numbered_from_one_and_reads_back(store: Store, job: Job, propose: Propose) -> None:
    made = store.candidates.asked(job.id, 0, "random", [propose(1), propose(2)])
    more = store.candidates.asked(job.id, 1, "nsga2", [Proposal(*propose(3))])
    assert [c.id for c in made + more] == [f"{job.id}-{n:04d}" for n in (1, 2, 3)]
    assert (made[0].architecture, made[0].costs, made[0].status) == (
        {"gene": 1},
        {"params": 1.0},
        CandidateStatus.ASKED,
    )
    assert store.candidates.list(job.id) == made + more


def test_asking_again_for_a_phenotype_returns_the_first(store: Store, job: Job, propose: Propose) -> None:
    first = store.candidates.asked(job.id, 0, "random", [propose(1), propose(2)])
    again = store.candidates.asked(job.id, 1, "tpe", [propose(2), propose(3), propose(1), propose(3)])
    assert [c.number for c in again] == [2, 3, 1, 3]
    assert again[0] == first[1]
    assert again[0].strategy == "random"


def test_jobs_share_no_candidates(store: Store, job: Job, spec: JobSpec, propose: Propose) -> None:
    other = store.jobs.create(spec)
    store.candidates.asked(job.id, 0, "random", [propose(1)])
    assert [c.number for c in store.candidates.asked(other.id, 0, "random", [propose(1)])] == [1]


def test_a_batch_with_one_bad_proposal_leaves_none(store: Store, job: Job, propose: Propose) -> None:
    bad = ({"gene": 2}, "bad", {"params": float("inf")}, {})
    with pytest.raises(InvalidRequestError, match="a value cannot be stored"):
        store.candidates.asked(job.id, 0, "random", [propose(1), bad])
    assert store.candidates.list(job.id) == []


def test_a_candidate_is_finished_together_with_its_searcher(store: Store, asked: Candidate) -> None:
    store.candidates.finish(finished(asked), {"rng": [1, 2], "told": 1})
    assert store.candidates.get(asked.id) == finished(asked)
    assert store.candidates.search_state(asked.job_id, 0) == {"rng": [1, 2], "told": 1}


def test_a_refused_finish_leaves_the_searchers_state(store: Store, asked: Candidate) -> None:
    store.candidates.finish(finished(asked), {"told": 1})
    with pytest.raises(ConflictError):
        store.candidates.finish(replace(finished(asked), accuracies={"big": 99.0}), {"told": 2})
    assert store.candidates.search_state(asked.job_id, 0) == {"told": 1}


def test_finishing_what_is_not_over_is_refused(store: Store, asked: Candidate) -> None:
    with pytest.raises(InvalidRequestError, match=r"is asked but must be finished or failed to be finished"):
        store.candidates.finish(asked, {})


def test_search_states_belong_to_one_strategy_of_one_job(store: Store, job: Job) -> None:
    store.candidates.save_search_state(job.id, 0, {"a": 1})
    store.candidates.save_search_state(job.id, 0, {"a": 2})
    store.candidates.save_search_state(job.id, 1, {})
    states = [store.candidates.search_state(job.id, index) for index in range(3)]
    assert states == [{"a": 2}, {}, None]


def test_a_searchers_state_keeps_the_order_of_its_keys(store: Store, job: Job) -> None:
    store.candidates.save_search_state(job.id, 0, {"z": {"b": 1, "a": 2}, "a": 0.1 + 0.2})
    state = store.candidates.search_state(job.id, 0)
    assert state is not None
    assert (list(state), list(state["z"]), state["a"]) == (["z", "a"], ["b", "a"], 0.1 + 0.2)


@pytest.mark.parametrize("end", [CandidateStatus.FINISHED, CandidateStatus.FAILED])
def test_only_finalist_fields_of_a_candidate_that_is_over_change(
    store: Store, asked: Candidate, end: CandidateStatus
) -> None:
    over = replace(finished(asked), status=end, error="boom" if end is CandidateStatus.FAILED else None)
    store.candidates.finish(over, None)
    with pytest.raises(
        ConflictError, match=rf"is {end.value}, so its accuracies, values cannot change; only bundle_sh"
    ):
        store.candidates.update(replace(over, accuracies={"big": 99.9}, values=()))
    chosen = replace(over, finalist=True, bundle_sha256="f" * 64, final={"points": [1, 2]})
    store.candidates.update(chosen)
    assert store.candidates.get(asked.id) == chosen


def test_updating_with_the_same_is_harmless(store: Store, asked: Candidate) -> None:
    done = replace(finished(asked), final={"pair": (1, 2)})  # a tuple comes back as a list, which is the same
    store.candidates.finish(done, None)
    store.candidates.finish(done, None)
    assert store.candidates.get(asked.id).final == {"pair": [1, 2]}


def test_a_candidate_listed_without_its_curve_keeps_it_when_updated(store: Store, asked: Candidate) -> None:
    store.candidates.finish(finished(asked), None)
    [listed] = store.candidates.list(asked.job_id)
    assert listed.curve is None
    store.candidates.update(replace(listed, finalist=True))
    assert store.candidates.get(asked.id) == replace(finished(asked), finalist=True)
    assert store.candidates.list(asked.job_id, with_curves=True)[0].curve == b"\x00npz\xff"


def test_a_finished_curve_does_not_change(store: Store, asked: Candidate) -> None:
    store.candidates.finish(finished(asked), None)
    with pytest.raises(ConflictError, match="its curve cannot change"):
        store.candidates.update(replace(finished(asked), curve=b"other"))


@pytest.mark.parametrize(
    ("field", "value"), [("number", 7), ("architecture", {"gene": 2}), ("phenotype", "q"), ("strategy", "tpe")]
)
def test_what_a_candidate_is_never_changes(store: Store, asked: Candidate, field: str, value: object) -> None:
    with pytest.raises(ConflictError, match=f"{field} cannot change; ask for another candidate"):
        store.candidates.update(replace(asked, **{field: value}))


def test_a_candidate_never_goes_back(store: Store, asked: Candidate) -> None:
    store.candidates.update(replace(asked, status=CandidateStatus.EVALUATED))
    with pytest.raises(ConflictError, match="is evaluated and cannot become asked"):
        store.candidates.update(asked)


def test_lists_are_filtered_and_paged(store: Store, job: Job, propose: Propose) -> None:
    first = store.candidates.asked(job.id, 0, "random", [propose(n) for n in range(3)])
    store.candidates.asked(job.id, 1, "nsga2", [propose(n) for n in range(3, 5)])
    store.candidates.finish(replace(finished(first[1]), finalist=True), None)
    store.candidates.finish(replace(first[2], status=CandidateStatus.FAILED, error="out of memory"), None)

    def numbers(**filters: Any) -> list[int]:
        return [c.number for c in store.candidates.list(job.id, **filters)]

    assert numbers(status=CandidateStatus.FAILED) == [3]
    assert numbers(strategy=1) == numbers(strategy="nsga2") == [4, 5]
    assert (numbers(finalists=True), numbers(finalists=False)) == ([2], [1, 3, 4, 5])
    assert (numbers(after=1, limit=2), numbers(limit=0)) == ([2, 3], [])
    assert {s.value: n for s, n in store.candidates.count(job.id).items()} == {
        "asked": 3,
        "evaluated": 0,
        "finished": 1,
        "failed": 1,
    }


def test_what_a_caller_does_to_a_read_candidate_stays_with_the_caller(store: Store, asked: Candidate) -> None:
    store.candidates.get(asked.id).architecture["gene"] = 5
    asked.costs["params"] = 0.0
    assert store.candidates.get(asked.id).architecture == {"gene": 1}
    assert store.candidates.get(asked.id).costs == {"params": 1.0}


def test_a_proposal_that_its_maker_changes_later_changes_no_candidate(store: Store, job: Job) -> None:
    architecture = {"gene": 1}
    [made] = store.candidates.asked(job.id, 0, "random", [(architecture, "p", {}, {})])
    architecture["gene"] = 2
    assert made.architecture == store.candidates.get(made.id).architecture == {"gene": 1}


def test_what_does_not_exist_is_not_found(store: Store, asked: Candidate, propose: Propose) -> None:
    with pytest.raises(NotFoundError, match="no job 'nobody'"):
        store.candidates.asked("nobody", 0, "random", [propose(1)])
    with pytest.raises(NotFoundError, match="no job 'nobody'"):
        store.candidates.save_search_state("nobody", 0, {})
    with pytest.raises(NotFoundError, match="no candidate 'nobody'; `nas front JOB`"):
        store.candidates.get("nobody")
    with pytest.raises(NotFoundError, match="no candidate 'nobody'"):
        store.candidates.update(replace(asked, id="nobody"))
    assert store.candidates.list("nobody") == []
