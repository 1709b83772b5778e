from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.protocol.systems import latent
from workers.protocol.answers import Answers
from workers.protocol.area import normalised_area
from workers.protocol.exit_area import exit_area, oracle_curve
from workers.protocol.exits import ExitOutcomes, ExitSweep
from workers.protocol.thinking import Thinking

COSTS = np.array([1.0, 2.0, 4.0])


def drawn(n: int, *, seed: int, sure: float = 1.0) -> ExitOutcomes:
    """Three exits of rising accuracy; scores follow correctness as far as `sure` says."""
    rng = np.random.default_rng(seed)
    correct = rng.random((3, n)) < np.array([[0.6], [0.75], [0.9]])
    return ExitOutcomes(scores=sure * correct + rng.random((3, n)), correct=correct)


def area(outcomes: ExitOutcomes, costs=COSTS) -> float | None:
    applied = ExitSweep.freeze(outcomes).apply(outcomes, costs=costs)
    return exit_area(outcomes, applied, costs=costs)


def test_of_two_exits_it_is_the_pairs():
    pair = latent(4000, seed=0)
    both = np.stack([pair.little_correct, pair.escalated_correct])
    made = ExitOutcomes(scores=np.stack([pair.scores, pair.scores]), correct=both)
    assert area(made, np.array([10.0, 100.0])) == pytest.approx(normalised_area(pair), abs=0.02)


def test_scores_that_know_nothing_are_random_and_better_ones_lie_higher():
    areas = [area(drawn(6000, seed=0, sure=sure)) for sure in (0.0, 0.5, 2.0)]
    assert -0.1 < areas[0] < 0.02  # below the hull, since the shares of exits mix its ends with its middle
    assert areas[0] < areas[1] < areas[2] < 1


def test_the_oracle_is_the_best_of_all_ways_to_spend_so_much():
    correct = np.array([[0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]], dtype=bool)
    cost, accuracy = oracle_curve(correct, costs=COSTS)
    assert (cost[0], cost[-1]) == (1.0, 4.0)
    for way in product(range(3), repeat=4):
        answers = Answers(correct=correct, taken=np.array(way), costs=COSTS)
        assert answers.right.mean() <= np.interp(answers.cost.mean(), cost, accuracy) + 1e-9


def test_the_oracle_is_concave_and_ends_where_all_leave_last():
    made = drawn(500, seed=1)
    cost, accuracy = oracle_curve(made.correct, costs=COSTS)
    slopes = np.diff(accuracy) / np.diff(cost)
    assert (np.diff(slopes) <= 1e-9).all()
    assert accuracy[-1] == pytest.approx(made.anytime()[-1])


def test_where_all_exits_answer_alike_there_is_nothing_to_rank():
    correct = np.tile(np.arange(20) % 2 == 0, (3, 1))
    made = ExitOutcomes(scores=np.random.default_rng(0).random((3, 20)), correct=correct)
    assert area(made) is None


def test_costs_of_another_number_of_exits_are_refused():
    made = drawn(20, seed=0)
    applied = ExitSweep.freeze(made).apply(made, costs=COSTS)
    with pytest.raises(InvalidRequestError, match="2 costs for 3 exits"):
        exit_area(made, applied, costs=COSTS[:2])


def test_thinking_of_three_exits_by_hand():
    # left at:                 1  0  1  2  0  2  1
    correct = np.array([[1, 0, 0, 0, 1, 0, 0],
                        [0, 0, 1, 0, 1, 1, 0],
                        [1, 1, 0, 0, 0, 0, 1]], dtype=bool)  # fmt: skip
    found = Thinking.of(Answers(correct=correct, taken=np.array([1, 0, 1, 2, 0, 2, 1]), costs=COSTS))
    sevenths = {name: round(7 * share) for name, share in found.to_dict().items()}
    assert sevenths == {"over": 2, "destructive": 2, "under": 2, "futile": 1, "useful": 1}


@pytest.mark.parametrize("taken", [np.array([0, 3]), np.array([0, -1]), np.array([0])])
def test_exits_that_do_not_exist_are_refused(taken):
    with pytest.raises(InvalidRequestError, match="below E"):
        Answers(correct=np.ones((3, 2), dtype=bool), taken=taken, costs=COSTS)
