"""Small spaces and made-up evaluations that the searchers' tests share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from nas_service.choice_space import ChoiceSpace
from nas_service.search import SEARCHERS, Searcher, make_searcher

OBJECTIVES = ("error", "cost", "energy", "memory")


def mixed_space(**functions: Any) -> ChoiceSpace:
    """144 points over numbers, text and booleans."""
    return ChoiceSpace(
        {
            "depth": [1, 2, 4],
            "width": [0.25, 0.5, 0.75, 1.0],
            "op": ["a", "b", "c"],
            "skip": [False, True],
            "kernel": [3, 5],
        },
        **functions,
    )


def measure(x: dict[str, Any]) -> dict[str, float]:
    """Four objectives that pull apart, a smooth function of the point."""
    size = x["depth"] * x["width"] * (x["kernel"] / 3) * {"a": 1.0, "b": 1.5, "c": 0.7}[x["op"]]
    error = 10 / (1 + size) + (0.5 if x["skip"] else 0.0) + {"a": 0.0, "b": 0.4, "c": 0.9}[x["op"]]
    return {"error": error, "cost": size, "energy": size**1.2 + x["depth"], "memory": 5 * x["width"] + x["kernel"]}


def curve(x: dict[str, Any], points: int = 5) -> list[dict[str, Any]]:
    """A curve between a cheap and a dear version of the point."""
    full = measure(x)
    steps = [i / max(points - 1, 1) for i in range(points)]
    return [
        {"threshold": s, "error": full["error"] * (1.4 - 0.4 * math.sqrt(s)), "cost": full["cost"] * (0.4 + 0.6 * s)}
        | {"energy": full["energy"] * (0.5 + 0.5 * s), "memory": full["memory"]}
        for s in steps
    ]


def evaluate(x: dict[str, Any]) -> Any:
    """Every way to be told, chosen by the point alone: failed, NaN, a single point, a curve."""
    kind = sum(map(ord, repr(sorted(x.items())))) % 7
    if kind == 0:
        return None
    if kind == 1:
        return measure(x) | {"error": math.nan}
    return curve(x) if kind in (2, 3) else measure(x)


@pytest.fixture(params=sorted(SEARCHERS))
def name(request: pytest.FixtureRequest) -> str:
    """Each searcher's name in turn."""
    return str(request.param)


@pytest.fixture
def make(name: str) -> Callable[..., Searcher]:
    """Makes this searcher; two objectives, seed 0 and budget 40 unless told otherwise."""

    def build(space: ChoiceSpace | None = None, *, objectives: int = 2, seed: int = 0, budget: int = 40) -> Searcher:
        return make_searcher(name, space or mixed_space(), objectives=OBJECTIVES[:objectives], seed=seed, budget=budget)

    return build


@pytest.fixture
def space() -> Callable[..., ChoiceSpace]:
    """Makes the mixed space, with canonical or feasible if given."""
    return mixed_space


@pytest.fixture
def points() -> Callable[[dict[str, Any]], Any]:
    """One mapping of objectives per point."""
    return measure


@pytest.fixture
def curves() -> Callable[..., list[dict[str, Any]]]:
    """A curve per point."""
    return curve


@pytest.fixture
def anything() -> Callable[[dict[str, Any]], Any]:
    """Failures, NaNs, single points and curves, by the point."""
    return evaluate


DEAR_METHODS = ("auto", "evolution", "linas", "tpe")
DEAR_TESTS = (
    "test_the_whole_space_is_asked_once_and_then_nothing",
    "test_without_any_result_the_whole_space_is_asked_once",
    "test_folded_points_count_once",
    "test_forbidden_points_are_never_asked",
    "test_results_may_come_late_and_in_any_order",
    "test_a_search_in_which_everything_fails_goes_on",
    "test_results_that_are_all_equal_are_no_obstacle",
    "test_figures_of_any_size_are_no_obstacle",
    "test_a_loaded_search_goes_on_as_the_undisturbed_one",
    "test_the_end_of_the_space_survives",
    "test_points_may_be_told_unasked_at_any_time",
    "test_points_told_unasked_are_never_asked",
    "test_a_batch_has_the_size_asked_for_while_the_space_lasts",
    "test_a_method_finds_more_than_chance_does",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the dear methods' long tests to the slow part; the fast part holds every method to the rest."""
    for item in items:
        name, _, parameters = item.name.partition("[")
        if name in DEAR_TESTS and any(method in parameters for method in DEAR_METHODS):
            item.add_marker(pytest.mark.slow)
