"""Boards, their classes, and what is known of a request and its lease: the values that the fleet's store keeps."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from edge_agent.records import Heartbeat, Lease, Result, RuntimeSettings, Tier
from nas_service.errors import InvalidRequestError
from nas_service.measurement import RequestStatus
from nas_service.presence import presence

_ED25519_HEADER = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
_TOLD_LATER = frozenset({"power_mode"})
RIVAL_S = 60.0  # six heartbeats without the rival's
_ED25519_BYTES = len(_ED25519_HEADER) + 32


class BoardState(str, Enum):
    """Whether a board may get leases: only a ready one does, and a removed one may not even connect."""

    READY = "ready"
    DRAINING = "draining"
    REMOVED = "removed"


class LeaseState(str, Enum):
    """Whether a lease stands, was answered, or is over without an answer."""

    GRANTED = "granted"
    ANSWERED = "answered"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A board as it is known here.

    `last_seen` is the gateway's clock when its last heartbeat arrived; `mismatch` says how its fingerprint departs
    from its class's. `superseded` is the incarnation before the present one; it belongs to an agent that has ended, so
    `rival_at`, when it was heard once more, is when two agents were last known to use one key.
    """

    name: str
    board_class: str
    public_key: str
    state: BoardState
    enrolled_at: float
    revoked_at: float | None = None
    incarnation: str | None = None
    incarnation_since: float | None = None
    heartbeat: Heartbeat | None = None
    last_seen: float | None = None
    mismatch: str | None = None
    superseded: str | None = None
    rival_at: float | None = None

    def obstacle(self, *, now: float) -> str | None:
        """Return what keeps a ready board from getting leases at `now`, in unix seconds; None if nothing does."""
        if self.mismatch is not None:
            return self.mismatch
        if self.rival_at is not None and now - self.rival_at <= RIVAL_S:
            return (
                "two agents use its key, so its home was copied: stop one of them and enrol it by another name "
                "(nas board add), in a home of its own"
            )
        storage = self.heartbeat.health.get("storage") if self.heartbeat else None
        return f"it cannot store its results: {storage}" if isinstance(storage, str) else None

    def may_lease(self, *, now: float) -> bool:
        """Return whether new leases may go to this board at `now`, in unix seconds."""
        return self.state is BoardState.READY and self.obstacle(now=now) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedBoard:
    """A board that was added and may enrol with its code until then, in unix seconds."""

    name: str
    board_class: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardClass:
    """Boards whose figures may be pooled; `fingerprint` is None until the first of them has enrolled."""

    name: str
    fingerprint: dict[str, Any] | None
    settings: RuntimeSettings
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRequest:
    """A request that is not over.

    `attempts` counts the leases that used up a try, `infra_faults` those that were free; `tried` names the boards that
    have failed it. `twin_of` is the key of the request that this one has another board measure again, and `barred` then
    names the boards that may not, since they have measured that one.
    """

    measurement_key: str
    board_class: str
    model_sha256: str
    tier: Tier = "screen"
    settings: RuntimeSettings = field(default_factory=RuntimeSettings)
    priority: int = 0
    created_at: float = 0.0
    not_before: float = 0.0
    attempts: int = 0
    infra_faults: int = 0
    tried: frozenset[str] = frozenset()
    twin_of: str | None = None
    barred: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingLease:
    """A lease that stands, when it was granted, and to which start of the board."""

    lease: Lease
    granted_at: float
    incarnation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What becomes of a request when its lease has ended; `retryable` lets a failed one be asked for anew."""

    state: RequestStatus
    attempts: int
    infra_faults: int
    not_before: float = 0.0
    cause: str | None = None
    retryable: bool = False
    blames_board: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A stored result; a late one is an extra sample that completed nothing."""

    result: Result
    late: bool
    received_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFigure:
    """What one board found for something that others of its class have measured too, as it was measured.

    `subject` is the same for figures that two boards should agree on: the key of the request, or of the one whose twin
    it is.
    """

    subject: str
    board: str
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What came of handing in a result."""

    stored: bool
    duplicate: bool = False
    late: bool = False
    reason: str | None = None


def absent_classes(boards: Iterable[Board], wanted: Collection[str], *, now: float) -> frozenset[str]:
    """Return those of the `wanted` classes that no board could measure for at `now`, in unix seconds.

    All of such a class's boards are lost, were never heard, or may get no leases; a suspect one counts as there, and so
    does one that was stopped a moment ago, as it may just be started anew.
    """
    able = (board for board in boards if board.may_lease(now=now) and _stands(board, now) in ("here", "suspect"))
    return frozenset(wanted) - {board.board_class for board in able}


def _stands(board: Board, now: float) -> str:
    beat = board.heartbeat
    return presence(board.last_seen, None if beat is None else beat.quiet_until_unix_s, now=now)


def normal_public_key(line: str) -> str:
    """Return `ssh-ed25519 BASE64` without its comment.

    Raises:
        InvalidRequestError: The line is no ed25519 public key.
    """
    words = line.split()
    try:
        blob = base64.b64decode(words[1], validate=True) if len(words) >= 2 else b""
    except binascii.Error:
        blob = b""
    if not words or words[0] != "ssh-ed25519" or len(blob) != _ED25519_BYTES or not blob.startswith(_ED25519_HEADER):
        raise InvalidRequestError(f"public key begins {line[:24]!r} but must be one line `ssh-ed25519 AAAA...`")
    return f"{words[0]} {words[1]}"


def fingerprint_difference(frozen: dict[str, Any], got: dict[str, Any]) -> str | None:
    """Return how a board's fingerprint departs from its class's, or None if they are the same.

    One that agents have come to tell only later is not compared with a class that was frozen without it.
    """
    compared = (set(frozen) | set(got)) - (_TOLD_LATER - set(frozen))
    names = sorted(n for n in compared if frozen.get(n) != got.get(n))
    if not names:
        return None
    parts = [f"{name} is {got.get(name)!r} but the class has {frozen.get(name)!r}" for name in names[:4]]
    return "; ".join(parts) + (f"; and {len(names) - 4} more" if len(names) > 4 else "")
