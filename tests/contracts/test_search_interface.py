"""The search interface, run as the contract writes it."""

from __future__ import annotations

import json

import pytest

from nas_service.search import SEARCHERS, make_searcher
from nas_service.space import ChoiceSpace

PROMISED = ("random", "nsga2", "evolution", "tpe", "linas", "auto")


def test_every_promised_method_is_there():
    assert set(PROMISED) <= set(SEARCHERS)


def test_the_contracts_lines_run_as_written():
    space = ChoiceSpace({"b0": [0, 1, 2], "b1": [0, 1, 2]})
    s = make_searcher("linas", space=space, objectives=("error", "mflops"), seed=0, budget=200)
    batch = s.ask(4)
    s.tell([(batch[2], {"error": 8.1, "mflops": 41.0})])
    s.tell(
        [
            (
                batch[0],
                [
                    {"error": 9.0, "mflops": 20.0, "threshold": 0.4},
                    {"error": 8.2, "mflops": 31.0, "threshold": 0.8},
                ],
            )
        ]
    )
    state = s.state_dict()
    s.load_state_dict(state)
    assert len(batch) == 4
    assert all(set(x) == {"b0", "b1"} for x in batch)


@pytest.mark.parametrize("name", PROMISED)
def test_a_method_asks_for_every_pair_once_then_for_fewer_then_for_none(name):
    space = ChoiceSpace({"b0": [0, 1, 2], "b1": [0, 1, 2]})
    s = make_searcher(name, space=space, objectives=("error", "mflops"), seed=0, budget=200)
    asked = []
    while batch := s.ask(4):
        asked += batch
        s.tell([(x, None if x["b0"] == 1 else {"error": 9.0 - x["b1"], "mflops": 1.0 + x["b0"]}) for x in batch])
    assert len(asked) == 9
    assert len({json.dumps(x, sort_keys=True) for x in asked}) == 9


@pytest.mark.parametrize("name", PROMISED)
def test_after_loading_what_was_in_flight_comes_first(name):
    space = ChoiceSpace({"b0": [0, 1, 2], "b1": [0, 1, 2]})

    def fresh():
        return make_searcher(name, space=space, objectives=("error", "mflops"), seed=0, budget=200)

    s, resumed = fresh(), fresh()
    batch = s.ask(4)
    s.tell([(batch[2], {"error": 8.1, "mflops": 41.0})])
    resumed.load_state_dict(json.loads(json.dumps(s.state_dict())))
    assert resumed.ask(3) == [batch[0], batch[1], batch[3]]
    assert resumed.ask(2) == s.ask(2)


@pytest.mark.parametrize("name", PROMISED)
def test_phenotypes_that_canonical_folds_together_are_asked_for_once(name):
    space = ChoiceSpace(
        {"b0": [0, 1, 2], "b1": [0, 1, 2]}, canonical=lambda x: {**x, "b1": 0} if x["b0"] == 0 else dict(x)
    )
    s = make_searcher(name, space=space, objectives=("error",), seed=1, budget=20)
    assert len(s.ask(100)) == 7
