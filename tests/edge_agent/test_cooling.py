"""A board begins long measurements cool, or says why it cannot."""

from __future__ import annotations

import pytest

from edge_agent import work
from edge_agent.cooling import Cooling, cool_down, hottest_c
from edge_agent.errors import StoppedError
from edge_agent.lifetime import StopSignal
from edge_agent.records import Artifact, Lease
from edge_agent.tiers import COOLING_LIMIT_S, TIERS, longest_s


class Board:
    """Cools down by `falls` °C at every look, on a clock that moves while it waits."""

    def __init__(self, celsius, *, falls=0.0, stops_after=None):
        self.celsius, self.falls, self.now, self.looks, self.stops_after = celsius, falls, 0.0, 0, stops_after

    def read(self):
        return {} if self.celsius is None else {"cpu-thermal": self.celsius, "offline": -256.0, "absent": 127.0}

    def clock(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds
        self.celsius -= self.falls
        return self.stops_after is not None and self.now >= self.stops_after

    def look(self):
        self.looks += 1

    def cool(self, start_c=60.0):
        return cool_down(start_c, stop=self, waiting=self.look, read=self.read, clock=self.clock)


@pytest.mark.parametrize("celsius", [None, 41.0, 60.0])
def test_a_cool_board_and_one_that_tells_nothing_begin_at_once(celsius):
    board = Board(celsius)
    cooled = board.cool()
    assert (cooled.waited_s, cooled.cause, board.looks) == (0.0, None, 0)


def test_a_warm_board_waits_until_it_is_cool_and_says_so_meanwhile():
    board = Board(70.0, falls=2.0)
    cooled = board.cool()
    assert (cooled.from_c, cooled.to_c, cooled.cause) == (70.0, 60.0, None)
    assert cooled.waited_s == 10.0
    assert board.looks == 5


def test_a_board_that_stays_hot_gives_up_with_what_to_do():
    board = Board(71.0)
    cooled = board.cool()
    assert cooled.waited_s == COOLING_LIMIT_S
    assert cooled.cause.startswith("still 71 °C after 300 s, above the 60 °C")
    assert "--start-celsius" in cooled.cause


def test_a_stop_ends_the_wait():
    with pytest.raises(StoppedError, match="while the board cooled down"):
        Board(80.0, stops_after=4.0).cool()


def test_zones_that_are_offline_do_not_count():
    assert hottest_c({"a": -256.0, "b": 127.0, "c": 0.0}) is None
    assert hottest_c({"a": 127.0, "gpu-thermal": 48.5, "cpu-thermal": 51.0}) == 51.0


@pytest.mark.parametrize("tier", TIERS)
def test_only_long_tiers_wait_and_their_leases_last_as_long(tier):
    assert TIERS[tier].cool_start == (tier in ("rank", "final", "sustained"))
    assert (longest_s(tier) > COOLING_LIMIT_S) == TIERS[tier].cool_start


def test_a_lease_on_a_board_that_stays_hot_is_answered_throttled_and_nothing_runs(tmp_path, monkeypatch):
    hot = Cooling(waited_s=300.0, from_c=80.0, to_c=79.0, start_c=60.0)
    monkeypatch.setattr(work, "cool_down", lambda *_, **__: hot)
    monkeypatch.setattr(work, "measure_file", lambda *_, **__: pytest.fail("it was measured all the same"))
    lease = Lease(
        lease_id="l1", token=1, board="pi", board_class="pi5", tier="rank", half="little",
        model=Artifact(sha256="c" * 64, size_bytes=1), structure_key="a" * 64, measurement_key="b" * 64,
        ttl_s=180.0, deadline_unix_s=0.0,
    )  # fmt: skip
    result = work.measure_lease(
        work.answer(lease, incarnation="boot-1"), lease=lease, model=tmp_path / "m.onnx",
        place=work.Workplace(work=tmp_path, sensor=None), stop=StopSignal(), give_up_at=0.0, beat=lambda quiet: None,
    )  # fmt: skip
    assert (result.status, result.fault, result.cause) == ("throttled", "board", hot.cause)
