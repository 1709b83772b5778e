"""When the sentinel is timed, and what its times say."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.child_run import UNSUPERVISED
from edge_agent.sentinel import Sentinel, sentinel_cause


def test_higher_tiers_always_begin_with_the_sentinel_lower_ones_after_ten_minutes(tmp_path: Path) -> None:
    now = [0.0]
    sentinel = Sentinel(work=tmp_path, clock=lambda: now[0])
    assert [sentinel.is_due(tier) for tier in ("probe", "screen", "rank", "final", "sustained")] == [
        False,
        False,
        True,
        True,
        True,
    ]
    now[0] = 600.0
    assert sentinel.is_due("probe")
    assert sentinel.is_due("screen")


@pytest.mark.parametrize(
    ("before", "after", "told"), [(1.0, 1.09, False), (1.0, 1.11, True), (1.0, 0.8, True), (None, 2.0, False)]
)
def test_a_board_that_changed_by_more_than_a_tenth_is_told(before, after, told: bool) -> None:
    cause = sentinel_cause(before_ms=before, after_ms=after)
    assert (cause is not None) == told
    assert cause is None or "the sentinel took" in cause


@pytest.mark.slow
def test_the_sentinel_is_timed_in_a_child_of_its_own_and_is_then_not_due(tmp_path: Path) -> None:
    now = [600.0]
    sentinel = Sentinel(work=tmp_path, clock=lambda: now[0])
    now[0] = 1200.0
    reading = sentinel.read_ms(supervision=UNSUPERVISED)
    assert reading is not None
    assert 0.01 < reading < 1000
    assert not sentinel.is_due("screen")
