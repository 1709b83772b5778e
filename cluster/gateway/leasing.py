"""Which board measures what, when a lease is over, and what a result changes: decisions, and nothing else.

Values in, values out; the time is an argument. The store carries the decisions out, in transactions that check again
that what was decided upon still holds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace

from edge_agent.records import Fault, Lease, Result, RuntimeSettings, Tier
from edge_agent.tiers import TIERS, longest_s
from nas_service.fleet import PendingRequest, Settlement, StandingLease
from nas_service.measurement import RequestStatus

LOST_AFTER_S = 60.0  # six heartbeats; sooner than many would, since a late answer is kept and a job waits for nobody
GONE_AFTER_S = 30.0  # without a connection, which a dead board loses within a minute; silence protects no longer
RESTART_GRACE_S = 10.0  # to hand in a result that it kept, or to say that it goes on with the lease
QUIET_MARGIN_S = 60.0
QUIET_LIMIT_S = 900.0
DEADLINE_MARGIN_S = 30.0
DEADLINE_MIN_S = 180.0
HOLDING_LIMIT = 2
ATTEMPTS_LIMIT = 3
INFRA_LIMIT = 10
BACKOFF_FIRST_S = 1.0
BACKOFF_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardView:
    """What leasing needs to know of a board; times are the gateway's own clock, in unix seconds.

    `silent_since` is when the board was last heard, but never before this gateway began to listen; `restarted_at` is
    when its present incarnation was first heard; `working_on` is the lease that its last heartbeat named; `gone_since`
    is when the last of its connections to this gateway ended, None if it has one or OpenSSH has them.
    """

    name: str
    board_class: str
    may_lease: bool
    incarnation: str | None
    last_seen: float | None
    silent_since: float
    quiet_until: float | None = None
    restarted_at: float | None = None
    working_on: str | None = None
    gone_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A decision: this request goes to this board."""

    measurement_key: str
    board: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """A decision: this lease is over, and why; `counted` if that uses up one of the request's tries."""

    lease_id: str
    cause: str
    counted: bool


def is_alive(board: BoardView, now: float) -> bool:
    """Return whether a board was heard within the last minute, or announced its silence."""
    if board.last_seen is None:
        return False
    return now <= board.last_seen + LOST_AFTER_S or now <= _quiet_end(board)


def _quiet_end(board: BoardView) -> float:
    if board.quiet_until is None:
        return 0.0
    heard = board.last_seen or 0.0
    end = min(board.quiet_until, heard + QUIET_LIMIT_S) + QUIET_MARGIN_S
    if board.gone_since is not None and board.gone_since >= heard:
        return min(end, board.gone_since + GONE_AFTER_S)
    return end


def measure_s(settings: RuntimeSettings, *, tier: Tier) -> float:
    """Return how long a lease's measurement may take: what its class allows, or what its tier needs if that is more."""
    return max(settings.measure_timeout_s, longest_s(tier))


def deadline(granted_at: float, *, settings: RuntimeSettings, tier: Tier = "screen", position: int) -> float:
    """Return when a lease is over even if the board still talks; `position` 1 waits for the lease at position 0."""
    prepare_s = TIERS[tier].processes * settings.prepare_timeout_s
    one_s = prepare_s + measure_s(settings, tier=tier) + DEADLINE_MARGIN_S
    return granted_at + (position + 1) * max(one_s, DEADLINE_MIN_S)


def expiries(leases: Iterable[StandingLease], boards: Iterable[BoardView], *, now: float) -> list[Expiry]:
    """Return the leases that are over, each with its cause.

    A lease lives for its `ttl_s` without word from its board, or for a minute beyond the silence that the board has
    announced if that is longer, and never past its deadline.
    Only the lease that the board was working on, its oldest, uses up a try; one ahead was never begun.
    """
    by_name = {board.name: board for board in boards}
    begun: set[str] = set()
    found: list[Expiry] = []
    for lease in sorted(leases, key=lambda held: held.lease.token):
        board = by_name.get(lease.lease.board)
        cause = _over(lease, board, now)
        if cause is not None:
            counted = board is not None and lease.lease.board not in begun
            found.append(Expiry(lease_id=lease.lease.lease_id, cause=cause, counted=counted))
        begun.add(lease.lease.board)
    return found


def _over(lease: StandingLease, board: BoardView | None, now: float) -> str | None:
    if board is None:
        return f"board {lease.lease.board} was removed"
    if lease.incarnation != board.incarnation and now > (board.restarted_at or 0.0) + RESTART_GRACE_S:
        return f"board {board.name} came back anew without the result"
    if now > lease.lease.deadline_unix_s:
        return f"board {board.name} kept the lease past its deadline"
    silent_since = max(board.silent_since, lease.granted_at)
    if now > silent_since + lease.lease.ttl_s and now > _quiet_end(board):
        return f"board {board.name} was not heard for {now - silent_since:.0f} s"
    return None


def adoptions(leases: Iterable[StandingLease], boards: Iterable[BoardView]) -> list[str]:
    """Return the boards that came back anew and go on with a lease of theirs: they keep what they hold."""
    by_name = {board.name: board for board in boards}
    held = list(leases)
    working = {(lease.lease.board, lease.lease.lease_id) for lease in held}
    stale = {lease.lease.board for lease in held if lease.lease.board in by_name and _is_stale(lease, by_name)}
    return sorted(name for name in stale if (name, by_name[name].working_on) in working)


def _is_stale(lease: StandingLease, by_name: dict[str, BoardView]) -> bool:
    return lease.incarnation != by_name[lease.lease.board].incarnation


def after_expiry(request: PendingRequest, expiry: Expiry, *, now: float) -> Settlement:
    """Return what becomes of a request whose lease expired: another board gets it, three times at most, a twin once."""
    if expiry.counted:
        return _another_try(request, cause=expiry.cause, now=now)
    return Settlement(
        state=RequestStatus.QUEUED,
        attempts=request.attempts,
        infra_faults=request.infra_faults,
        cause=expiry.cause,
    )


def after_result(request: PendingRequest, result: Result, *, now: float) -> Settlement:
    """Return what the result of a standing lease makes of its request.

    A good result completes it. The model's fault fails it at once. The infrastructure's fault costs no try, but waits
    longer each time. The board's fault, or one that nobody can place, costs a try.
    """
    if result.status == "ok":
        return _settle(request, RequestStatus.DONE)
    cause = f"{result.status} on {result.board}: {result.cause or 'no cause given'}"
    if result.fault == "model":
        return _settle(request, RequestStatus.FAILED, cause=cause)
    return after_fault(request, fault=result.fault, cause=cause, now=now)


def after_fault(request: PendingRequest, *, fault: Fault | None, cause: str, now: float) -> Settlement:
    """Return what becomes of a request whose lease ended without a figure, by whose fault that was."""
    retry = _free_retry if fault == "infra" else _another_try
    return retry(request, cause=cause, now=now)


def _settle(request: PendingRequest, state: RequestStatus, *, cause: str | None = None) -> Settlement:
    return Settlement(state=state, attempts=request.attempts, infra_faults=request.infra_faults, cause=cause)


def _free_retry(request: PendingRequest, *, cause: str, now: float) -> Settlement:
    faults = request.infra_faults + 1
    wait_s = min(BACKOFF_FIRST_S * 2 ** (faults - 1), BACKOFF_LIMIT_S)
    settled = replace(_settle(request, RequestStatus.QUEUED, cause=cause), infra_faults=faults, not_before=now + wait_s)
    if faults < INFRA_LIMIT:
        return settled
    cause = f"{cause} (given up after {faults} faults of the infrastructure)"
    return replace(settled, state=RequestStatus.FAILED, cause=cause, retryable=True)


def _another_try(request: PendingRequest, *, cause: str, now: float) -> Settlement:
    attempts = request.attempts + 1
    settled = replace(
        _settle(request, RequestStatus.QUEUED, cause=cause), attempts=attempts, not_before=now, blames_board=True
    )
    if attempts < ATTEMPTS_LIMIT and request.twin_of is None:
        return settled
    cause = f"{cause} (given up after {attempts} {'try' if attempts == 1 else 'tries'})"
    return replace(settled, state=RequestStatus.FAILED, cause=cause, retryable=True)


def assign(
    requests: Sequence[PendingRequest], boards: Sequence[BoardView], leases: Sequence[StandingLease], *, now: float
) -> list[Grant]:
    """Return which queued request goes to which board.

    Every board gets one lease to work on before any gets one ahead. Requests go by priority, then by age. A request
    goes to a board that has not failed it, if the class has such a board; among equals a hash draws, so that in a
    class no board gets a kind of model only. A twin goes to a board that has nothing to do and did not measure its
    original, and never ahead of a request that is no twin.

    Args:
        requests: The queued requests; none of them has a lease that stands.
        boards: All boards.
        leases: All leases that stand.
        now: Unix seconds.
    """
    alive: dict[str, list[str]] = {}
    for board in boards:
        if board.may_lease and is_alive(board, now):
            alive.setdefault(board.board_class, []).append(board.name)
    held = Counter(lease.lease.board for lease in leases)
    waiting = sorted((r for r in requests if r.not_before <= now), key=_turn)
    grants: list[Grant] = []
    for position in range(HOLDING_LIMIT):
        free = {name: {n for n in members if held[n] == position} for name, members in alive.items()}
        left: list[PendingRequest] = []
        for request in waiting:
            board_name = _choose(request, free.get(request.board_class, set()), alive.get(request.board_class, []))
            if board_name is None:
                left.append(request)
                continue
            free[request.board_class].remove(board_name)
            held[board_name] += 1
            grants.append(Grant(measurement_key=request.measurement_key, board=board_name, position=position))
        waiting = [request for request in left if request.twin_of is None]
    return grants


def _turn(request: PendingRequest) -> tuple[bool, int, float, str]:
    return request.twin_of is not None, -request.priority, request.created_at, request.measurement_key


def _choose(request: PendingRequest, free: Set[str], alive: Sequence[str]) -> str | None:
    if not free:
        return None
    untried_anywhere = any(name not in request.tried | request.barred for name in alive)
    candidates = [name for name in free - request.barred if not untried_anywhere or name not in request.tried]
    return min(candidates, key=lambda name: _draw(request.measurement_key, name), default=None)


def _draw(key: str, board: str) -> str:
    return hashlib.sha256(f"{key}/{board}".encode()).hexdigest()


def misfit(result: Result, lease: Lease) -> str | None:
    """Return where a result departs from the lease that it answers, or None if it fits."""
    asked = {
        "token": lease.token,
        "attempt": lease.attempt,
        "board": lease.board,
        "board_class": lease.board_class,
        "measurement_key": lease.measurement_key,
        "structure_key": lease.structure_key,
        "model_sha256": lease.model.sha256,
        "tier": lease.tier,
        "half": lease.half,
    }
    for name, expected in asked.items():
        if (got := getattr(result, name)) != expected:
            return f"{name} is {got!r} but lease {lease.lease_id} has {expected!r}"
    return None
