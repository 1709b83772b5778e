"""Who may do what in a mailbox: a small table over virtual paths, and nothing that touches a disk.

A board and an enrolling board each see a root of their own. What no rule names is refused, so a new file in a mailbox
is invisible until a rule lets it be seen.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_agent.records import RESULT_LIMIT_BYTES

Operation = Literal["list", "stat", "read", "write", "remove", "rename_from", "rename_to"]

PART = ".part"
SMALL_LIMIT_BYTES = 64 << 10
OUTBOX_LIMIT_FILES = 64

_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
_FOLDER = frozenset[Operation]({"list", "stat"})
_READ = frozenset[Operation]({"stat", "read"})
_UPLOAD = frozenset[Operation]({"stat", "read", "write", "remove", "rename_from"})
_ARRIVED = frozenset[Operation]({"stat", "read", "rename_to"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done to the paths that match; `limit_bytes` bounds a file that may be written."""

    pattern: str
    operations: frozenset[Operation]
    limit_bytes: int | None = None

    def matches(self, path: str) -> bool:
        """Return whether the whole of `path` fits the pattern."""
        return re.fullmatch(self.pattern, path) is not None


# The first rule that matches holds.
BOARD_RULES: tuple[Rule, ...] = (
    Rule("/", _FOLDER),
    Rule("/artifacts|/inbox|/outbox", _FOLDER),
    Rule("/artifacts/[0-9a-f]{64}", _READ),
    Rule(rf"/inbox/(lease|ack)-{_NAME}\.json", _READ),
    Rule(r"/agent\.json", _READ),
    Rule(rf"/outbox/{_NAME}\.json\.part", _UPLOAD, RESULT_LIMIT_BYTES),
    Rule(rf"/outbox/{_NAME}\.json", _ARRIVED),
    Rule(r"/heartbeat\.json\.part", _UPLOAD, SMALL_LIMIT_BYTES),
    Rule(r"/heartbeat\.json", _ARRIVED | {"write"}, SMALL_LIMIT_BYTES),
)
ENROLMENT_RULES: tuple[Rule, ...] = (
    Rule("/", _FOLDER),
    Rule(r"/request\.json\.part", _UPLOAD, SMALL_LIMIT_BYTES),
    Rule(r"/request\.json", _ARRIVED),
    Rule(r"/answer\.json", _READ),
)


def virtual_path(path: bytes) -> str:
    """Return `path` as an absolute path without `.` and `..`, which stop at the root as they do in a chroot.

    Raises:
        ValueError: The path is not UTF-8, or holds a NUL or a line break.
    """
    text = path.decode("utf-8")
    if any(c in text for c in "\0\n\r"):
        raise ValueError("path holds a NUL or a line break")
    return "/" + posixpath.normpath("/" + text).lstrip("/")


def rule_for(path: str, rules: Sequence[Rule] = BOARD_RULES) -> Rule | None:
    """Return the rule that holds for a virtual path, or None where there is none and nothing is allowed."""
    return next((rule for rule in rules if rule.matches(path)), None)


def allowed(operation: Operation, path: str, rules: Sequence[Rule] = BOARD_RULES) -> bool:
    """Return whether `operation` may be done to the virtual `path`."""
    rule = rule_for(path, rules)
    return rule is not None and operation in rule.operations


def rename_allowed(old: str, new: str, rules: Sequence[Rule] = BOARD_RULES) -> bool:
    """Return whether `old` may become `new`: only an upload `X.part`, and only to be `X`."""
    return old == new + PART and allowed("rename_from", old, rules) and allowed("rename_to", new, rules)
