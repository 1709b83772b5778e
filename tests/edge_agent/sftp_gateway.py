"""A real SFTP server in a thread, one chroot per user: what any gateway is to a board."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import asyncssh

from edge_agent.records import (
    PROTOCOL_VERSION,
    Acknowledgement,
    AgentSettings,
    Artifact,
    EnrolmentAnswer,
    EnrolmentCode,
    EnrolmentRequest,
    Lease,
    Result,
)


class SftpGateway:
    """Serves `root`/USER to USER; boards come in by key, `enroll` by code."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.codes: set[str] = set()
        self.boards: dict[str, str] = {}
        self.logins = 0
        self.port = 0
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> SftpGateway:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def start(self) -> None:
        self._acceptor = self._call(self._listen())
        self.port = self._acceptor.get_port()

    def stop(self) -> None:
        async def close() -> None:
            self._acceptor.close()
            for connection in list(self._connections):
                connection.abort()
            await self._acceptor.wait_closed()
            await asyncio.sleep(0.05)

        self._call(close())

    @property
    def host_key_line(self) -> str:
        return self.key.export_public_key().decode().strip()

    def new_code(self) -> EnrolmentCode:
        code = EnrolmentCode(token="abcdefghij234567", host_key_sha256=hashlib.sha256(self.key.public_data).hexdigest())
        self.codes.add(code.format())
        return code

    def add_board(self, name: str, public_key: str) -> None:
        self.boards[name] = " ".join(public_key.split()[:2])
        folder = self.root / name
        for sub in ("artifacts", "inbox", "outbox"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        settings = AgentSettings(board=name, board_class="x86", host_unix_s=time.time(), poll_s=0.1, heartbeat_s=0.5)
        (folder / "agent.json").write_text(settings.to_json())

    def put_artifact(self, data: bytes, *, board: str = "pi") -> Artifact:
        digest = hashlib.sha256(data).hexdigest()
        (self.root / board / "artifacts" / digest).write_bytes(data)
        return Artifact(sha256=digest, size_bytes=len(data))

    def put_lease(
        self, model: Artifact, *, lease_id: str = "l1", token: int = 1, board: str = "pi", **more: Any
    ) -> Lease:
        values: dict[str, Any] = {
            "board_class": "x86",
            "tier": "probe",
            "half": "little",
            "structure_key": "a" * 64,
            "measurement_key": "b" * 64,
            "ttl_s": 180.0,
            "deadline_unix_s": time.time() + 300,
        } | more
        lease = Lease(version=PROTOCOL_VERSION, lease_id=lease_id, token=token, board=board, model=model, **values)
        (self.root / board / "inbox" / f"lease-{lease_id}.json").write_text(lease.to_json())
        return lease

    def results(self, *, board: str = "pi") -> list[Result]:
        return [Result.from_json(p.read_bytes()) for p in sorted((self.root / board / "outbox").glob("*.json"))]

    def await_results(self, count: int = 1, *, timeout_s: float = 30.0) -> list[Result]:
        end = time.monotonic() + timeout_s
        while len(found := self.results()) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} results after {timeout_s} s"
            time.sleep(0.05)
        return found

    def acknowledge(self, result: Result, *, board: str = "pi") -> None:
        folder = self.root / board
        (folder / "inbox" / f"lease-{result.lease_id}.json").unlink(missing_ok=True)
        (folder / "outbox" / f"{result.result_id}.json").unlink(missing_ok=True)
        word = Acknowledgement(result_id=result.result_id, stored=True)
        (folder / "inbox" / f"ack-{result.result_id}.json").write_text(word.to_json())

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=20)

    async def _listen(self) -> asyncssh.SSHAcceptor:
        self._connections: set[asyncssh.SSHServerConnection] = set()
        return await asyncssh.create_server(
            lambda: _Visitor(self),
            "127.0.0.1",
            self.port,
            reuse_address=True,
            server_host_keys=[self.key],
            sftp_factory=lambda channel: _Root(self, channel),
            encoding=None,
            config=None,
        )


class _Visitor(asyncssh.SSHServer):
    def __init__(self, gateway: SftpGateway) -> None:
        self._gateway = gateway

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._gateway._connections.add(conn)
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self._gateway._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        self._gateway.logins += 1
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return username == "enroll" and password in self._gateway.codes

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known = self._gateway.boards.get(username)
        return known is not None and asyncssh.import_public_key(known).public_data == key.public_data


class _Root(asyncssh.SFTPServer):
    def __init__(self, gateway: SftpGateway, channel: asyncssh.SSHServerChannel) -> None:
        self._gateway = gateway
        user = channel.get_connection().get_extra_info("username")
        folder = gateway.root / user
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        super().__init__(channel, chroot=str(folder).encode())

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        super().posix_rename(oldpath, newpath)
        if newpath == b"/request.json":
            request = EnrolmentRequest.from_json((self._folder / "request.json").read_bytes())
            self._gateway.add_board("pi", request.public_key)
            answer = EnrolmentAnswer(accepted=True, board="pi", board_class="x86")
            (self._folder / "answer.json").write_text(answer.to_json())
