from __future__ import annotations

from edge_agent.records import stable_hash
from nas_service.twins import TWIN_ONE_IN, is_twinned, twin_key

KEYS = [stable_hash(["measurement", n]) for n in range(4000)]


def test_one_measurement_in_twenty_is_twinned() -> None:
    assert TWIN_ONE_IN == 20
    assert 0.035 < sum(map(is_twinned, KEYS)) / len(KEYS) < 0.065  # four standard deviations are 0.014


def test_the_same_measurements_are_twinned_each_time() -> None:
    assert [n for n in range(100) if is_twinned(KEYS[n])] == [0, 14, 30, 36, 50, 64, 65, 70, 80]


def test_a_twins_key_is_nobody_elses() -> None:
    keys = {*KEYS, *map(twin_key, KEYS)}
    assert len(keys) == 2 * len(KEYS)
    assert twin_key(KEYS[0]) == twin_key(KEYS[0]) != KEYS[0]
