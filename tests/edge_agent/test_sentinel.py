"""When the sentinel is timed, and what its times say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent import work
from edge_agent.child_run import UNSUPERVISED
from edge_agent.lifetime import StopSignal
from edge_agent.measuring import Measurement
from edge_agent.records import Tier
from edge_agent.sentinel import Sentinel, sentinel_cause
from edge_agent.usual_time import UsualTime
from edge_agent.verdict import Verdict
from tests.cluster.gateway.samples import good_latency
from tests.edge_agent.paper_mailbox import paper_lease


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


def test_a_board_that_became_slower_between_measurements_is_told_each_time_until_it_is_not(tmp_path: Path) -> None:
    now = [0.0]
    sentinel = Sentinel(work=tmp_path, clock=lambda: now[0])
    assert sentinel.slower_cause(1.0) is None
    for _ in range(3):
        cause = sentinel.slower_cause(1.5)
        assert cause == (
            "the sentinel took 1.5 ms, +50% over the 1 ms that it usually takes on this board; at most 10% is allowed"
        )
        assert sentinel.is_due("probe")
    assert sentinel.slower_cause(1.05) is None


def test_a_board_that_becomes_slower_step_by_step_is_told_as_well() -> None:
    usual, time_ms, steps = UsualTime(state="s"), 1.0, 0
    while usual.slower_cause(time_ms) is None:
        usual, time_ms, steps = usual.after(time_ms), time_ms * 1.02, steps + 1
    assert time_ms < 1.2


def test_one_slow_time_at_the_beginning_does_not_stay_the_measure_of_all() -> None:
    usual = UsualTime(state="s").after(1.5).after(1.0)
    assert usual.slower_cause(1.4) is not None


def test_the_usual_time_outlives_the_agent_but_not_a_change_of_the_board(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.json"
    Sentinel(work=tmp_path, kept=path, state="a").slower_cause(1.0)
    restarted = Sentinel(work=tmp_path, kept=path, state="a")
    assert restarted.is_due("probe")
    again = restarted.slower_cause(1.5)
    assert str(again).endswith(f"if it is meant to be so from now on, remove {path}")
    assert Sentinel(work=tmp_path, kept=path, state="b").slower_cause(1.5) is None


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"state": "a", "times_ms": [-1.0]}'])
def test_a_damaged_file_is_as_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "sentinel.json").write_bytes(text)
    assert Sentinel(work=tmp_path, kept=tmp_path / "sentinel.json", state="a").slower_cause(1.5) is None


@pytest.mark.parametrize(
    ("tier", "local", "status"), [("probe", False, "drift"), ("screen", False, "drift"), ("probe", True, "ok")]
)
def test_a_lease_on_a_board_that_became_slower_is_answered_so_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tier: Tier, local: bool, status: str
) -> None:
    now = [0.0]
    sentinel = Sentinel(work=tmp_path, clock=lambda: now[0])
    sentinel.slower_cause(1.0)
    now[0] = 601.0
    monkeypatch.setattr(sentinel, "read_ms", lambda **_: 1.5)
    measured = Measurement(verdict=Verdict(status="ok"), latency=good_latency())
    monkeypatch.setattr(work, "measure_file", lambda *_, **__: measured)
    lease = replace(paper_lease(), tier=tier)
    result = work.measure_lease(
        work.answer(lease, incarnation="boot-1"),
        lease=lease,
        model=tmp_path / "m.onnx",
        place=work.Workplace(work=tmp_path, sensor=None, sentinel=sentinel, local=local),
        stop=StopSignal(),
        give_up_at=0.0,
        beat=lambda quiet: None,
    )
    assert result.status == status
    assert result.health["sentinel"]["before_ms"] == 1.5
    assert local or "+50% over the 1 ms" in str(result.cause)
