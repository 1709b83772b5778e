"""The board's mailbox: files over SFTP under the board's own root, read and written by a paramiko client.

Whatever comes from the server is checked here before it becomes a path or a record: names by `check_name`, sizes
against a limit, contents against their SHA-256.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import paramiko

from edge_agent.cache import ArtifactCache
from edge_agent.errors import ArtifactError, ForbiddenError, HostKeyError, LinkError
from edge_agent.home import BoardConfig, Home
from edge_agent.link import Link, Server, link_errors, open_link
from edge_agent.records import (
    Acknowledgement,
    AgentSettings,
    Artifact,
    Heartbeat,
    Lease,
    RecordError,
    Result,
    check_name,
    check_sha256,
)

_MAX_RECORD_BYTES = 1 << 20
_READ_BYTES = 32 << 10
_REQUEST_BYTES = 255 << 10  # as OpenSSH's own client; a server that gives less is asked again for the rest
_PREFETCH_REQUESTS = 64  # few of paramiko's usual 32 KiB drop a pull to a tenth of the speed; these are 16 MiB ahead
_MAX_INBOX = 1000
_HEARTBEAT = "/heartbeat.json"


@dataclass(frozen=True, slots=True)
class Inbox:
    """What lies in /inbox: ids of leases, and ids of acknowledged results."""

    lease_ids: tuple[str, ...]
    acknowledged: tuple[str, ...]


class Mailbox(Protocol):
    """What the agent's loop asks of a connection to the gateway; every method may raise LinkError."""

    def list_inbox(self) -> Inbox:
        """Return the ids in the inbox."""
        ...

    def read_lease(self, lease_id: str) -> Lease | None:
        """Return a lease, None if it is gone; raise UnreadableLeaseError or another RecordError if it is none."""
        ...

    def read_settings(self) -> AgentSettings:
        """Return /agent.json; raise RecordError if it is none."""
        ...

    def read_acknowledgement(self, result_id: str) -> Acknowledgement | None:
        """Return an acknowledgement, None if it is gone."""
        ...

    def fetch_artifact(self, artifact: Artifact) -> Path:
        """Return the verified file; raise ArtifactError if it cannot be had as announced."""
        ...

    def put_result(self, result: Result) -> None:
        """Write a result into the outbox, whole or not at all."""
        ...

    def put_heartbeat(self, heartbeat: Heartbeat) -> float | None:
        """Write the heartbeat; return the server's time of writing in Unix seconds if it tells."""
        ...

    def read_heartbeat(self) -> Heartbeat | None:
        """Return the last heartbeat of this board, None if it has none that can be read."""
        ...

    def close(self) -> None:
        """Close the connection; never raises."""
        ...


def parse_inbox(names: list[str]) -> Inbox:
    """Return the ids in a listing; names that are no lease and no acknowledgement are ignored."""
    leases: list[str] = []
    acknowledged: list[str] = []
    for name in sorted(names)[:_MAX_INBOX]:
        kind, _, rest = name.partition("-")
        identifier = rest.removesuffix(".json")
        if identifier == rest or kind not in ("lease", "ack"):
            continue
        with contextlib.suppress(RecordError):
            (leases if kind == "lease" else acknowledged).append(check_name(identifier))
    return Inbox(tuple(leases), tuple(acknowledged))


class SftpMailbox:
    """The mailbox over one SSH connection. Not for use from two threads."""

    def __init__(self, link: Link, *, cache: ArtifactCache) -> None:
        """Take an open link and where artefacts go."""
        self._link, self._sftp, self._cache = link, link.sftp, cache
        self._root_is_closed = False

    def list_inbox(self) -> Inbox:
        """Return the ids in the inbox."""
        with link_errors("inbox"):
            return parse_inbox(self._sftp.listdir("/inbox"))

    def read_lease(self, lease_id: str) -> Lease | None:
        """Return a lease, None if it is gone."""
        text = self._read(f"/inbox/lease-{check_name(lease_id)}.json")
        return None if text is None else Lease.read(text, lease_id=lease_id)

    def read_settings(self) -> AgentSettings:
        """Return /agent.json."""
        text = self._read("/agent.json")
        if text is None:
            raise RecordError("/agent.json is absent; the gateway is older than this agent or not ready")
        return AgentSettings.from_json(text)

    def read_acknowledgement(self, result_id: str) -> Acknowledgement | None:
        """Return an acknowledgement, None if it is gone."""
        text = self._read(f"/inbox/ack-{check_name(result_id)}.json")
        return None if text is None else Acknowledgement.from_json(text)

    def fetch_artifact(self, artifact: Artifact) -> Path:
        """Return the verified file from the cache or the server; a corrupt transfer is dropped and made once more."""
        check_sha256(artifact.sha256)
        if path := self._cache.get(artifact):
            return path
        for _ in range(2):
            self._pull(artifact)
            if path := self._cache.adopt_part(artifact):
                return path
        raise ArtifactError(
            f"artefact {artifact.sha256} came twice with another content; the gateway's copy is damaged, export again"
        )

    def put_result(self, result: Result) -> None:
        """Write a result into the outbox, whole or not at all."""
        self._write(f"/outbox/{check_name(result.result_id)}.json", result.to_json())

    def put_heartbeat(self, heartbeat: Heartbeat) -> float | None:
        """Write the heartbeat; return the server's time of writing in Unix seconds if it tells."""
        self._write_heartbeat(heartbeat.to_json())
        with link_errors("heartbeat"), contextlib.suppress(FileNotFoundError, PermissionError):
            return self._sftp.stat(_HEARTBEAT).st_mtime
        return None

    def read_heartbeat(self) -> Heartbeat | None:
        """Return the last heartbeat of this board, None if it has none that can be read."""
        with contextlib.suppress(RecordError, ForbiddenError):
            text = self._read(_HEARTBEAT)
            return Heartbeat.from_json(text) if text else None
        return None

    def close(self) -> None:
        """Close the connection; never raises."""
        self._link.close()

    def _read(self, path: str) -> bytes | None:
        try:
            with link_errors(path), self._sftp.open(path, "rb", bufsize=_READ_BYTES) as file:
                text = file.read(_MAX_RECORD_BYTES + 1)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise ForbiddenError(f"{path}: the gateway forbids reading it") from None
        if len(text) > _MAX_RECORD_BYTES:
            raise RecordError(f"{path} has more than {_MAX_RECORD_BYTES} bytes")
        return text

    def _write(self, path: str, text: str) -> None:
        write_remote(self._sftp, path, text)

    def _write_heartbeat(self, text: str) -> None:
        """Write the heartbeat, in place where the server lets no board make files in its root, as OpenSSH's chroot."""
        if not self._root_is_closed:
            try:
                write_remote(self._sftp, _HEARTBEAT, text)
                return
            except ForbiddenError:
                self._root_is_closed = True
        try:
            with link_errors(_HEARTBEAT), self._sftp.open(_HEARTBEAT, "wb") as file:
                file.write(text.encode())
        except (FileNotFoundError, PermissionError) as error:
            raise ForbiddenError(f"{_HEARTBEAT}: the gateway does not take it ({error})") from None

    def _pull(self, artifact: Artifact) -> None:
        remote, part = f"/artifacts/{artifact.sha256}", self._cache.part_path(artifact)
        try:
            with link_errors(remote), self._sftp.open(remote, "rb") as source:
                size = source.stat().st_size
                if size != artifact.size_bytes:
                    raise ArtifactError(
                        f"artefact {artifact.sha256} has {size} bytes on the gateway but {artifact.size_bytes} "
                        "were announced"
                    )
                _copy(source, part, size=artifact.size_bytes)
        except FileNotFoundError:
            raise ArtifactError(f"artefact {artifact.sha256} is not on the gateway") from None
        except PermissionError:
            raise ArtifactError(f"artefact {artifact.sha256}: the gateway forbids reading it") from None


def _copy(source: paramiko.SFTPFile, part: Path, *, size: int) -> None:
    """Append to `part` what it lacks of `source`; what came before a broken link is kept for the next try."""
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    with part.open("ab") as file:
        if have < size:
            source.MAX_REQUEST_SIZE = _REQUEST_BYTES
            source.seek(have)
            source.prefetch(size, _PREFETCH_REQUESTS)
        while have < size:
            chunk = source.read(min(_READ_BYTES, size - have))
            if not chunk:
                raise EOFError("the artefact ended early")
            with _full_disk():
                file.write(chunk)
            have += len(chunk)
        with _full_disk():
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    """Tell a full disk of ours from a broken link."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(f"the board cannot store the artefact: {error.strerror}; free space in its home") from None


def write_remote(sftp: paramiko.SFTPClient, path: str, text: str) -> None:
    """Write a file as PATH.part and rename it, so that the gateway never sees a part.

    A pipelined write tells nobody that the server could not store it, so the size is looked at before the renaming.

    Raises:
        LinkError: The server did not store all of it, or the connection broke.
    """
    part, data = f"{path}.part", text.encode()
    try:
        with link_errors(path):
            with sftp.open(part, "wb") as file:
                file.set_pipelined(True)
                file.write(data)
            if (got := sftp.stat(part).st_size) != len(data):
                raise LinkError(f"{path}: the gateway kept {got} of {len(data)} bytes; its disk may be full")
            try:
                sftp.posix_rename(part, path)
            except OSError:
                with contextlib.suppress(OSError):
                    sftp.remove(path)
                sftp.rename(part, path)
    except (FileNotFoundError, PermissionError) as error:
        raise ForbiddenError(f"{path}: the gateway does not take it ({error})") from None


def open_mailbox(home: Home, config: BoardConfig) -> SftpMailbox:
    """Connect to the gateway that this home is enrolled with; one that shows the key it announced is pinned anew.

    Raises:
        HostKeyError: The server shows neither the pinned key nor the announced one.
        RefusedError: It does not accept this board.
        LinkError: It cannot be reached.
    """
    try:
        link = _open_pinned(home, config, home.host_key())
    except HostKeyError:
        announced = home.next_host_key()
        if announced is None:
            raise
        link = _open_pinned(home, config, announced)
        home.adopt_host_key()
    return SftpMailbox(link, cache=ArtifactCache(home.cache_path))


def _open_pinned(home: Home, config: BoardConfig, key_line: str) -> Link:
    server = Server.pinned(host=config.host, port=config.port, host_key_line=key_line)
    return open_link(server, user=config.board, key_path=home.key_path)
