"""Where `linas` puts the reference of its expected improvement."""

from __future__ import annotations

import numpy as np
import pytest

from nas_service.search.linas import FARTHEST, WIDER, _reference

FRONT = np.array([[0.0, 2.0], [1.0, 0.0]])  # spans 1 and 2, nadir (1, 2)


def test_it_lies_halfway_between_a_span_beyond_the_nadir_and_the_worst_result():
    points = np.vstack([FRONT, [[3.0, 5.0]]])
    assert _reference(points, FRONT) == pytest.approx([(1 + WIDER + 3) / 2, (2 + 2 * WIDER + 5) / 2])


def test_an_absurd_result_moves_it_a_few_spans_at_most():
    points = np.vstack([FRONT, [[1e12, 1e300]]])
    most = (WIDER + FARTHEST) / 2
    assert _reference(points, FRONT) == pytest.approx([1 + most * 1, 2 + most * 2])


@pytest.mark.parametrize("points", [[[3.0, 4.0]], [[0.0, 0.0]], [[3.0, 4.0], [3.0, 4.0]]])
def test_it_is_beyond_a_front_of_one_point_in_every_objective(points):
    told = np.array(points)
    assert (_reference(told, told[:1]) > told.max(axis=0)).all()
