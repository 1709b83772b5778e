from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nas_service.errors import InvalidRequestError
from tests.workers.bench.made import BUDGETS, as_of_format_1, finished_cell, outputs
from workers.bench.choices import SystemChoices, cautious, freeze_system, path_costs
from workers.bench.system import ExitCosts
from workers.protocol.outcomes import PathCosts

PAIR = ExitCosts(macs=(1e6, 3e6), params=10)
THREE = ExitCosts(macs=(1e6, 2e6, 3e6), params=10)


def held_out(*accuracies: float):
    return {split: outputs(240, accuracies=accuracies, seed=i) for i, split in enumerate(("validation", "calibration"))}


@pytest.mark.parametrize(("costs", "accuracies"), [(PAIR, (0.7, 0.9)), (THREE, (0.6, 0.7, 0.9)), (None, (0.8,))])
def test_choices_survive_json_with_the_same_digest(costs, accuracies):
    costs = costs or ExitCosts(macs=(2e6,), params=10)
    choices = freeze_system("x-s0", held_out(*accuracies), costs=costs, budgets=BUDGETS)
    again = SystemChoices.from_dict(json.loads(json.dumps(choices.to_dict())))
    assert again.sha256 == choices.sha256
    assert again.router == choices.router


def test_a_pair_has_choices_under_every_router_and_the_best_on_validation_is_chosen():
    choices = freeze_system("x-s0", held_out(0.7, 0.9), costs=PAIR, budgets=BUDGETS)
    assert [c.router for c in choices.routers] == ["msp", "margin", "entropy", "learned", "random"]
    areas = choices.validation_areas
    assert "random" not in areas
    assert areas[choices.router] == max(areas.values())


def test_the_learned_router_read_back_scores_as_the_fitted_one():
    choices = freeze_system("x-s0", held_out(0.7, 0.9), costs=PAIR, budgets=BUDGETS)
    again = SystemChoices.from_dict(json.loads(json.dumps(choices.to_dict())))
    logits = outputs(50, accuracies=(0.7, 0.9), seed=9)
    scores = [c.learned.router().scores(_tensor(logits.logits[0])) for c in (choices, again)]
    assert np.array_equal(*scores)


def test_choices_depend_on_calibration_and_validation_alone_whatever_else_is_given():
    given = held_out(0.7, 0.9)
    poisoned = {**given, "test": outputs(240, accuracies=(0.1, 0.1), seed=5)}
    digests = {freeze_system("x-s0", g, costs=PAIR, budgets=BUDGETS).sha256 for g in (given, poisoned)}
    assert len(digests) == 1


def test_choices_of_the_format_before_keep_their_digest_and_lack_what_it_did_not_know(tmp_path):
    folder = finished_cell(tmp_path, "ours", accuracies=(0.7, 0.9), macs=(1e6, 3e6))
    as_of_format_1(folder)
    [opening] = folder.read_json("openings.json")
    choices = SystemChoices.from_dict(folder.read_json("choices.json"))
    assert choices.sha256 == opening["choices_sha256"]
    assert (choices.by_class, choices.on_easy) == (None, None)


def test_other_calibration_outputs_give_other_choices():
    given = held_out(0.7, 0.9)
    other = {**given, "calibration": outputs(240, accuracies=(0.7, 0.9), seed=6)}
    digests = {freeze_system("x-s0", g, costs=PAIR, budgets=BUDGETS).sha256 for g in (given, other)}
    assert len(digests) == 2


def test_a_budget_leaves_room_for_the_spread_of_the_realised_rate():
    costs = PathCosts(little=1e6, tail=2e6, big=3e6)
    drawn = np.random.default_rng(0)
    budget, n = 2e6, 1000
    spent = cautious(budget, costs=costs, n=n)
    rate = (spent - costs.little) / costs.tail
    calibrated = drawn.binomial(n, rate, 4000) / n - rate  # the threshold's own error
    realised = costs.expected_all(drawn.binomial(n, rate, 4000) / n + calibrated)
    assert spent < budget
    assert 0.93 < (realised <= 1.01 * budget).mean() < 0.97


def test_a_budget_that_pays_for_everything_is_spent_whole():
    assert cautious(9e6, costs=PathCosts(little=1e6, tail=2e6, big=3e6), n=100) == 9e6


def test_only_a_learned_router_costs_macs():
    assert path_costs(PAIR, router="msp").router == 0
    assert path_costs(PAIR, router="learned").router > 0


def test_costs_of_another_number_of_exits_are_refused():
    with pytest.raises(InvalidRequestError, match="x-s0 has 2 exits but MACs of 3; mend its costs"):
        freeze_system("x-s0", held_out(0.7, 0.9), costs=THREE, budgets=BUDGETS)


def test_choices_of_another_format_are_refused():
    choices = freeze_system("x-s0", held_out(0.8), costs=ExitCosts(macs=(2e6,), params=1), budgets=())
    with pytest.raises(InvalidRequestError, match="choices of format 9 but this code reads 1 and 2; use"):
        SystemChoices.from_dict(replace(choices, version=9).to_dict())


def _tensor(values):
    import torch

    return torch.from_numpy(values)
