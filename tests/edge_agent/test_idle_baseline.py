"""The board rests before the timing and after the child's end, and its power then is taken off the energy."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from edge_agent import measuring, pair_measuring
from edge_agent.child_run import Supervision
from edge_agent.errors import StoppedError
from edge_agent.lifetime import StopSignal
from edge_agent.measuring import idle_power, measure_file
from edge_agent.pair_measuring import measure_pair
from edge_agent.records import Energy, RuntimeSettings
from edge_agent.sensors import EnergySensor, Sampler
from edge_agent.tiers import TIERS
from tests.edge_agent.packs import make_pack

REST_S = 0.3
SENSOR = cast(EnergySensor, object())  # only the sampler would look at it


class PaperSampler:
    """A sampler that tells `powers` in turn, and notes for which moments it was asked."""

    fault = None

    def __init__(self, *powers: float | None) -> None:
        self.powers, self.idle_ns, self.energies = list(powers), list[tuple[int, int]](), list[dict[str, Any]]()

    def power_mw(self, *, start_ns: int, end_ns: int) -> float | None:
        self.idle_ns.append((start_ns, end_ns))
        return self.powers.pop(0)

    def energy(self, **asked: Any) -> Energy:
        self.energies.append(asked)
        return Energy(
            source="paper",
            rail="rail",
            scope="module",
            gross_mj=5.0,
            net_mj=3.0,
            mean_power_mw=1000.0,
            samples=100,
            coverage=1.0,
            uncertainty_class="c",
            sampling_u95=0.01,
        )

    def close(self) -> None: ...


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> PaperSampler:
    """The sampler of the next measurement; tiers rest for a moment only."""
    made = PaperSampler(1000.0, 1100.0)
    for module in (measuring, pair_measuring):
        monkeypatch.setattr(module, "Sampler", lambda *_, **__: made)
    short = dataclasses.replace(
        TIERS["probe"], min_window_s=0.2, max_window_s=0.2, min_warmup_s=0.05, idle_baseline_s=REST_S, replay_s=0.1
    )
    monkeypatch.setitem(TIERS, "probe", short)
    monkeypatch.setitem(TIERS, "final", dataclasses.replace(short, processes=2, energy_s=0.1))
    return made


def rests_around(sampler: PaperSampler, *, start_ns: int, end_ns: int) -> bool:
    (first_begin, first_end), (last_begin, last_end) = sampler.idle_ns
    long_enough = min(first_end - first_begin, last_end - last_begin) >= REST_S * 0.95e9
    return long_enough and first_end <= start_ns and end_ns <= last_begin


def test_a_file_is_timed_between_two_rests_whose_power_is_taken_off(
    sampler: PaperSampler, model_path: Path, tmp_path: Path
) -> None:
    measured = measure_file(model_path, tier="probe", settings=RuntimeSettings(), work=tmp_path, sensor=SENSOR)
    (asked,) = sampler.energies
    assert asked["idle_power_mw"] == pytest.approx(1050.0)
    assert rests_around(sampler, start_ns=asked["start_ns"], end_ns=asked["end_ns"])
    assert measured.energy is not None
    assert (measured.runtime["idle_power_mw"], measured.runtime["idle_drift"]) == ([1000.0, 1100.0], True)


def test_of_a_pair_only_the_last_process_rests_and_a_change_is_flagged(sampler: PaperSampler, tmp_path: Path) -> None:
    pack = make_pack(tmp_path, labels=np.zeros(32, dtype=np.int64))
    measured = measure_pair(pack, tier="final", settings=RuntimeSettings(), work=tmp_path, sensor=SENSOR)
    assert measured.verdict.status == "ok", measured.verdict
    assert {asked["idle_power_mw"] for asked in sampler.energies} == {1050.0}
    begin, end = (
        bound(asked[name] for asked in sampler.energies) for bound, name in ((min, "start_ns"), (max, "end_ns"))
    )
    assert rests_around(sampler, start_ns=begin, end_ns=end)
    assert measured.pair is not None
    assert "idle_drift" in measured.pair.flags


def test_without_a_sensor_nothing_rests(sampler: PaperSampler, model_path: Path, tmp_path: Path) -> None:
    measured = measure_file(model_path, tier="probe", settings=RuntimeSettings(), work=tmp_path)
    assert sampler.idle_ns == []
    assert "idle_power_mw" not in measured.runtime


def test_a_rest_ends_when_the_agent_is_to_stop(
    sampler: PaperSampler, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TIERS, "probe", dataclasses.replace(TIERS["probe"], idle_baseline_s=60.0))
    stop, begin = StopSignal(), time.monotonic()
    supervision = Supervision(stop_fd=stop.fileno(), before_timing=stop.set)
    with pytest.raises(StoppedError):
        measure_file(
            model_path, tier="probe", settings=RuntimeSettings(), work=tmp_path, sensor=SENSOR, supervision=supervision
        )
    assert time.monotonic() - begin < 30
    stop.close()


@pytest.mark.parametrize(
    ("powers", "mean", "drift"),
    [
        ((1000.0, 1040.0), 1020.0, False),
        ((1000.0, 1060.0), 1030.0, True),
        ((1000.0, 900.0), 950.0, True),
        ((None, 1000.0), 1000.0, False),
    ],
)
def test_idle_power_is_the_mean_of_what_is_known_and_five_percent_apart_is_drift(
    powers: tuple[float | None, ...], mean: float, drift: bool
) -> None:
    found, noted = idle_power(cast(Sampler, PaperSampler(*powers)), [(0, 1), (2, 3)])
    assert found == pytest.approx(mean)
    assert noted == {"idle_power_mw": list(powers), "idle_drift": drift}


def test_without_a_reading_there_is_no_idle_power_to_take_off() -> None:
    assert idle_power(cast(Sampler, PaperSampler(None, None)), [(0, 1), (2, 3)]) == (None, {})
