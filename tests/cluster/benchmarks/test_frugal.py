"""The committed halves are what the benchmarks S5 and S6 say they are."""

from __future__ import annotations

from collections import Counter

import pytest

from cluster.benchmarks import frugal
from cluster.benchmarks.halves import measured_halves, write_halves
from cluster.benchmarks.table import pair_halves


def test_the_table_holds_the_halves_that_the_rows_speak_of():
    origins = Counter(row.origin.partition("/")[0] for row in measured_halves())
    littles, bigs = pair_halves()
    assert origins == {"digits": len(littles) + len(bigs), "small": 80, "tiny": 80}
    assert all(row.rounds >= 2 and 0 < row.min_ms <= row.median_ms for row in measured_halves())


def test_writing_the_table_and_reading_it_changes_nothing(tmp_path):
    rows = measured_halves()
    write_halves(rows, tmp_path / "halves.csv")
    assert measured_halves(tmp_path / "halves.csv") == rows


def test_halves_of_the_cascades_have_the_layers_of_their_networks():
    littles, _ = pair_halves()
    row = next(r for r in measured_halves() if r.origin == "digits/7" and r.structure.half == "little")
    assert row.structure.layers == littles[7].layers()


@pytest.mark.slow
def test_a_frugal_search_measures_less_and_keeps_the_front(monkeypatch):
    monkeypatch.setattr(frugal, "CANDIDATES", 30)
    monkeypatch.setattr(frugal, "SEEDS", 1)
    spent, own, other = frugal.frugality()
    assert spent.value < 1.0
    assert 0.97 < own.value <= 1.0
    assert other.value > 0.97
