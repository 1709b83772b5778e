from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nas_service import front
from nas_service.errors import InvalidRequestError
from nas_service.front import CurvePoint, Front

GRIDS = st.integers(1, 4).flatmap(
    lambda d: st.integers(1, 25).flatmap(lambda n: arrays(np.float64, (n, d), elements=st.integers(0, 5).map(float)))
)


def beats(a, b):
    return bool((a <= b).all() and (a < b).any())


@given(points=GRIDS)
@settings(max_examples=60, deadline=None)
def test_a_point_is_kept_exactly_when_no_other_beats_it(points):
    assert front.non_dominated(points).tolist() == [not any(beats(q, p) for q in points) for p in points]


@given(points=GRIDS)
@settings(max_examples=40, deadline=None)
def test_the_volume_is_the_number_of_unit_cells_that_are_beaten(points):
    d = points.shape[1]
    cells = np.stack(np.meshgrid(*[np.arange(6)] * d, indexing="ij"), -1).reshape(-1, d)
    beaten = sum(bool((points <= c).all(axis=1).any()) for c in cells)
    assert front.hypervolume(points, [6.0] * d) == pytest.approx(beaten)


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_a_point_that_is_not_finite_is_out_and_beats_nothing(unknown):
    points = [[unknown, 0.0], [1.0, 1.0], [0.0, 2.0]]
    assert front.non_dominated(points).tolist() == [False, True, True]
    assert front.hypervolume(points, [3.0, 3.0]) == front.hypervolume(points[1:], [3.0, 3.0]) == 5.0


def test_no_points_have_no_volume_and_no_front():
    assert front.hypervolume(np.empty((0, 3)), [1.0] * 3) == 0.0
    assert front.non_dominated(np.empty((0, 3))).tolist() == []


def test_points_beyond_the_reference_have_no_volume():
    assert front.hypervolume([[2.0, 0.0]], [1.0, 1.0]) == 0.0


@pytest.mark.parametrize("reference", [[1.0], [1.0, math.nan], [1.0, 1.0, 1.0]])
def test_a_reference_that_does_not_fit_is_refused(reference):
    with pytest.raises(InvalidRequestError, match="does not fit points with 2 objectives"):
        front.hypervolume([[0.0, 0.0]], reference)


def test_points_in_one_dimension_only_are_refused():
    with pytest.raises(InvalidRequestError, match=r"points have shape \(3,\)"):
        front.non_dominated([1.0, 2.0, 3.0])


def test_the_adaptive_reference_is_a_tenth_of_the_span_beyond_the_nadir():
    points = [[0.0, 10.0], [1.0, 0.0], [5.0, 50.0]]
    assert front.adaptive_reference(points).tolist() == [1.1, 11.0]


@pytest.mark.parametrize("points", [[[0.0, 0.0]], [[2.0, 3.0]], [[-1.0, 5.0]], [[1.0, 1.0], [1.0, 4.0]]])
def test_the_adaptive_reference_lies_strictly_beyond_a_front_without_a_span(points):
    assert (front.adaptive_reference(points) > np.min(points, axis=0)).all()


def test_a_normalised_volume_is_the_share_of_the_box():
    assert front.normalised_hypervolume([[1.0, 1.0]], [2.0, 2.0], [0.0, 0.0]) == 0.25
    assert front.normalised_hypervolume([[-9.0, -9.0]], [2.0, 2.0], [0.0, 0.0]) == 1.0
    with pytest.raises(InvalidRequestError, match="ideal must lie below the reference"):
        front.normalised_hypervolume([[1.0, 1.0]], [2.0, 2.0], [2.0, 0.0])


def quarter_circle(n):
    angle = np.linspace(0, math.pi / 2, n)
    return np.stack([1 - np.cos(angle), 1 - np.sin(angle)], axis=1)


@pytest.mark.parametrize("limit", [1, 2, 5, 32])
def test_a_thinned_curve_has_at_most_its_limit_and_keeps_the_ends(limit):
    points = quarter_circle(200)
    kept = front.thin_curve(points, limit)
    assert len(kept) == limit
    assert limit == 1 or {0, 199} <= set(kept.tolist())
    assert sorted(kept.tolist()) == kept.tolist()


def test_thirty_two_points_keep_nearly_the_whole_volume():
    points = quarter_circle(1000)
    kept = points[front.thin_curve(points)]
    assert front.hypervolume(kept, [1.1, 1.1]) > 0.98 * front.hypervolume(points, [1.1, 1.1])


def test_thinning_drops_beaten_and_repeated_points_first():
    assert front.thin_curve([[0.0, 1.0], [0.0, 1.0], [2.0, 2.0], [1.0, 0.0]], 10).tolist() == [0, 3]
    with pytest.raises(InvalidRequestError, match="limit is 0 but must be >= 1"):
        front.thin_curve([[0.0, 1.0]], 0)


def test_every_point_of_a_front_leads_back_to_its_candidate_and_threshold():
    points = [
        CurvePoint(candidate_id="a", values=(1.0, 4.0), threshold=0.2),
        CurvePoint(candidate_id="a", values=(3.0, 3.0), threshold=0.8),
        CurvePoint(candidate_id="b", values=(2.0, 2.0), threshold="never"),
    ]
    made = Front.of(points, objectives=("error", "cost"))
    assert [(p.candidate_id, p.threshold) for p in made.points] == [("a", 0.2), ("b", "never")]
    assert made.candidate_ids == ("a", "b")
    assert made.hypervolume([5.0, 5.0]) == 4 + 9 - 3


def test_of_equal_points_the_first_stays():
    twins = [CurvePoint(candidate_id=i, values=(1.0,)) for i in "xy"]
    assert Front.of(twins, objectives=("error",)).candidate_ids == ("x",)


def test_a_front_of_nothing_is_empty():
    empty = Front.of([], objectives=("error", "cost"))
    assert empty.points == ()
    assert empty.hypervolume([1.0, 1.0]) == 0.0


def test_a_point_with_other_objectives_is_refused():
    with pytest.raises(InvalidRequestError, match="has 1 values; the front has the objectives"):
        Front.of([CurvePoint(candidate_id="a", values=(1.0,))], objectives=("error", "cost"))
