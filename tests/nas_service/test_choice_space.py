from __future__ import annotations

import json

import numpy as np
import pytest

from nas_service.choice_space import ChoiceSpace
from nas_service.errors import InvalidRequestError, NasError

CHOICES = {"depth": [1, 2, 4], "op": ["conv", "pool"], "rate": [0.25, 1.0], "skip": [False, True]}


def shallow(x):
    return x if x["depth"] > 1 else x | {"op": "conv"}


def test_names_choices_and_size_are_those_given():
    space = ChoiceSpace(CHOICES)
    assert space.names == ("depth", "op", "rate", "skip")
    assert space.choices["depth"] == (1, 2, 4)
    assert space.size == 24


def test_the_size_of_a_vast_space_is_exact():
    assert ChoiceSpace({f"g{i}": range(10) for i in range(30)}).size == 10**30


def test_encode_and_decode_are_inverses_over_the_whole_space():
    space = ChoiceSpace(CHOICES)
    points = list(space.enumerate())
    assert len({space.phenotype(x) for x in points}) == 24
    assert all(space.decode(space.encode(x)) == x for x in points)


def test_numpy_values_become_plain_ones():
    space = ChoiceSpace({"a": np.array([1, 2]), "b": [np.float64(0.5)]})
    assert json.loads(space.phenotype({"a": np.int64(2), "b": 0.5})) == {"a": 2, "b": 0.5}


def test_the_order_of_genes_in_a_point_does_not_matter():
    space = ChoiceSpace(CHOICES)
    x = space.sample(np.random.default_rng(0))
    assert space.phenotype(dict(reversed(x.items()))) == space.phenotype(x)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "a space without genes"),
        ({"a": []}, "gene 'a' has no choices"),
        ({"a": [1, 2, 1]}, "gene 'a' has the choice 1 twice"),
        ({"a": [1, True]}, "gene 'a' has the choice True twice"),
        ({"a": "abc"}, "gene 'a' has choices 'abc'; give a list"),
        ({"a": 3}, "gene 'a' has choices 3; give a list"),
        ({"a": [None]}, "gene 'a' has the choice None"),
        ({"a": [float("nan")]}, "gene 'a' has the choice nan"),
        ({"": [1]}, "gene name '' is not text"),
    ],
)
def test_choices_that_make_no_space_are_refused(choices, message):
    with pytest.raises(InvalidRequestError, match=message) as caught:
        ChoiceSpace(choices)
    assert isinstance(caught.value, NasError)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"depth": 1}, "lacks gene 'op'"),
        ({"depth": 3, "op": "conv", "rate": 1.0, "skip": True}, r"gene 'depth' has value 3; choose one of \[1, 2, 4\]"),
        ({"depth": 1, "op": "conv", "rate": 1.0, "skip": True, "x": 1}, "unknown gene 'x'"),
        ([1, 2], "is not a mapping"),
    ],
)
def test_a_point_outside_the_space_is_refused_and_not_contained(x, message):
    space = ChoiceSpace(CHOICES)
    assert not space.contains(x)
    with pytest.raises(InvalidRequestError, match=message):
        space.phenotype(x)


def test_inactive_genes_are_folded():
    space = ChoiceSpace(CHOICES, canonical=shallow)
    a = {"depth": 1, "op": "pool", "rate": 1.0, "skip": True}
    b = a | {"op": "conv"}
    assert space.phenotype(a) == space.phenotype(b)
    assert space.fold(a) == b
    assert len({space.phenotype(x) for x in space.enumerate()}) == 20


@pytest.mark.parametrize(
    "canonical",
    [lambda x: (x["depth"],), lambda x: {"depth": x["depth"]}, lambda x: x | {"depth": 99}, lambda x: {"s", x["op"]}],
    ids=["tuple", "part", "illegal", "set"],
)
def test_a_canonical_form_that_is_no_point_leaves_the_point_as_it_is(canonical):
    x = {"depth": 2, "op": "pool", "rate": 1.0, "skip": True}
    assert ChoiceSpace(CHOICES, canonical=canonical).fold(x) == x


def test_folding_never_leaves_the_phenotype():
    """A canonical that maps depth round in a circle would lead a naive fold from one phenotype to another."""
    space = ChoiceSpace({"depth": [0, 1, 2]}, canonical=lambda x: {"depth": (x["depth"] + 1) % 3})
    assert all(space.phenotype(space.fold(x)) == space.phenotype(x) for x in space.enumerate())


def test_a_canonical_form_that_json_cannot_hold_is_refused():
    space = ChoiceSpace(CHOICES, canonical=lambda x: object())
    with pytest.raises(InvalidRequestError, match="which JSON cannot hold"):
        space.phenotype(next(space.enumerate()))


def test_canonical_cannot_change_the_point_it_is_given():
    def greedy(x):
        x["depth"] = 1
        return x

    x = {"depth": 4, "op": "conv", "rate": 1.0, "skip": True}
    ChoiceSpace(CHOICES, canonical=greedy).phenotype(x)
    assert x["depth"] == 4


def test_constraints_are_asked_by_point():
    space = ChoiceSpace(CHOICES, feasible=lambda x: x["depth"] < 4)
    assert [space.is_feasible(x | {"depth": d}) for x in [next(space.enumerate())] for d in (1, 2, 4)] == [
        True,
        True,
        False,
    ]


def test_neighbours_differ_in_exactly_one_gene():
    space = ChoiceSpace(CHOICES)
    x = next(space.enumerate())
    near = list(space.neighbours(x))
    assert len(near) == 2 + 1 + 1 + 1
    assert all(sum(y[g] != x[g] for g in x) == 1 for y in near)


def test_a_mutation_changes_something_and_stays_in_the_space():
    space, rng = ChoiceSpace(CHOICES), np.random.default_rng(0)
    x = space.sample(rng)
    mutants = [space.mutate(x, rng) for _ in range(300)]
    assert all(space.contains(y) and y != x for y in mutants)
    assert {g for y in mutants for g in x if y[g] != x[g]} == set(CHOICES)


def test_a_point_that_cannot_change_is_its_own_mutation():
    assert ChoiceSpace({"a": [1]}).mutate({"a": 1}, np.random.default_rng(0)) == {"a": 1}


def test_a_numeric_gene_moves_to_its_neighbours_more_often_than_afar():
    space, rng = ChoiceSpace({"a": list(range(11))}), np.random.default_rng(0)
    steps = [abs(int(space.mutate({"a": 5}, rng)["a"]) - 5) for _ in range(400)]
    assert 200 < steps.count(1) < 300


def test_a_child_takes_every_gene_from_a_parent():
    space, rng = ChoiceSpace(CHOICES), np.random.default_rng(0)
    a, b = (dict(zip(CHOICES, v, strict=True)) for v in [(1, "conv", 0.25, False), (4, "pool", 1.0, True)])
    children = [space.crossover(a, b, rng) for _ in range(400)]
    assert all(y[g] in (a[g], b[g]) for y in children for g in y)
    assert len({space.phenotype(y) for y in children}) == 16


def test_listing_is_lazy():
    listing = ChoiceSpace({f"g{i}": range(10) for i in range(30)}).enumerate()
    assert next(listing) == {f"g{i}": 0 for i in range(30)}
    assert next(listing)["g29"] == 1
