"""The gateway as its owner sees it: start it, ask it for measurements, enrol and remove boards, close it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.gateway.folders import GatewayFolders
from cluster.gateway.host_key import ensure_host_key, fingerprint, public_line
from cluster.gateway.lock import GatewayLock
from cluster.gateway.mailroom import Mailroom, run_until
from cluster.gateway.port import RETRY_S, bind_fixed
from cluster.gateway.server import ENROL_USER, BoardServer, ServerLimits
from edge_agent.records import EnrolmentAnswer, EnrolmentCode, EnrolmentRequest, RuntimeSettings
from nas_service.errors import ConflictError, InvalidRequestError, NasError
from nas_service.fleet import Board, BoardClass
from nas_service.home import Home
from nas_service.measurement import MeasurementRequest, RequestState
from nas_service.store import Store

log = logging.getLogger(__name__)

CODE_TTL_S = 3600.0
DEFAULT_LIMITS = ServerLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """Where the gateway listens and who is there."""

    bind: str
    port: int
    fingerprint: str
    connections: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeyChange:
    """The host key that is to come, as lower-case hex SHA-256, the boards that know it, and those that do not yet."""

    fingerprint: str
    told: tuple[str, ...]
    waiting: tuple[str, ...]


class _StoreAuthority:
    """Whom the server lets in, by the store."""

    def __init__(self, store: Store) -> None:
        self._fleet = store.fleet

    def board_key(self, board: str) -> str | None:
        """See Authority."""
        return self._fleet.board_key(board)

    def code_valid(self, token: str) -> bool:
        """See Authority."""
        return self._fleet.code_valid(token, now=time.time())

    def enrol(self, token: str, request: EnrolmentRequest) -> EnrolmentAnswer:
        """See Authority."""
        try:
            board = self._fleet.redeem(
                token, public_key=request.public_key, fingerprint=request.fingerprint, now=time.time()
            )
        except NasError as error:
            return EnrolmentAnswer(accepted=False, reason=str(error))
        return EnrolmentAnswer(accepted=True, board=board.name, board_class=board.board_class)


class Gateway:
    """The boards' SSH server and mailroom over one store, in threads of their own.

    Every method may be called from any thread, and returns within milliseconds.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        *,
        bind: str = "127.0.0.1",
        port: int | None = None,
        limits: ServerLimits = DEFAULT_LIMITS,
        start_timeout_s: float = RETRY_S,
    ) -> None:
        """Take what the gateway works with; nothing is opened yet.

        Args:
            home: NAS_HOME.
            store: Its store, open for as long as the gateway.
            bind: The address to listen on.
            port: The port; None means that of the first start, or any free one.
            limits: What one peer may use.
            start_timeout_s: How long to wait for a predecessor to let go of the home and the port.
        """
        self._home, self._store, self._bind, self._wanted_port = home, store, bind, port
        self._folders = GatewayFolders.at(home.gateway)
        self._limits, self._start_timeout_s = limits, start_timeout_s
        self._lock = GatewayLock(self._folders.lock)
        self._loop = asyncio.new_event_loop()
        self._stop = threading.Event()
        self._news = threading.Event()
        self._threads: list[threading.Thread] = []
        self._server: BoardServer | None = None
        self._room: Mailroom | None = None
        self._port = 0
        self._fingerprint = ""
        self._host_key_line = ""

    def start(self) -> Gateway:
        """Open the SSH server, begin the rounds, and return self.

        Raises:
            ConflictError: Another gateway runs over this home.
            NasError: The port is taken, or the host key cannot be read.
        """
        self._lock.acquire(retry_s=self._start_timeout_s)
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        log.info("gateway listens on %s:%d, host key %s", self._bind, self._port, self._fingerprint)
        return self

    def _open(self) -> None:
        key = ensure_host_key(self._folders.host_key)
        self._fingerprint, self._host_key_line = fingerprint(key), public_line(key)
        self._folders.boards.mkdir(parents=True, exist_ok=True)
        room = Mailroom(self._folders, fleet=self._store.fleet, files=self._store.files, gone=self._gone)
        self._room = room
        if self._folders.next_host_key.exists():
            room.next_host_key = public_line(ensure_host_key(self._folders.next_host_key))
        room.begin()
        room.round()
        self._server = BoardServer(
            self._folders, key=key, authority=_StoreAuthority(self._store), arrived=self._news.set, limits=self._limits
        )
        self._launch("gateway-ssh", self._run_loop)
        self._port = bind_fixed(
            self._folders.port, self._wanted_port, lambda port: self._listen(port), retry_s=self._start_timeout_s
        )
        self._launch("gateway-mailroom", lambda: self._go_round(room))

    def close(self) -> None:
        """Stop listening, drop the boards, end the threads. What is on disk stays."""
        self._stop.set()
        self._news.set()
        if self._server is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(timeout=10)
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join(timeout=10)
        if not self._loop.is_running() and not self._loop.is_closed():
            self._loop.close()
        self._lock.release()

    @property
    def host_key_line(self) -> str:
        """The server's public key, `ssh-ed25519 AAAA...`, as known_hosts files hold it."""
        return self._host_key_line

    def store_artifact(self, data: bytes) -> str:
        """Keep an ONNX file for the boards and return its SHA-256."""
        return self._store.files.put(data)

    def request(self, requests: Sequence[MeasurementRequest]) -> list[RequestState]:
        """Ask for measurements and return where each stands, in order; asking again changes nothing.

        Raises:
            InvalidRequestError: A board class is unknown, or a model file was not stored first.
        """
        for request in requests:
            if not self._store.files.exists(request.model.sha256):
                raise InvalidRequestError(f"model {request.model.sha256} is not stored; call store_artifact first")
        states = self._store.fleet.request(requests, now=time.time())
        self._news.set()
        return states

    def poll(self, measurement_keys: Sequence[str]) -> dict[str, RequestState]:
        """Return where requests stand, by measurement key; one that nobody asked for is absent."""
        return self._store.fleet.states(measurement_keys)

    def enrol(
        self, board: str, board_class: str, *, ttl_s: float = CODE_TTL_S, settings: RuntimeSettings | None = None
    ) -> str:
        """Return a one-time code that lets `board` in as one of `board_class`; shown once, kept nowhere.

        Raises:
            InvalidRequestError: A name is not one.
            ConflictError: The board is enrolled already.
        """
        token = self._store.fleet.create_enrolment(
            board, board_class=board_class, ttl_s=ttl_s, now=time.time(), settings=settings
        )
        return EnrolmentCode(token=token, host_key_sha256=self._fingerprint).format()

    def boards(self) -> list[Board]:
        """Return the boards, by name."""
        return self._store.fleet.boards()

    def board_classes(self) -> list[BoardClass]:
        """Return the board classes, by name."""
        return self._store.fleet.board_classes()

    def drain(self, name: str, *, draining: bool = True) -> Board:
        """Give a board no new leases; see FleetStore.drain."""
        return self._store.fleet.drain(name, draining=draining)

    def remove(self, name: str) -> Board | None:
        """Revoke a board's key and drop its connections at once; None if it only waited to enrol."""
        board = self._store.fleet.remove(name, now=time.time())
        if self._server is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._server.drop, name)
        self._news.set()
        return board

    def announce_host_key(self) -> HostKeyChange:
        """Make the next host key, if there is none, tell the boards of it, and return who knows it."""
        key = ensure_host_key(self._folders.next_host_key)
        assert self._room is not None
        self._room.next_host_key = public_line(key)
        self._news.set()
        wanted = fingerprint(key)
        beats = {board.name: board.heartbeat for board in self.boards()}
        told = {name for name, beat in beats.items() if beat is not None and beat.next_host_key_sha256 == wanted}
        return HostKeyChange(fingerprint=wanted, told=tuple(sorted(told)), waiting=tuple(sorted(set(beats) - told)))

    def switch_host_key(self, *, force: bool = False) -> HostKeyChange:
        """Show the announced key from now on; all connections end, and boards that were told come back by themselves.

        Codes that were given out and not used are for the old key, and are void with it.

        Raises:
            ConflictError: No key was announced, or, without `force`, some board has not been told.
        """
        if not self._folders.next_host_key.exists():
            raise ConflictError("no host key was announced; run first: nas board host-key")
        change = self.announce_host_key()
        if change.waiting and not force:
            raise ConflictError(
                f"not told of the new host key: {', '.join(change.waiting)}; wait for them, remove them "
                "(nas board rm), or switch with --force and enrol them again"
            )
        os.replace(self._folders.next_host_key, self._folders.host_key)
        key = ensure_host_key(self._folders.host_key)
        self._fingerprint, self._host_key_line = fingerprint(key), public_line(key)
        assert self._room is not None
        self._room.next_host_key = None
        if self._server is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._server.change_key, key)
        log.info("host key changed to %s; not told: %s", self._fingerprint, ", ".join(change.waiting) or "nobody")
        return change

    def status(self) -> GatewayStatus:
        """Return where the gateway listens, its host key's fingerprint, and the connections by user."""
        connections = self._server.connected() if self._server is not None else {}
        return GatewayStatus(bind=self._bind, port=self._port, fingerprint=self._fingerprint, connections=connections)

    def __enter__(self) -> Gateway:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _launch(self, name: str, target: object) -> None:
        thread = threading.Thread(name=name, target=target, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _listen(self, port: int) -> int:
        assert self._server is not None
        return asyncio.run_coroutine_threadsafe(self._server.listen(self._bind, port), self._loop).result(timeout=10)

    def _go_round(self, room: Mailroom) -> None:
        def stop(seconds: float) -> bool:
            self._drop_removed(room)
            return self._wait(seconds)

        run_until(stop, room)

    def _gone(self) -> dict[str, float]:
        return {} if self._server is None else self._server.gone()

    def _drop_removed(self, room: Mailroom) -> None:
        """Drop the boards that some other process has removed from the store."""
        assert self._server is not None
        for user in self._server.connected():
            if user not in room.present and user != ENROL_USER and self._store.fleet.board_key(user) is None:
                self._loop.call_soon_threadsafe(self._server.drop, user)

    def _wait(self, seconds: float) -> bool:
        if seconds > 0:
            self._news.wait(seconds)
        self._news.clear()
        return self._stop.is_set()
