"""SSH clients for tests: an in-process gateway, and a board's view of it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cluster.gateway.gateway import Gateway


@dataclass(frozen=True, slots=True)
class BoardKey:
    """A board's key pair: the public line, and the file of the private key."""

    line: str
    path: Path


def make_key(folder: Path, name: str) -> BoardKey:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    path = folder / f"key-{name}"
    path.touch(mode=0o600)
    path.write_bytes(private)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return BoardKey(public.decode(), path)


def transport(gateway: Gateway) -> paramiko.Transport:
    opened = paramiko.Transport(("127.0.0.1", gateway.status().port))
    opened.start_client(timeout=10)
    return opened


def log_in(gateway: Gateway, user: str, key: BoardKey) -> paramiko.Transport:
    opened = transport(gateway)
    try:
        opened.auth_publickey(user, paramiko.Ed25519Key.from_private_key_file(str(key.path)))
    except BaseException:
        opened.close()
        raise
    return opened


def sftp_of(opened: paramiko.Transport) -> paramiko.SFTPClient:
    client = paramiko.SFTPClient.from_transport(opened)
    assert client is not None
    return client


def stock_sftp(
    gateway: Gateway, user: str, key: BoardKey, *commands: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run OpenSSH's own `sftp` with a batch of commands, the host key pinned."""
    known = folder / "known_hosts"
    port = gateway.status().port
    known.write_text(f"[127.0.0.1]:{port} {gateway.host_key_line}\n")
    batch = folder / "batch"
    batch.write_text("\n".join(commands) + "\n")
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "IdentitiesOnly=yes"]
    flags = [flag for option in options for flag in ("-o", option)]
    command = ["sftp", "-q", "-F", "none", *flags, "-i", str(key.path), "-P", str(port), "-b", str(batch)]
    return subprocess.run(
        [*command, f"{user}@127.0.0.1"], capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )
