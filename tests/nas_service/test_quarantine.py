from __future__ import annotations

import pytest

from nas_service.quarantine import Ending, Quarantine, quarantine

NOW = 1000.0


def endings(word: str) -> list[Ending]:
    """Newest first: `b` a board's fault, `t` throttled, `o` good."""
    kinds = {"b": (True, None), "t": (True, "throttled"), "o": (False, "ok")}
    return [Ending(at=NOW - n, against_board=kinds[c][0], status=kinds[c][1], cause="hot") for n, c in enumerate(word)]


@pytest.mark.parametrize(
    ("word", "until"),
    [("bbb", NOW + 300), ("bbbo", NOW + 300), ("bbbb", NOW + 3600), ("bbbbb", NOW + 86400), ("bbbbbb", None)],
)
def test_faults_in_a_row_keep_a_board_out_longer_each_time(word: str, until: float | None) -> None:
    found = quarantine(endings(word))
    assert found is not None
    assert found.until == until


@pytest.mark.parametrize("word", ["", "o", "bb", "bbo", "obbb", "bobob", "tooo", "ott"])
def test_a_good_answer_or_too_few_faults_keep_nobody_out(word: str) -> None:
    assert quarantine(endings(word)) is None


@pytest.mark.parametrize("word", ["tt", "tot", "tooot"])
def test_two_throttled_of_the_last_five_keep_it_out(word: str) -> None:
    found = quarantine(endings(word))
    assert found is not None
    assert found.reason == "it throttled in 2 of its last 5 measurements, the last: hot"


def test_a_third_throttled_long_ago_does_not_count() -> None:
    assert quarantine(endings("toooot")) is None


@pytest.mark.parametrize(("until", "now", "expected"), [(10.0, 9.0, True), (10.0, 10.0, False), (None, 1e12, True)])
def test_quarantine_ends_by_time_or_by_hand(until: float | None, now: float, expected: bool) -> None:
    assert Quarantine(reason="r", until=until).holds(now) is expected
