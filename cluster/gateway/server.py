"""The SSH server that boards connect to: no accounts, no root, nothing but SFTP into one mailbox.

User `enroll` comes in with a one-time code; every other user name is a board's and comes in with that board's ed25519
key. Whom to let in is asked of an `Authority`, in a thread, so that a slow disk never stalls the other boards.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncssh

from cluster.gateway.folders import GatewayFolders, write_whole
from cluster.gateway.permission import BOARD_RULES, ENROLMENT_RULES
from cluster.gateway.sftp import MailboxServer, SftpRoot
from edge_agent.records import EnrolmentAnswer, EnrolmentCode, EnrolmentRequest, RecordError

log = logging.getLogger(__name__)

ENROL_USER = "enroll"
_ADDRESSES_LIMIT = 10_000


class Authority(Protocol):
    """Who may come in."""

    def board_key(self, board: str) -> str | None:
        """Return the public key line of a board that may come in, or None."""

    def code_valid(self, token: str) -> bool:
        """Return whether an enrolment code's token is known and has not expired."""

    def enrol(self, token: str, request: EnrolmentRequest) -> EnrolmentAnswer:
        """Register a board with the code's token and say how that went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What one peer may use of the server."""

    connections: int = 1024
    connections_per_board: int = 2
    sessions_per_connection: int = 4
    attempts_per_connection: int = 4
    failed_codes: int = 10
    failed_codes_window_s: float = 60.0
    login_timeout_s: float = 20.0
    keepalive_s: float = 15.0


class BoardServer:
    """The listening server and the connections it holds. All methods but the constructor run in its event loop."""

    def __init__(
        self,
        folders: GatewayFolders,
        *,
        key: asyncssh.SSHKey,
        authority: Authority,
        arrived: Callable[[], None],
        limits: ServerLimits,
    ) -> None:
        self.folders = folders
        self.authority = authority
        self.arrived = arrived
        self.limits = limits
        self._key = key
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: dict[str, list[asyncssh.SSHServerConnection]] = defaultdict(list)
        self._open = 0
        self._gone: dict[str, float] = {}
        self._failed_codes: dict[str, deque[float]] = defaultdict(deque)

    async def listen(self, bind: str, port: int) -> int:
        """Listen on `bind`, port `port` (0: any free one), and return the port."""
        self._acceptor = await asyncssh.create_server(
            lambda: _Visitor(self),
            bind,
            port,
            reuse_address=True,
            server_host_keys=[self._key],
            sftp_factory=self._session,
            encoding=None,
            allow_pty=False,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_scp=False,
            public_key_auth=True,
            password_auth=True,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            compression_algs=None,
            login_timeout=self.limits.login_timeout_s,
            keepalive_interval=self.limits.keepalive_s,
            keepalive_count_max=3,
            config=None,
        )
        return int(self._acceptor.get_port())

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._acceptor is None:
            return
        self._acceptor.close()
        for connections in list(self._connections.values()):
            for connection in list(connections):
                connection.abort()
        await self._acceptor.wait_closed()
        self._acceptor = None

    def change_key(self, key: asyncssh.SSHKey) -> None:
        """Show another host key from the next connection on, and drop all there are."""
        assert self._acceptor is not None
        self._acceptor.update(server_host_keys=[key])
        for user in list(self._connections):
            self.drop(user)

    def drop(self, user: str) -> None:
        """Drop the connections of one user at once."""
        for connection in list(self._connections.get(user, ())):
            connection.abort()

    def connected(self) -> dict[str, int]:
        """Return how many connections each user holds; may be called from any thread."""
        return {user: len(held) for user, held in list(self._connections.items()) if held}

    def gone(self) -> dict[str, float]:
        """Return when users without a connection lost their last one (unix seconds); for any thread."""
        return dict(self._gone)

    def enter(self) -> bool:
        """Count a new connection; False if there are too many."""
        self._open += 1
        return self._open <= self.limits.connections

    def leave(self, user: str | None, connection: asyncssh.SSHServerConnection) -> None:
        """Forget a connection that ended."""
        self._open -= 1
        if user is not None and connection in self._connections[user]:
            self._connections[user].remove(connection)
            if not self._connections[user]:
                self._gone[user] = time.time()

    def admit(self, user: str, connection: asyncssh.SSHServerConnection) -> None:
        """Remember an authenticated connection; a board that has too many loses its oldest, which may be half-open."""
        held = self._connections[user]
        held.append(connection)
        self._gone.pop(user, None)
        limit = self.limits.connections_per_board
        if user != ENROL_USER and len(held) > limit:
            for oldest in held[:-limit]:
                log.info("ssh user=%s has more than %d connections: dropped the oldest", user, limit)
                oldest.abort()

    def codes_exhausted(self, address: str, now: float) -> bool:
        """Return whether an address has lately tried too many wrong codes."""
        failures = self._failed_codes[address]
        while failures and failures[0] < now - self.limits.failed_codes_window_s:
            failures.popleft()
        if not failures:
            del self._failed_codes[address]
            return False
        return len(failures) >= self.limits.failed_codes

    def code_failed(self, address: str, now: float) -> None:
        """Remember a wrong code."""
        if len(self._failed_codes) > _ADDRESSES_LIMIT:
            self._failed_codes.clear()
        self._failed_codes[address].append(now)

    def _session(self, channel: asyncssh.SSHServerChannel) -> MailboxServer:
        connection = channel.get_connection()
        visitor = connection.get_owner()
        assert isinstance(visitor, _Visitor)
        visitor.sessions += 1
        if visitor.sessions > self.limits.sessions_per_connection:
            log.warning("ssh user=%s opened too many sessions: dropped", visitor.user)
            connection.abort()
            raise asyncssh.SFTPFailure("too many sessions on one connection")
        return MailboxServer(channel, self._root(visitor))

    def _root(self, visitor: _Visitor) -> SftpRoot:
        user = visitor.user
        if user is None:
            raise asyncssh.SFTPPermissionDenied("not authenticated")
        if user == ENROL_USER:
            return _enrolment_root(self, visitor)
        mailbox = self.folders.mailbox(user)
        if mailbox.chroot:
            log.warning("ssh user=%s refused: OpenSSH serves its mailbox", user)
            raise asyncssh.SFTPPermissionDenied("OpenSSH serves this board's mailbox; on the board: nas-edge move")
        mailbox.make()

        async def arrived(path: str) -> None:
            self.arrived()

        return SftpRoot(user=user, folder=mailbox.root, rules=BOARD_RULES, arrived=arrived)


def _enrolment_root(server: BoardServer, visitor: _Visitor) -> SftpRoot:
    token = visitor.token
    assert token is not None
    folder = server.folders.enrolments / hashlib.sha256(token.encode()).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def arrived(path: str) -> None:
        if path == "/request.json":
            await asyncio.to_thread(_answer, server.authority, token, folder)
            server.arrived()

    return SftpRoot(user=ENROL_USER, folder=folder, rules=ENROLMENT_RULES, arrived=arrived)


def _answer(authority: Authority, token: str, folder: Path) -> None:
    try:
        request = EnrolmentRequest.from_json((folder / "request.json").read_bytes())
        answer = authority.enrol(token, request)
    except RecordError as error:
        answer = EnrolmentAnswer(accepted=False, reason=str(error))
    log.info("enrolment of %s: %s", answer.board, "accepted" if answer.accepted else f"refused, {answer.reason}")
    write_whole(folder / "answer.json", answer.to_json().encode())


class _Visitor(asyncssh.SSHServer):
    """One connection, from its first byte to its last."""

    def __init__(self, server: BoardServer) -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self._attempts = 0
        self._address = "unknown"
        self.user: str | None = None
        self.token: str | None = None
        self.sessions = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._address = str(conn.get_extra_info("peername", ("unknown",))[0])
        if not self._server.enter():
            log.warning("ssh from %s dropped: %d connections are open", self._address, self._server.limits.connections)
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._connection is not None
        self._server.leave(self.user, self._connection)
        log.info("ssh user=%s from %s left%s", self.user, self._address, f": {exc}" if exc else "")

    def begin_auth(self, username: str) -> bool:
        return True  # False would let everybody in

    def public_key_auth_supported(self) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def kbdint_auth_supported(self) -> bool:
        return False

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Return whether `key` is that of board `username`."""
        if not self._may_try():
            return False
        registered = await asyncio.to_thread(self._server.authority.board_key, username)
        good = registered is not None and asyncssh.import_public_key(registered).public_data == key.public_data
        if not good:
            log.warning("ssh user=%s from %s refused: key %s is not registered", username, self._address, _short(key))
        return good

    async def validate_password(self, username: str, password: str) -> bool:
        """Return whether user `enroll` has shown a code that is known and has not expired."""
        now = time.monotonic()
        if username != ENROL_USER or not self._may_try() or self._server.codes_exhausted(self._address, now):
            return False
        try:
            token = EnrolmentCode.parse(password).token
        except RecordError:
            token = None
        if token is None or not await asyncio.to_thread(self._server.authority.code_valid, token):
            self._server.code_failed(self._address, now)
            log.warning("ssh user=%s from %s refused: the code is unknown or has expired", username, self._address)
            return False
        self.token = token
        return True

    def auth_completed(self) -> None:
        assert self._connection is not None
        self.user = str(self._connection.get_extra_info("username"))
        log.info("ssh user=%s from %s came in", self.user, self._address)
        self._server.admit(self.user, self._connection)

    def _may_try(self) -> bool:
        self._attempts += 1
        if self._attempts <= self._server.limits.attempts_per_connection:
            return True
        assert self._connection is not None
        log.warning("ssh from %s dropped: too many attempts to log in", self._address)
        self._connection.abort()
        return False


def _short(key: asyncssh.SSHKey) -> str:
    return str(key.get_fingerprint())
