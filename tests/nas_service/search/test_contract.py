"""What every searcher promises, run over every member of SEARCHERS."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nas_service.choice_space import ChoiceSpace
from nas_service.errors import InvalidRequestError
from nas_service.search import make_searcher

SHORT = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rounds(searcher: Any, evaluate: Any, sizes: list[int]) -> list[dict[str, Any]]:
    """Ask and tell batches of these sizes; all that was asked."""
    asked = []
    for size in sizes:
        batch = searcher.ask(size)
        asked += batch
        searcher.tell([(x, evaluate(x)) for x in batch])
    return asked


def drained(searcher: Any, evaluate: Any, *, batch: int = 12, limit: int = 100) -> list[dict[str, Any]]:
    """Ask and tell until nothing comes any more."""
    asked: list[dict[str, Any]] = []
    for _ in range(limit):
        got = searcher.ask(batch)
        asked += got
        searcher.tell([(x, evaluate(x)) for x in got])
        if not got:
            return asked
    raise AssertionError(f"still asking after {len(asked)} points")


def restored(searcher: Any, fresh: Any) -> Any:
    """A fresh searcher with this one's state, after a trip through JSON text."""
    fresh.load_state_dict(json.loads(json.dumps(searcher.state_dict(), allow_nan=False)))
    return fresh


def keys(space: ChoiceSpace, xs: list[dict[str, Any]]) -> list[str]:
    return [space.phenotype(x) for x in xs]


class TestAsking:
    @pytest.mark.parametrize("size", [1, 2, 5, 16, 200])
    def test_a_batch_has_the_size_asked_for_while_the_space_lasts(self, make, size):
        assert len(make().ask(size)) == min(size, 144)

    def test_asking_for_none_gives_none(self, make):
        assert make().ask(0) == []

    @pytest.mark.parametrize("count", [-1, 1.5, "3", None, True])
    def test_a_count_that_is_no_number_of_points_is_refused(self, make, count):
        with pytest.raises(InvalidRequestError, match=r"`count` is .* but must be a whole number >= 0"):
            make().ask(count)

    def test_every_point_has_all_genes_with_their_own_types(self, make, space):
        for x in make().ask(30):
            assert list(x) == list(space().names)
            assert all(
                any(x[g] is v or (x[g] == v and type(x[g]) is type(v)) for v in vs) for g, vs in space().choices.items()
            )

    def test_what_the_caller_does_to_an_answer_changes_nothing(self, make, points):
        touched, left = make(), make()
        for _ in range(6):
            a, b = touched.ask(3), left.ask(3)
            assert a == b
            told = [(dict(x), points(x)) for x in a]
            for x in a:
                x["depth"] = 99
            touched.tell(told)
            left.tell(told)

    @SHORT
    @given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=6))
    def test_the_size_of_batches_does_not_change_what_is_asked(self, make, cuts):
        cut = make()
        assert [x for n in cuts for x in cut.ask(n)] == make().ask(sum(cuts))

    def test_the_seed_decides(self, make, points):
        first, again, other = (rounds(make(seed=s), points, [4] * 8) for s in (3, 3, 4))
        assert first == again
        assert first != other


class TestEachPhenotypeOnce:
    @pytest.mark.parametrize("batch", [7, 50])
    def test_the_whole_space_is_asked_once_and_then_nothing(self, make, space, anything, batch):
        searcher = make()
        asked = drained(searcher, anything, batch=batch)
        assert len(asked) == len(set(keys(space(), asked))) == 144
        assert searcher.ask(3) == []

    def test_without_any_result_the_whole_space_is_asked_once(self, make, space):
        searcher = make()
        asked = [x for _ in range(40) for x in searcher.ask(5)]
        assert len(set(keys(space(), asked))) == len(asked) == 144

    @pytest.mark.parametrize(
        ("canonical", "phenotypes"),
        [
            (lambda x: x if x["depth"] > 1 else x | {"width": 0.25, "kernel": 3}, 102),
            (lambda x: (x["depth"], x["op"]), 9),
            (lambda x: {"op": x["op"]}, 3),
            (lambda x: "all the same", 1),
        ],
        ids=["conditional genes", "a tuple", "a part", "everything"],
    )
    def test_folded_points_count_once(self, make, space, points, canonical, phenotypes):
        folding = space(canonical=canonical)
        asked = drained(make(folding), points)
        assert len(asked) == len(set(keys(folding, asked))) == phenotypes

    def test_a_vast_space_that_folds_to_three_ends(self, make):
        vast = ChoiceSpace({f"g{i}": list(range(10)) for i in range(15)}, canonical=lambda x: x["g0"] % 3)
        asked = drained(make(vast), lambda x: {"error": float(x["g0"]), "cost": 1.0})
        assert sorted(x["g0"] % 3 for x in asked) == [0, 1, 2]

    def test_a_rare_phenotype_of_a_vast_space_is_found_beside_a_known_one(self, make):
        vast = ChoiceSpace(
            {f"g{i}": list(range(10)) for i in range(8)},
            canonical=lambda x: sum(x.values()) if sum(x.values()) < 2 else "rest",
        )
        searcher = make(vast)
        searcher.tell([(dict.fromkeys(vast.names, 0), {"error": 1.0, "cost": 1.0})])
        asked = drained(searcher, lambda x: {"error": 2.0, "cost": float(sum(x.values()))})
        assert {min(sum(x.values()), 2) for x in asked} == {1, 2}

    def test_a_space_of_one_point(self, make):
        searcher = make(ChoiceSpace({"only": ["this"]}))
        assert searcher.ask(5) == [{"only": "this"}]
        assert searcher.ask(5) == []
        searcher.tell([({"only": "this"}, {"error": 1.0, "cost": 2.0})])
        assert searcher.ask(1) == []

    def test_forbidden_points_are_never_asked(self, make, space, points):
        narrow = space(feasible=lambda x: x["depth"] * x["width"] <= 0.5)
        asked = drained(make(narrow), points)
        assert {x["depth"] * x["width"] for x in asked} == {0.25, 0.5}
        assert len(asked) == 36

    @pytest.mark.parametrize("genes", [3, 14])
    def test_a_constraint_that_leaves_nothing_gives_nothing(self, make, genes):
        searcher = make(ChoiceSpace({f"g{i}": [0, 1, 2, 3] for i in range(genes)}, feasible=lambda x: False))
        assert searcher.ask(4) == searcher.ask(1) == []


class TestTelling:
    @pytest.mark.parametrize("count", [1, 2, 3, 4])
    def test_one_to_four_objectives(self, make, space, anything, count):
        asked = rounds(make(objectives=count), anything, [6] * 10)
        assert len(set(keys(space(), asked))) == 60

    @SHORT
    @given(order=st.randoms(use_true_random=False), late=st.integers(0, 6))
    def test_results_may_come_late_and_in_any_order(self, make, space, anything, order: random.Random, late):
        searcher, flying, asked = make(), [], []
        for _ in range(12):
            batch = searcher.ask(4)
            asked += batch
            flying += batch
            order.shuffle(flying)
            now, flying = flying[late:], flying[:late]
            searcher.tell([(x, anything(x)) for x in now])
        assert len(set(keys(space(), asked))) == 48

    @pytest.mark.parametrize("value", [None, {"error": math.inf, "cost": 1.0}, [{"error": 1.0, "cost": math.nan}]])
    def test_a_search_in_which_everything_fails_goes_on(self, make, space, value):
        asked = rounds(make(), lambda x: value, [5] * 12)
        assert len(set(keys(space(), asked))) == 60

    def test_results_that_are_all_equal_are_no_obstacle(self, make, space):
        asked = rounds(make(objectives=3), lambda x: {"error": 0.0, "cost": 0.0, "energy": 0.0}, [5] * 12)
        assert len(set(keys(space(), asked))) == 60

    def test_figures_of_any_size_are_no_obstacle(self, make, space, points):
        asked = rounds(
            make(), lambda x: {"error": points(x)["error"] * 1e12, "cost": -1e-12 * points(x)["cost"]}, [5] * 12
        )
        assert len(set(keys(space(), asked))) == 60

    def test_a_curve_of_32_points_is_taken_and_one_of_33_refused(self, make, curves):
        searcher = make()
        a, b = searcher.ask(2)
        searcher.tell([(a, curves(a, 32))])
        with pytest.raises(InvalidRequestError, match="a curve has 33 points but must have 1 to 32; thin it"):
            searcher.tell([(b, curves(b, 33))])

    def test_telling_the_same_again_changes_nothing(self, make, anything):
        twice, once = make(), make()
        for _ in range(6):
            batch = twice.ask(4)
            assert batch == once.ask(4)
            told = [(x, anything(x)) for x in batch]
            once.tell(told)
            twice.tell(told + told)
            twice.tell(told)
        assert twice.state_dict() == once.state_dict()

    @pytest.mark.parametrize(("first", "second"), [((1.0, 2.0), (1.0, 2.5)), (None, (1.0, 2.0)), ((1.0, 2.0), None)])
    def test_telling_another_outcome_is_refused(self, make, first, second):
        searcher = make()
        x = searcher.ask(1)[0]
        values = [None if v is None else {"error": v[0], "cost": v[1]} for v in (first, second)]
        searcher.tell([(x, values[0])])
        with pytest.raises(InvalidRequestError, match=r"was told as .* and now as .*; a candidate has one outcome"):
            searcher.tell([(x, values[1])])

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({"error": 1.0}, "lacks objective 'cost'"),
            ([{"error": 1.0, "cost": 1.0}, {"cost": 1.0}], "lacks objective 'error'"),
            ({"error": "low", "cost": 1.0}, "objective 'error' is 'low'; give a number"),
            ({"error": None, "cost": 1.0}, "objective 'error' is None"),
            ([], "a curve has 0 points but must have 1 to 32"),
            (3.0, "a result is 3.0; give a mapping"),
            ({"error": 1.0, "cost": 1.0, "threshold": "often"}, "threshold is 'often'; give a finite number"),
        ],
    )
    def test_a_malformed_value_is_refused_and_nothing_of_its_batch_is_kept(self, make, points, value, message):
        searcher = make()
        a, b = searcher.ask(2)
        before = searcher.state_dict()
        with pytest.raises(InvalidRequestError, match=message):
            searcher.tell([(a, points(a)), (b, value)])
        assert searcher.state_dict() == before

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"depth": 3}, r"gene 'depth' has value 3; choose one of \[1, 2, 4\]"),
            ({"colour": 1}, "unknown gene 'colour'"),
            ({"depth": [1]}, "gene 'depth' has value"),
        ],
    )
    def test_a_point_outside_the_space_is_refused(self, make, points, change, message):
        searcher = make()
        x = searcher.ask(1)[0]
        with pytest.raises(InvalidRequestError, match=message):
            searcher.tell([(x | change, points(x))])


class TestWarmStart:
    def test_points_told_unasked_are_never_asked(self, make, space, anything):
        known = list(space().enumerate())[::2]
        searcher = make()
        searcher.tell([(x, anything(x)) for x in known])
        asked = drained(searcher, anything)
        assert len(asked) == 72
        assert not set(keys(space(), asked)) & set(keys(space(), known))

    def test_points_may_be_told_unasked_at_any_time(self, make, space, anything):
        searcher, asked = make(), []
        for x in list(space().enumerate())[:24]:
            if space().phenotype(x) not in keys(space(), asked):
                searcher.tell([(x, anything(x))])
            batch = searcher.ask(2)
            asked += batch
            searcher.tell([(b, anything(b)) for b in batch])
        assert len(set(keys(space(), asked))) == 48


class TestResuming:
    @SHORT
    @given(before=st.lists(st.integers(1, 6), max_size=8), objectives=st.integers(1, 4))
    @example(before=[1, 3, 6, 1, 1], objectives=4)  # the last result is a failure: nothing new to learn from
    def test_a_loaded_search_goes_on_as_the_undisturbed_one(self, make, anything, before, objectives):
        undisturbed = make(objectives=objectives)
        rounds(undisturbed, anything, before)
        loaded = restored(undisturbed, make(objectives=objectives))
        assert rounds(loaded, anything, [3] * 8) == rounds(undisturbed, anything, [3] * 8)
        assert loaded.state_dict() == undisturbed.state_dict()

    def test_candidates_in_flight_come_first_and_then_the_same_as_undisturbed(self, make, anything):
        undisturbed = make()
        rounds(undisturbed, anything, [4] * 5)
        flying = undisturbed.ask(5)
        undisturbed.tell([(flying[3], anything(flying[3])), (flying[1], anything(flying[1]))])
        loaded = restored(undisturbed, make())
        assert loaded.ask(2) == [flying[0], flying[2]]
        assert loaded.ask(5) == [flying[4], *undisturbed.ask(4)]

    def test_a_candidate_told_after_loading_is_not_given_again(self, make, points):
        first = make()
        flying = first.ask(3)
        loaded = restored(first, make())
        loaded.tell([(flying[0], points(flying[0]))])
        assert loaded.ask(2) == flying[1:]

    def test_loading_twice_over_does_not_wear_out(self, make, anything):
        undisturbed = make()
        chained = make()
        for _ in range(6):
            assert rounds(chained, anything, [3]) == rounds(undisturbed, anything, [3])
            chained = restored(chained, make())

    def test_a_warm_start_and_late_results_survive(self, make, space, anything):
        undisturbed = make(budget=150)
        undisturbed.tell([(x, anything(x)) for x in list(space().enumerate())[::6]])
        flying = undisturbed.ask(9)
        rounds(undisturbed, anything, [2] * 6)
        undisturbed.tell([(x, anything(x)) for x in flying[::-2]])
        rounds(undisturbed, anything, [2] * 6)
        loaded = restored(undisturbed, make(budget=150))
        assert loaded.ask(8) == [*flying[1::2], *undisturbed.ask(4)]

    def test_the_end_of_the_space_survives(self, make, space, points):
        folding = space(canonical=lambda x: x["op"])
        used_up = make(folding)
        drained(used_up, points)
        assert restored(used_up, make(folding)).ask(4) == []

    def test_a_state_is_a_copy(self, make, anything):
        searcher = make()
        rounds(searcher, anything, [4])
        state = searcher.state_dict()
        before = json.dumps(state)
        rounds(searcher, anything, [4])
        assert json.dumps(state) == before

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("version", 99),
            ("name", "other"),
            ("seed", 7),
            ("budget", 5),
            ("objectives", ["error"]),
            ("space", {"a": [1]}),
        ],
    )
    def test_a_state_of_another_search_is_refused_naming_what_changed(self, make, points, key, value):
        searcher = make()
        rounds(searcher, points, [3])
        before = searcher.state_dict()
        with pytest.raises(InvalidRequestError, match=f"the state's {key} is"):
            searcher.load_state_dict(before | {key: value})
        assert searcher.state_dict() == before

    def test_a_damaged_state_is_refused_and_nothing_is_lost(self, make, points):
        searcher = make()
        rounds(searcher, points, [3])
        before = searcher.state_dict()
        with pytest.raises(InvalidRequestError, match="the state's events cannot be read"):
            searcher.load_state_dict(before | {"events": [["tell"]]})
        assert searcher.state_dict() == before


class TestMaking:
    def test_an_unknown_name_is_refused_with_the_known_ones(self, space):
        with pytest.raises(InvalidRequestError, match=r"unknown searcher 'nsga3'; choose one of: .*nsga2, random"):
            make_searcher("nsga3", space=space(), objectives=("error",), seed=0, budget=10)

    @pytest.mark.parametrize("objectives", [(), ("a",) * 2, tuple("abcde"), "error", ("threshold",), (1,)])
    def test_objectives_are_one_to_four_different_names(self, space, objectives):
        with pytest.raises(InvalidRequestError, match="objectives are"):
            make_searcher("random", space=space(), objectives=objectives, seed=0, budget=10)

    @pytest.mark.parametrize(("seed", "budget", "message"), [(-1, 10, "`seed` is -1"), (0, 0, "`budget` is 0")])
    def test_seed_and_budget_are_checked(self, space, seed, budget, message):
        with pytest.raises(InvalidRequestError, match=message):
            make_searcher("random", space=space(), objectives=("error",), seed=seed, budget=budget)
