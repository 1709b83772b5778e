"""Which candidates are finished: those whose curves together cover most, best first, and none that adds nothing."""

from __future__ import annotations

import pytest

from cluster.finalists import choose_finalists, routing_options
from nas_service.candidate import Candidate, CandidateStatus
from nas_service.job import Finalists
from workers.routing.choice import Risk, RoutingOptions

OBJECTIVES = ("error", "macs")


def candidate(number: int, *points: tuple[float, float], status: CandidateStatus = CandidateStatus.FINISHED):
    return Candidate(
        id=f"c{number}",
        job_id="job-1",
        number=number,
        strategy_index=0,
        strategy="random",
        architecture={},
        phenotype=str(number),
        status=status,
        error="it failed" if status is CandidateStatus.FAILED else None,
        values=tuple({"error": error, "macs": macs, "threshold": 0.5} for error, macs in points),
        created_at=0.0,
    )


def chosen(*candidates: Candidate, count: int = 5) -> list[str]:
    return [c.id for c in choose_finalists(candidates, objectives=OBJECTIVES, count=count)]


BROAD = candidate(1, (10.0, 5.0), (5.0, 10.0))
CHEAP = candidate(2, (20.0, 1.0))
SURE = candidate(3, (1.0, 20.0))
WORSE = candidate(4, (11.0, 6.0), (20.0, 20.0))


def test_the_one_that_covers_most_comes_first():
    assert chosen(CHEAP, SURE, WORSE, BROAD, count=1) == ["c1"]


def test_the_next_are_those_that_add_to_it():
    assert sorted(chosen(CHEAP, SURE, WORSE, BROAD, count=3)) == ["c1", "c2", "c3"]


def test_one_that_others_dominate_is_not_finished_even_if_there_is_room():
    assert "c4" not in chosen(CHEAP, SURE, WORSE, BROAD)


def test_the_choice_does_not_depend_on_the_order():
    assert chosen(CHEAP, SURE, WORSE, BROAD) == chosen(BROAD, WORSE, SURE, CHEAP)


@pytest.mark.parametrize("status", [CandidateStatus.FAILED, CandidateStatus.EVALUATED, CandidateStatus.ASKED])
def test_only_finished_candidates_are_chosen(status):
    assert chosen(candidate(1, (1.0, 1.0), status=status), SURE) == ["c3"]


def test_without_anything_that_keeps_the_constraints_nobody_is_chosen():
    assert chosen(candidate(1)) == []


def test_none_are_chosen_if_none_are_wanted():
    assert chosen(BROAD, SURE, count=0) == []


def test_what_the_job_says_of_routing_reaches_the_bundle():
    assert routing_options(Finalists()) == RoutingOptions()
    wish = Finalists.model_validate({"temperature": False, "class_thresholds": True, "risk": {"epsilon": 0.02}})
    assert routing_options(wish) == RoutingOptions(
        temperature=False, class_thresholds=True, risk=Risk(epsilon=0.02, delta=0.05)
    )
