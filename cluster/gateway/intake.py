"""Taking in what boards answer: each result is stored or refused, acknowledged, and settles its lease."""

from __future__ import annotations

import logging
from collections.abc import Callable

from cluster.gateway import leasing
from cluster.gateway.folders import GatewayFolders, Mailbox, write_whole
from cluster.gateway.outbox import Letter, Refusal, read_letters, set_aside
from edge_agent.records import CAUSE_LIMIT, Acknowledgement, Result, shortened
from nas_service.errors import RetryableError
from nas_service.fleet import Board, PendingRequest, Settlement
from nas_service.store.fleet import FleetStore

log = logging.getLogger(__name__)


class Intake:
    """What the mailroom does with the outboxes."""

    def __init__(self, folders: GatewayFolders, *, fleet: FleetStore, clock: Callable[[], float]) -> None:
        """Take where the outboxes are, where results go, and what time it is."""
        self._folders, self._fleet, self._clock = folders, fleet, clock

    def take(self, board: Board) -> int:
        """Take in what lies in a board's outbox; return how many files that were."""
        mailbox = self._folders.mailbox(board.name)
        taken = 0
        for letter in read_letters(mailbox.outbox):
            try:
                self._take(board, mailbox, letter)
            except OSError as error:  # it comes again, since the board was told nothing
                log.warning("result %s of board %s waits: %s", letter.result_id, board.name, error)
                continue
            taken += 1
        return taken

    def _take(self, board: Board, mailbox: Mailbox, letter: Letter) -> None:
        """Store one result, remove its file, acknowledge it: in this order, so that a kill repeats and never loses."""
        refusal = letter.refusal if letter.result is None else self._stored(board, letter.result)
        if refusal is None:
            letter.path.unlink(missing_ok=True)
        else:
            log.warning("result %s of board %s refused: %s", letter.result_id, board.name, refusal.reason)
            self._end_refused(board, letter, refusal)
            set_aside(letter.path, self._folders.refused(board.name))
        acknowledge(mailbox, letter.result_id, reason=None if refusal is None else refusal.reason)

    def _stored(self, board: Board, result: Result) -> Refusal | None:
        """Store a result or return why it cannot be; a fault of ours with one board's letter is not all boards'."""
        try:
            reason = self._store(board, result)
        except RetryableError:
            raise
        except Exception as error:
            log.exception("result %s of board %s could not be taken in", result.result_id, board.name)
            reason = f"the gateway cannot take it in: {type(error).__name__}: {error}"
            return Refusal(reason=reason, fault="infra")
        return None if reason is None else Refusal(reason=reason)

    def _end_refused(self, board: Board, letter: Letter, refusal: Refusal) -> None:
        """End the lease that a refused result names, if it is this board's: nothing better will come for it."""
        lease = None if letter.lease_id is None else self._fleet.leases.lease(letter.lease_id)
        if lease is None or lease.board != board.name:
            return
        said = f"; it says: {letter.result.cause}" if letter.result and letter.result.cause else ""
        cause = shortened(f"the result of board {board.name} was refused: {refusal.reason}{said}", CAUSE_LIMIT)
        now = self._clock()

        def settle(request: PendingRequest) -> Settlement:
            return leasing.after_fault(request, fault=refusal.fault, cause=cause, now=now)

        self._fleet.leases.expire(lease.lease_id, cause=cause, settle=settle, now=now)

    def _store(self, board: Board, result: Result) -> str | None:
        lease = self._fleet.leases.lease(result.lease_id)
        if lease is None:
            return f"lease {result.lease_id} was never granted"
        if result.board != board.name:
            return f"board is {result.board!r} but the outbox is {board.name!r}'s"
        if (reason := leasing.misfit(result, lease)) is not None:
            return reason
        now = self._clock()

        def settle(request: PendingRequest) -> Settlement:
            return leasing.after_result(request, result, now=now)

        receipt = self._fleet.leases.record(result, settle=settle, received_at=now)
        word = "again" if receipt.duplicate else "late" if receipt.late else "stored"
        log.info(
            "result %s of board %s for %s: %s, %s", result.result_id, board.name, lease.lease_id, result.status, word
        )
        return receipt.reason


def acknowledge(mailbox: Mailbox, result_id: str, *, reason: str | None) -> None:
    """Tell a board that a result has arrived, or why it is refused; either way it need not come again."""
    answer = Acknowledgement(result_id=result_id, stored=reason is None, reason=reason)
    write_whole(mailbox.acknowledgement(result_id), answer.to_json().encode(), mode=mailbox.file_mode)
