from __future__ import annotations

import pytest

from cluster.gateway.permission import (
    ENROLMENT_RULES,
    Operation,
    allowed,
    rename_allowed,
    rule_for,
    virtual_path,
)

SHA = "a" * 64
OPERATIONS: tuple[Operation, ...] = ("list", "stat", "read", "write", "remove", "rename_from", "rename_to")

# path: what a board may do to it; everything else is refused
BOARD_TABLE = {
    "/": {"list", "stat"},
    "/inbox": {"list", "stat"},
    "/outbox": {"list", "stat"},
    "/artifacts": {"list", "stat"},
    f"/artifacts/{SHA}": {"stat", "read"},
    "/inbox/lease-abc-1.json": {"stat", "read"},
    "/inbox/ack-abc.json": {"stat", "read"},
    "/agent.json": {"stat", "read"},
    "/outbox/r1.json.part": {"stat", "read", "write", "remove", "rename_from"},
    "/outbox/r1.json": {"stat", "read", "rename_to"},
    "/heartbeat.json.part": {"stat", "read", "write", "remove", "rename_from"},
    "/heartbeat.json": {"stat", "read", "write", "rename_to"},
    "/artifacts/short": set(),
    f"/artifacts/.{SHA}.part": set(),
    f"/artifacts/{SHA}.part": set(),
    "/inbox/other.json": set(),
    "/inbox/lease-abc.json.part": set(),
    "/inbox/.lease-abc.json.part": set(),
    "/outbox/r1.txt": set(),
    "/outbox/.json": set(),
    "/outbox/R1.json.part": set(),
    "/outbox/a/b.json": set(),
    "/agent.json.part": set(),
    "/request.json": set(),
    "/new": set(),
    "/etc/passwd": set(),
}
ENROLMENT_TABLE = {
    "/": {"list", "stat"},
    "/request.json.part": {"stat", "read", "write", "remove", "rename_from"},
    "/request.json": {"stat", "read", "rename_to"},
    "/answer.json": {"stat", "read"},
    "/heartbeat.json": set(),
    "/inbox": set(),
    "/outbox/r1.json.part": set(),
}


@pytest.mark.parametrize(("path", "expected"), BOARD_TABLE.items())
def test_board_may_do_this_and_nothing_else(path: str, expected: set[str]) -> None:
    assert {operation for operation in OPERATIONS if allowed(operation, path)} == expected


@pytest.mark.parametrize(("path", "expected"), ENROLMENT_TABLE.items())
def test_enrolling_board_may_do_this_and_nothing_else(path: str, expected: set[str]) -> None:
    assert {operation for operation in OPERATIONS if allowed(operation, path, ENROLMENT_RULES)} == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("/outbox/r1.json.part", "/outbox/r1.json", True),
        ("/heartbeat.json.part", "/heartbeat.json", True),
        ("/outbox/r1.json.part", "/outbox/r2.json", False),
        ("/outbox/r1.json.part", "/heartbeat.json", False),
        ("/outbox/r1.json", "/outbox/r1.json.part", False),
        ("/outbox/r1.json.part", "/inbox/lease-r1.json", False),
        ("/heartbeat.json.part", "/agent.json", False),
        (f"/artifacts/{SHA}", "/outbox/r1.json", False),
    ],
)
def test_upload_becomes_its_own_name_only(old: str, new: str, expected: bool) -> None:
    assert rename_allowed(old, new) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"", "/"),
        (b".", "/"),
        (b"inbox", "/inbox"),
        (b"//inbox//", "/inbox"),
        (b"/inbox/../outbox", "/outbox"),
        (b"../../../../etc/passwd", "/etc/passwd"),
        (b"/artifacts/../../../../agent.json", "/agent.json"),
    ],
)
def test_dots_stop_at_the_root(path: bytes, expected: str) -> None:
    assert virtual_path(path) == expected


@pytest.mark.parametrize("path", [b"/outbox/a\x00.json", b"/outbox/a\n.json", b"\xff\xfe"])
def test_path_that_is_no_name_is_refused(path: bytes) -> None:
    with pytest.raises(ValueError, match=r"NUL|utf-8"):
        virtual_path(path)


def test_every_path_that_may_be_written_has_a_size_limit() -> None:
    for path, operations in BOARD_TABLE.items():
        rule = rule_for(path)
        assert "write" not in operations or (rule is not None and rule.limit_bytes)
