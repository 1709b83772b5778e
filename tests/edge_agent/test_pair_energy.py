"""A pair measured whole beside an external meter: each route's energy, through the real child, sampler and meter."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge_agent.pair_measuring import measure_pair
from edge_agent.records import RuntimeSettings
from edge_agent.sensors import Place, survey
from edge_agent.sensors.options import EnergyOptions
from edge_agent.tiers import TIERS
from tests.edge_agent.packs import make_pack

WATTS = 2.0
METER = f"while echo power_mw {1000 * WATTS}; do sleep 0.01; done"


@pytest.fixture
def short_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `final` of seconds."""
    short = dataclasses.replace(
        TIERS["final"],
        min_window_s=0.5,
        max_window_s=0.5,
        min_warmup_s=0.1,
        max_warmup_s=0.5,
        idle_baseline_s=0.5,
        replay_s=0.5,
        energy_s=1.0,
        processes=1,
    )
    monkeypatch.setitem(TIERS, "final", short)


def test_each_routes_energy_is_the_meters_power_over_its_own_time(short_final: None, tmp_path: Path) -> None:
    labels = np.zeros(32, dtype=np.int64)
    pack = make_pack(tmp_path, size=160, labels=labels)  # milliseconds, beside which the loop is nothing
    place = Place(options=EnergyOptions(command=("/bin/sh", "-c", METER), interval_s=0.01))
    sensor = survey(place).sensor
    measured = measure_pair(pack, tier="final", settings=RuntimeSettings(), work=tmp_path, sensor=sensor)
    assert measured.energy is not None, measured.sensor_fault
    assert measured.pair is not None
    assert (measured.energy.source, measured.energy.scope) == ("command", "wall")
    energies = {route.route: (route.gross_mj, route.net_mj, route.mean_ms) for route in measured.pair.routes}
    for gross_mj, net_mj, mean_ms in energies.values():
        assert gross_mj == pytest.approx(WATTS * mean_ms, rel=0.5)  # W times ms; both timed on a busy machine
        assert abs(net_mj) < 0.05 * gross_mj  # the meter tells the same power when the board rests
    assert energies["big"][0] > energies["little"][0]
    mixed = measured.energy.gross_mj
    assert energies["little"][0] * 0.5 < mixed < energies["big"][0] * 1.5
