"""Controllers hold what they are told to, whatever the scores do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_agent.controller import LatencyController, RateController


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=n)


STREAMS: dict[str, Callable[[int], np.ndarray]] = {
    "calm": noise,
    "harder from the middle on": lambda n: noise(n) - 3.0 * (np.arange(n) > n // 2),
    "easier from the middle on": lambda n: noise(n) + 50.0 * (np.arange(n) > n // 2),
    "ever harder": lambda n: -np.arange(n) / 100 + noise(n),
    "on another scale": lambda n: 1e-6 * noise(n) ** 3,
    "all alike": lambda n: np.zeros(n),
    "two values in turn": lambda n: np.arange(n) % 2 - 0.5,
}


def routed(controller: RateController, leads: np.ndarray) -> np.ndarray:
    return np.array([controller.decide(float(lead)) for lead in leads])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("stream", list(STREAMS))
def test_the_rate_is_held_as_closely_as_the_theorem_says(stream: str, rate: float) -> None:
    escalated = routed(RateController(rate, gain=0.05), STREAMS[stream](1032))[32:]
    assert abs(escalated.mean() - rate) <= 1.05 / (0.05 * 1000)


def test_on_a_calm_stream_the_lowest_scores_are_escalated() -> None:
    leads = STREAMS["calm"](3000)
    escalated = routed(RateController(0.2), leads)[500:]
    should = leads[500:] < np.quantile(leads, 0.2)
    assert escalated.mean() == pytest.approx(0.2, abs=0.02)
    assert (escalated == should).mean() > 0.95


def test_a_limit_escalates_nothing_that_the_operating_point_does_not() -> None:
    leads = STREAMS["harder from the middle on"](4000)
    escalated = routed(RateController(0.3, is_limit=True), leads)
    assert not escalated[leads >= 0].any()
    assert escalated[1000:].mean() <= 0.3 + 1.02 / (0.02 * 3000)
    assert routed(RateController(0.9, is_limit=True), leads[:1500])[100:].mean() == pytest.approx(0.5, abs=0.05)


def test_the_operating_point_decides_until_there_are_scores_enough() -> None:
    controller = RateController(0.0)
    assert routed(controller, np.full(32, -1.0)).all()
    assert controller.level is None
    assert not controller.decide(-1.0)


def test_the_level_stays_bounded_when_images_are_escalated_for_another_reason() -> None:
    controller = RateController(0.1)
    routed(controller, STREAMS["calm"](64))
    assert routed(controller, np.full(2000, math.nan)).all()
    assert controller.level == -0.02
    assert routed(controller, STREAMS["calm"](1000))[100:].mean() == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1.2}, r"rate is 1.2, gain 0.02, window 256; give a rate in \[0, 1\]"),
        ({"rate": math.nan}, "rate is nan"),
        ({"rate": 0.5, "gain": 0.0}, "gain 0.0"),
        ({"rate": 0.5, "window": 8}, "a window of at least 32"),
    ],
)
def test_targets_out_of_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RateController(**values)


def run(controller: LatencyController, costs_ms: Iterator[tuple[float, float]], leads: np.ndarray) -> np.ndarray:
    """Return what each image took, for images whose little and big take `costs_ms`."""
    taken = []
    for lead, (little, big) in zip(leads, costs_ms, strict=True):
        escalated = controller.decide(float(lead))
        controller.spent(little, big if escalated else None)
        taken.append(little + big * escalated)
    return np.array(taken)


def test_a_latency_budget_is_kept_when_images_become_harder() -> None:
    leads = STREAMS["harder from the middle on"](4000)
    taken = run(LatencyController(2.0), iter([(1.0, 4.0)] * 4000), leads)
    assert np.where(leads < 0, 5.0, 1.0)[2000:].mean() > 4.9  # what the operating point alone would take
    assert taken[:2000].mean() == pytest.approx(2.0, rel=0.06)
    assert taken[2000:].mean() == pytest.approx(2.0, rel=0.06)


def test_a_latency_budget_is_kept_when_the_processor_becomes_slower() -> None:
    costs = [(1.0, 4.0)] * 2000 + [(1.5, 6.0)] * 2000
    taken = run(LatencyController(2.0), iter(costs), STREAMS["calm"](4000))
    assert taken[2200:].mean() == pytest.approx(2.0, rel=0.06)


def test_an_ample_budget_changes_no_route_and_one_below_the_little_escalates_nothing() -> None:
    leads = STREAMS["calm"](1000)
    ample = run(LatencyController(100.0), iter([(1.0, 4.0)] * 1000), leads)
    assert np.array_equal(ample, np.where(leads < 0, 5.0, 1.0))
    tight = LatencyController(0.5)
    assert run(tight, iter([(1.0, 4.0)] * 1000), leads)[100:].max() == 1.0
    assert json.loads(json.dumps(tight.to_dict()))["escalation_rate"] == 0.0


@pytest.mark.parametrize("budget_ms", [0.0, -1.0, math.inf, math.nan])
def test_a_budget_that_is_none_is_refused(budget_ms: float) -> None:
    with pytest.raises(ValueError, match=r"latency budget is .* ms but must be above 0"):
        LatencyController(budget_ms)
