from __future__ import annotations

import pytest

from edge_agent.records import Heartbeat
from nas_service.fleet import Board, BoardState, absent_classes
from nas_service.presence import presence


@pytest.mark.parametrize(
    ("last_seen", "quiet_until", "expected"),
    [
        (None, None, "new"),
        (990.0, None, "here"),
        (969.0, None, "suspect"),
        (939.0, None, "lost"),
        (700.0, 1100.0, "here"),  # it times a model, as it said it would
        (700.0, 960.0, "suspect"),
        (700.0, 930.0, "lost"),
        (995.0, 800.0, "here"),
    ],
)
def test_silence_that_was_not_announced_tells(last_seen, quiet_until, expected):
    assert presence(last_seen, quiet_until, now=1000.0) == expected


@pytest.mark.parametrize("last_seen", [999.0, 700.0])
def test_a_board_that_said_it_was_stopping_is_not_lost(last_seen):
    assert presence(last_seen, None, now=1000.0, stopped=True) == "stopped"


def board(board_class, last_seen, *, quiet_until=None, state=BoardState.READY, mismatch=None):
    beat = Heartbeat(
        board="b", incarnation="1", state="idle", sent_unix_s=0.0, agent_version="1", quiet_until_unix_s=quiet_until
    )
    return Board(
        name="b", board_class=board_class, public_key="k", state=state, enrolled_at=0.0, last_seen=last_seen,
        heartbeat=beat, mismatch=mismatch,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("boards", "absent"),
    [
        ([], {"pi"}),
        ([board("pi", None)], {"pi"}),
        ([board("pi", 995.0)], set()),
        ([board("pi", 960.0)], set()),  # suspect: it may be back any moment
        ([board("pi", 900.0)], {"pi"}),
        ([board("pi", 900.0, quiet_until=1100.0)], set()),
        ([board("pi", 900.0), board("pi", 995.0)], set()),
        ([board("nano", 995.0)], {"pi"}),
        ([board("pi", 995.0, state=BoardState.DRAINING)], {"pi"}),
        ([board("pi", 995.0, mismatch="another kernel")], {"pi"}),
    ],
)
def test_a_class_is_absent_when_none_of_its_boards_could_measure(boards, absent):
    assert absent_classes(boards, ("pi",), now=1000.0) == absent
