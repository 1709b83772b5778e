"""What an audit is drawn from, and how well it says that costs were predicted: by what the search itself went by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cluster.audit_phase import predictors, sampled
from edge_agent.records import Artifact
from nas_service.candidate import PREDICTED, Candidate, CandidateStatus
from nas_service.chosen_pairs import chosen_pairs
from nas_service.measurement import MeasurementRequest
from nas_service.pair_space import PairSpace
from nas_service.presets import MICRO
from tests.nas_service.tune.fakes import FakeBoards, make_spec

SPACE = PairSpace(MICRO, channels=1, resolution=8, classes=10)
MODEL = Artifact(sha256="0" * 64, size_bytes=10)
SPEC = make_spec(measurement={"tier": "probe", "only": "promising"})


def candidate(number: int, **changes: Any) -> Candidate:
    point = SPACE.extreme("stem", largest=False)
    return Candidate(
        id=f"j-{number}", job_id="j", number=number, strategy_index=0, strategy="random", architecture=point,
        phenotype=str(number), status=CandidateStatus.FINISHED, created_at=0.0, **changes,
    )  # fmt: skip


def boards_with_a_table(pairs: int) -> FakeBoards:
    boards = FakeBoards()
    for plan in chosen_pairs(SPACE, pairs):
        structures = plan.structures("msp")
        boards.request(
            [
                MeasurementRequest(
                    structure_key=structures[half], board_class="pi", tier="probe", half=half, job_id="table",
                    model=MODEL, settings=boards.settings("pi"),
                )
                for half in ("little", "big")
            ]
        )  # fmt: skip
    boards.work()
    return boards


def test_candidates_whose_evaluation_ended_early_are_not_trained_alone():
    whole, early = {"little": 60.0, "big": 80.0, "n": 100, "of": 100}, {"little": 60.0, "big": 80.0, "n": 20, "of": 100}
    every = [candidate(n, accuracies=early if n % 2 else whole) for n in range(1, 9)]
    assert [c.number for c in sampled(every, 8, seed=0)] == [2, 4, 6, 8]


def test_a_predictor_is_audited_with_the_table_that_the_search_learnt_from():
    boards = boards_with_a_table(15)
    [(message, data)] = predictors(SPEC, space=SPACE, candidates=[], measurer=boards)
    assert data["objective"] == "latency_ms@pi"
    assert data["halves"] == len(boards.measured) > 20
    assert "0 candidates were not measured because of it" in message


def test_what_was_told_by_prediction_counts_as_used_however_good_the_prediction_is_in_the_end():
    told = candidate(1, values=({"error": 1.0, "latency_ms@pi": 2.0, "threshold": 0.5, PREDICTED: "pi"},))
    boards = boards_with_a_table(15)
    [(_, unused)] = predictors(SPEC, space=SPACE, candidates=[replace(told, values=())], measurer=boards)
    [(_, used)] = predictors(SPEC, space=SPACE, candidates=[told], measurer=boards)
    assert (unused["used"], unused["spared"]) == (False, 0)
    assert (used["used"], used["spared"]) == (True, 1)
