"""One SSH connection to the gateway: pinned host key, every timeout set, errors named for what to do next."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry
from paramiko.ssh_exception import NoValidConnectionsError

from edge_agent.errors import HostKeyError, LinkError, RefusedError
from edge_agent.identity import key_blob, key_sha256, show_fingerprint

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
KEEPALIVE_S = 15
WINDOW_BYTES = 8 << 20
PACKET_BYTES = 128 << 10
# A server says no more than no, so that nobody learns which codes and boards there are
_CODE_REFUSED = "this code: it was never issued, has expired or was withdrawn, or too many wrong ones came in a minute"
_KEY_REFUSED = "this board's key: the board was removed, or belongs to another gateway"

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # it logs tracebacks of what we raise in our own words


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the gateway is and which key it must show: the SHA-256 of its host key blob, and the key line if known."""

    host: str
    port: int
    host_key_sha256: str
    host_key_line: str | None = None

    @classmethod
    def pinned(cls, *, host: str, port: int, host_key_line: str) -> Server:
        """Return a server that must show exactly this key."""
        digest = key_sha256(key_blob(host_key_line))
        return cls(host=host, port=port, host_key_sha256=digest, host_key_line=host_key_line)


def _large_packets(
    sock: socket.socket,
    gss_kex: bool = False,
    gss_deleg_creds: bool = True,
    disabled_algorithms: dict[str, list[str]] | None = None,
) -> paramiko.Transport:
    """Return a transport that takes larger packets than paramiko's own, which halves what a pull costs in CPU.

    Older versions of paramiko hand over the two about GSS, which is never used here.
    """
    return paramiko.Transport(
        sock,
        default_window_size=WINDOW_BYTES,
        default_max_packet_size=PACKET_BYTES,
        disabled_algorithms=disabled_algorithms,
    )


class _PinnedKey(paramiko.MissingHostKeyPolicy):
    def __init__(self, server: Server) -> None:
        self._server = server
        self.seen: paramiko.PKey | None = None

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        self.seen = key
        _check_key(self._server, key)


def _check_key(server: Server, key: paramiko.PKey) -> None:
    got = key_sha256(key.asbytes())
    if got != server.host_key_sha256:
        raise HostKeyError(
            f"{server.host}:{server.port} shows host key {show_fingerprint(got)} but this board expects "
            f"{show_fingerprint(server.host_key_sha256)}: it may be another machine or an attack; if the gateway's key "
            "was really changed, enrol this board again with a new code"
        )


class Link:
    """An open SFTP session and the host key that the server showed."""

    def __init__(self, client: paramiko.SSHClient, sftp: paramiko.SFTPClient, host_key_line: str) -> None:
        """Take what `open_link` made."""
        self._client, self.sftp, self.host_key_line = client, sftp, host_key_line

    def close(self) -> None:
        """Close the connection; never raises."""
        with contextlib.suppress(Exception):
            self._client.close()


def open_link(server: Server, *, user: str, key_path: Path | None = None, password: str | None = None) -> Link:
    """Connect, check the host key before anything is said, authenticate, and open SFTP.

    Raises:
        HostKeyError: If the server shows another key.
        RefusedError: If it does not accept the user.
        LinkError: If it cannot be reached or hangs up.
    """
    client = paramiko.SSHClient()
    policy = _PinnedKey(server)
    client.set_missing_host_key_policy(policy)
    if server.host_key_line:
        _expect_key_type(client, server)
    try:
        with link_errors(f"{server.host}:{server.port}"):
            client.connect(
                server.host,
                port=server.port,
                username=user,
                password=password,
                key_filename=str(key_path) if key_path else None,
                timeout=CONNECT_TIMEOUT_S,
                banner_timeout=CONNECT_TIMEOUT_S,
                auth_timeout=CONNECT_TIMEOUT_S,
                channel_timeout=CONNECT_TIMEOUT_S,
                allow_agent=False,
                look_for_keys=False,
                transport_factory=_large_packets,  # type: ignore[arg-type]  # the stubs know no versions
            )
            transport = client.get_transport()
            assert transport is not None
            transport.set_keepalive(KEEPALIVE_S)
            _bound_silence(transport)
            sftp = client.open_sftp()
            channel = sftp.get_channel()
            assert channel is not None
            channel.settimeout(READ_TIMEOUT_S)
            shown = transport.get_remote_server_key()
    except paramiko.BadHostKeyException as error:
        client.close()
        _check_key(server, error.key)
        raise LinkError(f"{server.host}:{server.port}: {error}") from None
    except paramiko.AuthenticationException as error:
        client.close()
        why = _CODE_REFUSED if password is not None else _KEY_REFUSED
        raise RefusedError(
            f"{server.host}:{server.port} does not accept {why} ({error or 'authentication failed'}); get a new code "
            "with `nas board add` and run `nas-edge enroll` again"
        ) from None
    except BaseException:
        client.close()
        raise
    return Link(client, sftp, f"{shown.get_name()} {shown.get_base64()}")


def _expect_key_type(client: paramiko.SSHClient, server: Server) -> None:
    name = server.host if server.port == 22 else f"[{server.host}]:{server.port}"
    entry = HostKeyEntry.from_line(f"{name} {server.host_key_line}")
    if entry is None or entry.key is None:
        raise HostKeyError(f"the pinned host key {server.host_key_line!r} cannot be read; enrol this board again")
    client.get_host_keys().add(name, entry.key.get_name(), entry.key)


def _bound_silence(transport: paramiko.Transport) -> None:
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, option, 60_000)


@contextlib.contextmanager
def link_errors(where: str) -> Iterator[None]:
    """Turn what paramiko and the socket raise into our errors; FileNotFoundError, PermissionError and refusals pass."""
    try:
        yield
    except (FileNotFoundError, PermissionError, paramiko.BadHostKeyException, paramiko.AuthenticationException):
        raise
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise LinkError(f"{where}: {_reason(error)}; is the gateway up and reachable?") from None


def _reason(error: Exception) -> str:
    """Return what went wrong; paramiko keeps what the system said of each address of a host to itself."""
    if isinstance(error, NoValidConnectionsError):
        return "; ".join(sorted({_reason(each) for each in error.errors.values()}))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
