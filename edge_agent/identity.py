"""Who is who: the board's ed25519 key, and fingerprints of host keys."""

from __future__ import annotations

import base64
import binascii
import hashlib

from edge_agent.errors import EdgeError
from edge_agent.files import write_whole
from edge_agent.home import Home


def ensure_key(home: Home, *, comment: str) -> str:
    """Return the board's public key line; the key pair is made on the first call and kept.

    Args:
        home: Where the private key lies (mode 0600).
        comment: What to call the key, such as the machine's name.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if home.key_path.exists():
        key = serialization.load_ssh_private_key(home.key_path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise EdgeError(f"{home.key_path} holds no ed25519 key; remove it and enrol again")
    else:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        write_whole(home.key_path, private, mode=0o600)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{public.decode()} {comment}"


def key_sha256(blob: bytes) -> str:
    """Return the fingerprint of a public key blob as 64 hexadecimal digits, as enrolment codes hold it."""
    return hashlib.sha256(blob).hexdigest()


def show_fingerprint(sha256_hex: str) -> str:
    """Return a fingerprint as `ssh-keygen -l` prints it, so that a person can compare."""
    return "SHA256:" + base64.b64encode(bytes.fromhex(sha256_hex)).decode().rstrip("=")


def key_blob(line: str) -> bytes:
    """Return the key blob of a `TYPE BASE64 [COMMENT]` line.

    Raises:
        EdgeError: If the line is no public key.
    """
    parts = line.split()
    try:
        return base64.b64decode(parts[1], validate=True)
    except (IndexError, binascii.Error):
        raise EdgeError(f"{line[:60]!r} is no public key line (TYPE BASE64); enrol again") from None
