"""Figures that no board can have measured are no record, whoever made them; figures that boards did measure are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent import pair_statistics
from edge_agent.pair_statistics import PathTimes
from edge_agent.records import Energy, Latency, Memory, PairFigures, RecordError, RouteCost
from edge_agent.statistics import summarise

DOCS = Path(__file__).parents[2] / "docs"
MEASURED = json.loads(re.findall(r"```json\n(.*?)```", (DOCS / "measured-pair.md").read_text(), re.DOTALL)[0])
LATENCY = Latency.from_dict(MEASURED["latency"])
MEMORY = Memory.from_dict({name: value for name, value in MEASURED["memory"].items() if name != "memory_kib"})
PAIR = PairFigures.from_dict(MEASURED["pair"])
ENERGY = Energy(
    source="rapl", scope="package", gross_mj=4.0, net_mj=-0.1, mean_power_mw=4000.0, samples=100, coverage=1.0
)
NAN = float("nan")


@pytest.mark.parametrize(
    ("record", "change", "text"),
    [
        (LATENCY, {"n": 0}, "n is 0 but must be above 0"),
        (LATENCY, {"mean_ms": -5.0}, "mean_ms is -5.0 but must be above 0"),
        (LATENCY, {"mean_ms": NAN}, "mean_ms is nan but must be above 0"),
        (LATENCY, {"mean_ms": 0.0}, "mean_ms is 0.0 but must be above 0"),
        (LATENCY, {"mean_ms": 0.01}, f"mean_ms is 0.01 but must be at least min_ms, which is {LATENCY.min_ms}"),
        (LATENCY, {"mean_ms": 9.0}, f"max_ms is {LATENCY.max_ms} but must be at least mean_ms, which is 9.0"),
        (LATENCY, {"mean_ci95_low_ms": 0.06}, f"mean_ms is {LATENCY.mean_ms} but must be at least mean_ci95_low_ms"),
        (LATENCY, {"mean_ci95_high_ms": 0.05}, "mean_ci95_high_ms is 0.05 but must be at least mean_ms"),
        (LATENCY, {"p90_ms": 0.2}, f"p95_ms is {LATENCY.p95_ms} but must be at least p90_ms, which is 0.2"),
        (LATENCY, {"p90_ms": 0.2, "p95_ms": None}, f"p99_ms is {LATENCY.p99_ms} but must be at least p90_ms"),
        (LATENCY, {"median_ms": 0.1}, f"p90_ms is {LATENCY.p90_ms} but must be at least median_ms"),
        (LATENCY, {"p99_ms": NAN}, "p99_ms is nan but must be at least p95_ms"),
        (LATENCY, {"max_ms": 0.03}, "max_ms is 0.03 but must be at least p99_ms"),
        (LATENCY, {"duration_s": 0.0}, "duration_s is 0.0 but must be above 0"),
        (LATENCY, {"warmup_n": -1}, "warmup_n is -1 but must be at least 0"),
        (MEMORY, {"baseline_kib": -1}, "baseline_kib is -1 but must be at least 0"),
        (MEMORY, {"baseline_kib": 200_000}, "one must be at least baseline_kib, which is 200000"),
        (MEMORY, {"model_file_bytes": 0}, "model_file_bytes is 0 but must be above 0"),
        (ENERGY, {"gross_mj": -1.0}, "gross_mj is -1.0 but must be above 0"),
        (ENERGY, {"mean_power_mw": 0.0}, "mean_power_mw is 0.0 but must be above 0"),
        (ENERGY, {"coverage": 1.5}, "coverage is 1.5 but must be 0 to 1"),
        (PAIR.routes[0], {"mean_ms": -1.0}, "mean_ms is -1.0 but must be above 0"),
        (PAIR.routes[0], {"share": 1.5}, "share is 1.5 but must be 0 to 1"),
        (PAIR.routes[1], {"gross_mj": 0.0}, "gross_mj is 0.0 but must be above 0"),
        (PAIR, {"route_agreement": -0.1}, "route_agreement is -0.1 but must be 0 to 1"),
        (PAIR, {"replay_mean_ms": 0.0}, "replay_mean_ms is 0.0 but must be above 0"),
        (PAIR, {"process_means_ms": (1.0, -1.0)}, "process_means_ms are (1.0, -1.0) but must be above 0"),
    ],
)
def test_impossible_figure_is_refused_by_its_name(record: Any, change: dict[str, Any], text: str) -> None:
    with pytest.raises(RecordError, match=re.escape(text)):
        replace(record, **change)


times = st.lists(st.integers(min_value=1, max_value=10**10), min_size=1, max_size=200)
COUNTS = {"n": 1, "duration_s": 1.0, "warmup_n": 2, "cold_start_ms": 1.0}


@settings(max_examples=100, deadline=None)
@given(times)
def test_whatever_times_a_clock_tells_their_statistics_are_figures(nanoseconds: list[int]) -> None:
    figures = summarise(np.array(nanoseconds) / 1e6)
    assert Latency.from_dict(COUNTS | figures).mean_ms == figures["mean_ms"]


@settings(max_examples=100, deadline=None)
@given(times, times, st.floats(min_value=0, max_value=1))
def test_so_are_those_of_a_pairs_routes_at_any_share(little: list[int], big: list[int], rate: float) -> None:
    paths = np.array([0] * len(little) + [1] * len(big))
    order = np.random.default_rng(0).permutation(len(paths))
    run = PathTimes(times_ms=np.array(little + big)[order] / 1e6, paths=paths[order])
    Latency.from_dict(COUNTS | pair_statistics.summarise([run, run], shares=(1 - rate, rate)))
    assert all(isinstance(cost, RouteCost) for cost in pair_statistics.route_costs([run], shares=(1 - rate, rate)))
