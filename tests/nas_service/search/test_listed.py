from __future__ import annotations

import json

import pytest

from nas_service.choice_space import ChoiceSpace
from nas_service.errors import InvalidRequestError
from nas_service.search.listed import ListedSearcher

SPACE = ChoiceSpace({"a": [0, 1, 2], "b": [0, 1]}, canonical=lambda p: {**p, "b": 0} if p["a"] == 0 else p)
POINTS = [{"a": 2, "b": 1}, {"a": 0, "b": 1}, {"a": 0, "b": 0}, {"a": 1, "b": 0}]


def test_each_pair_is_asked_for_once_in_order():
    searcher = ListedSearcher(POINTS, space=SPACE)
    assert searcher.ask(2) == [{"a": 2, "b": 1}, {"a": 0, "b": 0}]
    assert searcher.ask(5) == [{"a": 1, "b": 0}]
    assert searcher.ask(1) == []


def test_what_was_in_flight_is_asked_for_again_after_loading():
    searcher = ListedSearcher(POINTS, space=SPACE)
    first = searcher.ask(3)
    searcher.tell([(first[1], {"error": 1.0})])
    again = ListedSearcher(POINTS, space=SPACE)
    again.load_state_dict(json.loads(json.dumps(searcher.state_dict())))
    assert again.ask(5) == [first[0], first[2]]


def test_what_is_known_from_elsewhere_is_not_asked_for():
    searcher = ListedSearcher(POINTS, space=SPACE)
    searcher.tell([({"a": 0, "b": 1}, None)])
    assert {"a": 0, "b": 0} not in searcher.ask(5)


def test_a_state_of_other_points_is_refused():
    with pytest.raises(InvalidRequestError, match="belongs to another list of points; train the supernet again"):
        ListedSearcher(POINTS, space=SPACE).load_state_dict(ListedSearcher(POINTS[:1], space=SPACE).state_dict())
