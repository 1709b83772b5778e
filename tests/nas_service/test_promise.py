"""A candidate is promising if its curve, with luck, has a point that the front lacks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_service.errors import InvalidRequestError
from nas_service.front import non_dominated
from nas_service.promise import can_touch

FRONT = [[0.0, 10.0], [5.0, 5.0], [10.0, 0.0]]
points = st.lists(st.tuples(*[st.integers(0, 12).map(float)] * 2), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("curve", "promising"),
    [
        ([[4.0, 4.0]], True),
        ([[6.0, 6.0]], False),
        ([[6.0, 6.0], [9.0, 1.0]], True),
        ([[5.0, 5.0]], False),
        ([[-1.0, 11.0]], True),
        ([[4.8, 4.8]], True),
        ([[4.95, 4.95]], False),
    ],
    ids=["better", "beaten", "one point is enough", "equal", "beyond an end", "better by two hundredths", "by a half"],
)
def test_a_curve_is_promising_if_a_point_of_it_is_better_than_all_the_front(curve, promising):
    assert can_touch(curve, FRONT) is promising


def test_without_a_front_everything_is_promising():
    assert can_touch([[1e9, 1e9]], [])


def test_points_that_are_not_finite_promise_nothing():
    assert not can_touch([[np.nan, 0.0], [np.inf, 0.0]], FRONT)


@given(points, points, points)
def test_what_cannot_touch_a_front_cannot_touch_a_better_one(curve, front, more):
    if not can_touch(curve, front, gain=0.0):
        assert not can_touch(curve, front + more, gain=0.0)


@given(points, points)
def test_without_a_gain_all_may_touch_a_front_but_what_is_equalled_or_beaten(curve, front):
    had = np.array(front)
    beaten = [bool(np.any(np.all(had <= point, axis=1))) for point in np.array(curve)]
    assert can_touch(curve, front, gain=0.0) is not all(beaten)


@given(points, points)
def test_what_is_left_out_is_better_than_a_known_point_by_less_than_the_gain(curve, front):
    if not can_touch(curve, front, gain=0.1):
        best = np.array(front)[non_dominated(front)]
        span = best.max(axis=0) - best.min(axis=0)
        for point in np.array(curve):
            assert np.any(np.all(best - point <= 0.1 * span, axis=1))


@given(points, points)
def test_a_luckier_curve_is_no_less_promising(curve, front):
    if can_touch(curve, front):
        assert can_touch(np.array(curve) - 0.5, front)


@pytest.mark.parametrize("gain", [-0.1, 1.0])
def test_a_gain_out_of_range_is_refused(gain):
    with pytest.raises(InvalidRequestError, match="must be at least 0 and below 1"):
        can_touch([[0.0, 0.0]], FRONT, gain=gain)
