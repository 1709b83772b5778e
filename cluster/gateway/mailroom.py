"""The loop over the boards' folders: takes in results and heartbeats, hands out leases, keeps the folders tidy.

All that matters is in the store; the folders are brought in line with it in every round. A round may therefore be cut
short anywhere, by a kill too, and the next one, of whatever process, goes on from there.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cluster.gateway import artifacts, leasing
from cluster.gateway.folders import GatewayFolders, Mailbox, write_whole
from cluster.gateway.intake import Intake, acknowledge
from cluster.gateway.leasing import BoardView, Expiry
from cluster.gateway.outbox import discard
from edge_agent.records import (
    AgentSettings,
    Heartbeat,
    Lease,
    RecordError,
)
from nas_service.errors import NasError, NotFoundError, RetryableError
from nas_service.fleet import Board, BoardClass, PendingRequest, Settlement, StandingLease
from nas_service.store.files import CorruptFileError, FileStore
from nas_service.store.fleet import FleetStore

log = logging.getLogger(__name__)

POLL_S = 1.0
HEARTBEAT_S = 10.0
AGENT_REFRESH_S = 5.0
JUDGED_EVERY_S = 3.0
ACK_KEPT_S = 3600.0
ACK_REDONE_S = 600.0
PART_KEPT_S = 600.0
HEARTBEAT_LIMIT_BYTES = 64 << 10


class Mailroom:
    """One round at a time over all mailboxes; not to be shared between threads."""

    def __init__(
        self,
        folders: GatewayFolders,
        *,
        fleet: FleetStore,
        files: FileStore,
        clock: Callable[[], float] = time.time,
        gone: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """Take what the room works with; `gone` tells when boards without a connection lost their last one."""
        self._folders = folders
        self._fleet = fleet
        self._files = files
        self._clock = clock
        self._intake = Intake(folders, fleet=fleet, clock=clock)
        self.gone = gone
        self._started_at = clock()
        self._heartbeats: dict[str, tuple[int, int]] = {}
        self._agent_written: dict[str, tuple[float, AgentSettings | None]] = {}
        self._tidied_at = float("-inf")
        self._judged_at, self._out = float("-inf"), frozenset[str]()
        self._obstacles: dict[str, str] = {}
        self.present: frozenset[str] = frozenset()
        self.next_host_key: str | None = None  # announced to the boards; may be set from another thread

    def begin(self) -> None:
        """Make up for what a killed process left undone: acknowledgements of results that it stored."""
        for board, result_id in self._fleet.leases.received_since(self._clock() - ACK_REDONE_S):
            mailbox = self._folders.mailbox(board)
            if mailbox.root.is_dir() and not mailbox.acknowledgement(result_id).exists():
                mailbox.make()
                acknowledge(mailbox, result_id, reason=None)

    def round(self) -> bool:
        """Bring store and folders in line once; return whether anything was taken in or handed out."""
        boards = self._fleet.boards()
        busy = sum(self._intake.take(board) for board in boards) > 0
        if self._take_heartbeats(boards):
            boards = self._fleet.boards()
        views = self._views(boards)
        busy |= self._end_leases(views)
        busy |= self._grant_leases(views)
        self._lay_out(boards, self._fleet.leases.standing())
        self._tidy(boards)
        self.present = frozenset(board.name for board in boards)
        return busy

    def _take_heartbeats(self, boards: Sequence[Board]) -> bool:
        beats: list[tuple[Heartbeat, float]] = []
        for board in boards:
            path = self._folders.mailbox(board.name).heartbeat
            try:
                status = path.stat()
            except OSError:
                continue
            stamp = (status.st_mtime_ns, status.st_ino)
            if self._heartbeats.get(board.name) == stamp or status.st_size == 0:  # empty before a chroot's first
                continue
            self._heartbeats[board.name] = stamp
            if (beat := _heartbeat(path, board.name)) is not None:
                beats.append((beat, min(status.st_mtime, self._clock())))
        if beats:
            self._keep_heartbeats(beats)
        return bool(beats)

    def _keep_heartbeats(self, beats: Sequence[tuple[Heartbeat, float]]) -> None:
        """Keep them all at once, or, if one of them cannot be kept, all the others."""
        try:
            self._fleet.heartbeats(beats)
        except RetryableError:
            raise
        except Exception as error:
            if len(beats) == 1:
                log.warning("heartbeat of board %s cannot be kept: %s", beats[0][0].board, error)
                return
            for beat in beats:
                self._keep_heartbeats([beat])

    def _views(self, boards: Sequence[Board]) -> list[BoardView]:
        out, gone, now = self._quarantined(), self.gone(), self._clock()
        self._log_obstacles(boards, now=now)
        return [
            _view(board, self._started_at, out=board.name in out, gone=gone.get(board.name), now=now)
            for board in boards
        ]

    def _log_obstacles(self, boards: Sequence[Board], *, now: float) -> None:
        """Log what newly keeps a board from getting leases."""
        found = {board.name: why for board in boards if (why := board.obstacle(now=now)) is not None}
        for name, why in found.items():
            if self._obstacles.get(name) != why:
                log.warning("board %s gets no leases: %s", name, why)
        self._obstacles = found

    def _quarantined(self) -> frozenset[str]:
        """Return the boards in quarantine, looked up every few seconds; log who comes and who goes."""
        now = self._clock()
        if not 0 <= now - self._judged_at < JUDGED_EVERY_S:
            self._judged_at, before = now, self._out
            found = self._fleet.quarantines(now=now)
            self._out = frozenset(found)
            for name in sorted(self._out - before):
                log.warning("board %s is in quarantine: %s", name, found[name].reason)
            for name in sorted(before - self._out):
                log.info("board %s is out of quarantine", name)
        return self._out

    def _end_leases(self, views: Sequence[BoardView]) -> bool:
        standing, now = self._fleet.leases.standing(), self._clock()
        for name in leasing.adoptions(standing, views):
            log.info("board %s came back anew and goes on with its lease", name)
            self._fleet.leases.adopt(name)
            standing = self._fleet.leases.standing()
        over = leasing.expiries(standing, views, now=now)
        for expiry in over:
            log.warning("lease %s is over: %s", expiry.lease_id, expiry.cause)
            self._expire(expiry, now=now)
        return bool(over)

    def _expire(self, expiry: Expiry, *, now: float) -> None:
        def settle(request: PendingRequest) -> Settlement:
            return leasing.after_expiry(request, expiry, now=now)

        self._fleet.leases.expire(expiry.lease_id, cause=expiry.cause, settle=settle, now=now)

    def _grant_leases(self, views: Sequence[BoardView]) -> bool:
        queued = self._fleet.leases.queued()
        if not queued:
            return False
        now = self._clock()
        by_key = {request.measurement_key: request for request in queued}
        grants = leasing.assign(queued, views, self._fleet.leases.standing(), now=now)
        granted = [self._grant(by_key[grant.measurement_key], grant, now=now) for grant in grants]
        return any(granted)

    def _grant(self, request: PendingRequest, grant: leasing.Grant, *, now: float) -> bool:
        if not self._place(request, self._folders.mailbox(grant.board), now=now):
            return False
        lease = self._fleet.leases.grant(
            grant.measurement_key,
            board=grant.board,
            ttl_s=leasing.LOST_AFTER_S,
            deadline=leasing.deadline(now, settings=request.settings, tier=request.tier, position=grant.position),
            now=now,
            holding_limit=leasing.HOLDING_LIMIT,
        )
        if lease is not None:
            log.info("lease %s granted to board %s, attempt %d", lease.lease_id, lease.board, lease.attempt)
        return lease is not None

    def _place(self, request: PendingRequest, mailbox: Mailbox, *, now: float) -> bool:
        """Lay the request's file into the mailbox, checked; without it the request fails and nobody waits for it."""
        mailbox.make()
        try:
            artifacts.place(
                self._files,
                request.model_sha256,
                mailbox.artifacts / request.model_sha256,
                mode=mailbox.file_mode,
            )
        except (CorruptFileError, NotFoundError) as error:
            (log.info if request.twin_of else log.error)("request %s fails: %s", request.measurement_key[:16], error)
            cause = f"the model file cannot be handed out: {error}; export it again and ask anew"
            self._fleet.leases.fail(request.measurement_key, cause=cause, now=now)
            return False
        return True

    def _lay_out(self, boards: Sequence[Board], standing: Sequence[StandingLease]) -> None:
        classes = {board_class.name: board_class for board_class in self._fleet.board_classes()}
        for board in boards:
            mailbox = self._folders.mailbox(board.name)
            mailbox.make()
            self._write_agent(board, mailbox, classes[board.board_class])
            held = [lease.lease for lease in standing if lease.lease.board == board.name]
            self._lay_out_leases(mailbox, held)

    def _lay_out_leases(self, mailbox: Mailbox, held: Sequence[Lease]) -> None:
        wanted_files = {lease.model.sha256 for lease in held}
        for lease in held:
            target = mailbox.artifacts / lease.model.sha256
            if not target.exists():
                self._place_again(lease, target, mode=mailbox.file_mode)
            text = lease.to_json().encode()
            if _size(mailbox.lease(lease.lease_id)) != len(text):  # absent, or cut short by a failing disk
                write_whole(mailbox.lease(lease.lease_id), text, mode=mailbox.file_mode)
        wanted = {mailbox.lease(lease.lease_id).name for lease in held}
        _sweep(mailbox.inbox, lambda name: name.startswith("lease-") and name not in wanted)
        _sweep(mailbox.artifacts, lambda name: name not in wanted_files)

    def _place_again(self, lease: Lease, target: Path, *, mode: int | None) -> None:
        try:
            artifacts.place(self._files, lease.model.sha256, target, mode=mode)
        except NasError as error:  # the board finds it absent and says so; its lease is then settled
            log.error("artefact of lease %s: %s", lease.lease_id, error)

    def _write_agent(self, board: Board, mailbox: Mailbox, board_class: BoardClass) -> None:
        now = self._clock()
        written_at, written = self._agent_written.get(board.name, (float("-inf"), None))
        settings = AgentSettings(
            board=board.name,
            board_class=board.board_class,
            host_unix_s=0.0,
            poll_s=POLL_S,
            heartbeat_s=HEARTBEAT_S,
            next_host_key=self.next_host_key,
            settings=board_class.settings,
        )
        if settings == written and 0 <= now - written_at < AGENT_REFRESH_S and mailbox.agent.exists():
            return
        self._agent_written[board.name] = (now, settings)
        record = replace(settings, host_unix_s=now)
        write_whole(mailbox.agent, record.to_json().encode(), sync=False, mode=mailbox.file_mode)

    def _tidy(self, boards: Sequence[Board]) -> None:
        """Once a minute: drop old acknowledgements and abandoned uploads, and the folders of removed boards."""
        now = self._clock()
        if now - self._tidied_at < 60.0:
            return
        self._tidied_at = now
        for board in boards:
            mailbox = self._folders.mailbox(board.name)
            _sweep(mailbox.inbox, lambda name: name.startswith("ack-"), older_than=now - ACK_KEPT_S)
            _sweep(mailbox.outbox, lambda name: not name.endswith(".json"), older_than=now - PART_KEPT_S)
        known = {board.name for board in boards}
        for parent in (self._folders.boards, self._folders.refusals):
            _sweep_folders(parent, lambda name: name not in known, older_than=now - PART_KEPT_S)
        _sweep_folders(self._folders.enrolments, lambda name: True, older_than=now - ACK_KEPT_S)


def _view(board: Board, started_at: float, *, out: bool, gone: float | None, now: float) -> BoardView:
    beat = board.heartbeat
    return BoardView(
        name=board.name,
        board_class=board.board_class,
        may_lease=board.may_lease(now=now) and not out and (beat is None or beat.state != "stopping"),
        incarnation=board.incarnation,
        last_seen=board.last_seen,
        silent_since=max(board.last_seen or 0.0, started_at),
        quiet_until=beat.quiet_until_unix_s if beat else None,
        restarted_at=board.incarnation_since,
        working_on=beat.lease_id if beat else None,
        gone_since=gone,
    )


def _heartbeat(path: Path, board: str) -> Heartbeat | None:
    try:
        with path.open("rb") as file:
            beat = Heartbeat.from_json(file.read(HEARTBEAT_LIMIT_BYTES))
    except (RecordError, OSError) as error:
        log.warning("heartbeat of board %s ignored: %s", board, error)
        return None
    if beat.board != board:
        log.warning("heartbeat of board %s ignored: it says that it is %r", board, beat.board)
        return None
    return beat


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _sweep(folder: Path, unwanted: Callable[[str], bool], *, older_than: float | None = None) -> None:
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if unwanted(entry.name) and (older_than is None or entry.stat(follow_symlinks=False).st_mtime < older_than):
                discard(Path(entry.path))


def _sweep_folders(parent: Path, unwanted: Callable[[str], bool], *, older_than: float) -> None:
    if not parent.is_dir():
        return
    for folder in parent.iterdir():
        if unwanted(folder.name) and folder.stat().st_mtime < older_than:
            shutil.rmtree(folder, ignore_errors=True)


def run_until(stop: Callable[[float], bool], room: Mailroom) -> None:
    """Go round until `stop(seconds)`, which waits for news at most that long, returns True."""
    pause_s = 0.0
    while not stop(pause_s):
        try:
            busy = room.round()
            pause_s = 0.02 if busy else 0.5
        except RetryableError as error:
            log.warning("the store is busy: %s", error)
            pause_s = 1.0
        except Exception:
            log.exception("a round over the mailboxes failed; the next one begins in 5 s")
            pause_s = 5.0
