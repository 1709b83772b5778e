from __future__ import annotations

import importlib.metadata
import importlib.util
import json

import numpy as np
import pytest

from cluster.benchmarks import searching
from cluster.benchmarks.peers import PEERS
from cluster.benchmarks.table import SearchTable, cells, stages
from cluster.benchmarks.tables.nets import CellNetwork, Digits, cell_macs, working
from nas_service.choice_space import ChoiceSpace

SPACE = ChoiceSpace({"depth": [1, 2, 3, 4], "width": [8, 16, 24, 32], "op": ["a", "b", "c"]})


@pytest.fixture
def table():
    """48 points whose error falls with their cost; every fifth is a curve of two."""
    outcomes = []
    for i, x in enumerate(SPACE.enumerate()):
        cost = float(x["depth"] * x["width"] + 3 * ord(x["op"]) - 288)
        curve = np.array([[100 / cost, cost], [60 / cost, 2 * cost]])
        outcomes.append(curve if i % 5 == 0 else curve[:1])
    return SearchTable(name="made up", space=SPACE, objectives=("error", "macs"), outcomes=outcomes)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(searching, "MOMENTS", (8, 16, 24))
    monkeypatch.setattr(searching, "TRIES", 48)


@pytest.mark.parametrize("name", sorted(PEERS))
def test_a_peer_finds_more_and_more_of_the_front(table, short, name):
    early, middle, late = searching.peer_regrets(name, table, 0)
    assert 1 > early >= middle >= late >= 0
    assert late < early or early == 0


@pytest.mark.parametrize("name", sorted(PEERS))
def test_a_peer_proposes_points_of_the_space(table, name):
    search, proposed = PEERS[name](SPACE, 2, 0), []
    point = next(search)
    for _ in range(45):
        proposed.append(SPACE.decode(point))
        point = search.send(table.curve(point)[0])
    assert all(SPACE.contains(x) for x in proposed)
    assert len({SPACE.phenotype(x) for x in proposed}) > 15


def test_ours_misses_nothing_once_all_was_asked(table, monkeypatch):
    monkeypatch.setattr(searching, "MOMENTS", (10, 48, 60))
    assert searching.our_regrets("random", table, 0)[1:] == pytest.approx((0.0, 0.0))


def test_regret_is_the_share_of_the_hypervolume_that_is_missing():
    outcomes = [np.array([[a, b]]) for a, b in [(0.0, 1.0), (1.0, 0.0), (2.0, 2.0)]]
    table = SearchTable(name="t", space=ChoiceSpace({"a": [0, 1, 2]}), objectives=("x", "y"), outcomes=outcomes)
    assert table.regret(outcomes[:1]) == pytest.approx(1 / 3)


def test_a_row_is_left_out_with_words_where_a_peer_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pymoo" else object())
    assert searching.hundred() == []
    assert "S1 is left out: it compares with pymoo; pip install" in capsys.readouterr().err


def test_what_a_peer_found_is_remembered(monkeypatch, tmp_path):
    monkeypatch.setattr(searching, "MEMORY", tmp_path / "kept" / "peers.jsonl")
    key = ("a peer", "cells", "1.5", searching.edition(), 3)
    searching._remember(key, (0.3, 0.2, 0.1))
    with searching.MEMORY.open("a") as file:
        file.write(json.dumps(["a peer", "cells", "1.5", 3, [0.9, 0.9, 0.9]]) + "\n")
    assert searching._remembered() == {key: (0.3, 0.2, 0.1)}


def test_runs_of_a_peer_at_another_version_are_of_another_edition(monkeypatch):
    ours = searching.edition.__wrapped__()
    versions = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1" if name == "pymoo" else versions(name))
    assert searching.edition.__wrapped__() != ours


def test_the_committed_networks_of_two_stages_fill_their_space():
    table = stages()
    assert len(table.outcomes) == table.space.size == 576
    assert 0 < table.regret(table.outcomes[:50]) < 1
    assert table.regret(table.outcomes) == pytest.approx(0.0)


@pytest.mark.slow
@pytest.mark.parametrize("make", [cells, stages])
def test_the_default_is_never_much_worse_than_the_best_of_ours(monkeypatch, make):
    monkeypatch.setattr(searching, "MOMENTS", (100,))
    table = make()
    missing = {
        name: np.mean([searching.our_regrets(name, table, seed)[0] for seed in range(3)])
        for name in ("nsga2", "evolution", "tpe", "linas", "auto")
    }
    best = min(missing.values())
    assert missing["auto"] <= 1.5 * best + 0.002
    assert missing["nsga2"] > 1.5 * best + 0.002


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ("skip none none none conv3", "none none none none none"),
        ("conv3 none none skip conv1", "conv3 none none skip none"),
        ("conv3 none conv1 none skip", "conv3 none conv1 none skip"),
    ],
)
def test_edges_on_no_way_through_a_cell_do_nothing(operations, expected):
    cell = {f"e{i}": op for i, op in enumerate(operations.split())}
    assert " ".join(working(cell).values()) == expected


@pytest.mark.slow
def test_a_cell_learns_more_than_one_that_computes_nothing():
    digits = Digits()
    cells = [{f"e{i}": op for i, op in enumerate(ops)} for ops in (["conv3"] * 5, ["none"] * 5)]
    learnt, nothing = (digits.outputs(CellNetwork(cell), seed=0)[0].mean() for cell in cells)
    assert learnt > 0.7 > 0.2 > nothing
    assert cell_macs(cells[0]) > cell_macs(cells[1])
