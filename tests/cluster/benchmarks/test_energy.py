from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cluster.benchmarks import energy
from cluster.benchmarks.energy import HIGH_MW, KINDS, LOW_MW, Kind, SquareWave, errors, integration_error


def kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def test_a_square_waves_energy_is_exact():
    load = SquareWave(period_s=0.010, phase=0.0)
    assert load.mean_mw(0.0, 0.005) == pytest.approx(HIGH_MW)
    assert load.mean_mw(0.005, 0.010) == pytest.approx(LOW_MW)
    assert load.energy_mj(10.0) == pytest.approx(10 * (HIGH_MW + LOW_MW) / 2)
    assert SquareWave(period_s=0.010, phase=0.75).mean_mw(0.0, 0.0025) == pytest.approx(LOW_MW)


@pytest.mark.parametrize("name", ["ina3221", "pi-pmic", "rapl"])
def test_sampling_misses_little_of_a_load_that_repeats(name):
    assert np.percentile(errors(kind(name), trials=25), 95) <= 0.03


def test_a_reading_every_100_ms_would_miss_more_than_is_allowed():
    slow = dataclasses.replace(kind("pi-pmic"), interval_s=0.1)
    assert np.percentile(errors(slow, trials=60), 95) > 0.03


def test_without_jitter_sampling_beats_with_the_load(monkeypatch):
    beating = SquareWave(period_s=0.020, phase=0.1)
    slow = dataclasses.replace(kind("ina226"), interval_s=0.1)
    jittered = integration_error(slow, beating, seed=0)
    monkeypatch.setattr("edge_agent.sensors.sampling.JITTER", 0.0)
    assert integration_error(slow, beating, seed=0) > 0.1 > 3 * jittered


@pytest.mark.slow
def test_every_row_of_e4_reaches_what_it_must():
    rows = energy.integration(trials=60)
    assert [row.name for row in rows] == ["E4"] * len(KINDS)
    assert all(row.verdict in ("must", "aim") for row in rows)
