"""The gateway's own ed25519 key: made once, kept for ever, since every board has pinned it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import asyncssh

from nas_service.errors import NasError


def ensure_host_key(path: Path) -> asyncssh.SSHKey:
    """Return the private key at `path`; make it first (mode 0600) if there is none.

    Two processes that start at once end up with the same key: the file appears whole, and only once.

    Raises:
        NasError: The file is there but is no ed25519 private key.
    """
    if not path.exists():
        _make(path)
    try:
        key = asyncssh.read_private_key(path)
    except (asyncssh.KeyImportError, OSError) as error:
        raise NasError(
            f"host key {path} cannot be read ({error}); restore it from a backup, or delete it and enrol all boards"
        ) from None
    if key.get_algorithm() != "ssh-ed25519":
        raise NasError(
            f"host key {path} is {key.get_algorithm()} but must be ssh-ed25519; move it away and start again"
        )
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600, one per caller
    draft = Path(name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(asyncssh.generate_private_key("ssh-ed25519", comment="biglittle-nas gateway").export_private_key())
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def fingerprint(key: asyncssh.SSHKey) -> str:
    """Return the lower-case hex SHA-256 of the key's public blob, as enrolment codes carry it."""
    return hashlib.sha256(key.public_data).hexdigest()


def public_line(key: asyncssh.SSHKey) -> str:
    """Return `ssh-ed25519 AAAA...`, without comment."""
    return " ".join(key.export_public_key().decode().split()[:2])
