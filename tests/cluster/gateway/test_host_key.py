from __future__ import annotations

import base64
import hashlib
import threading
from pathlib import Path

import asyncssh
import pytest

from cluster.gateway.host_key import ensure_host_key, fingerprint, public_line
from nas_service.errors import NasError


def test_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "gateway" / "host_key"
    first, second = ensure_host_key(path), ensure_host_key(path)
    assert first.public_data == second.public_data
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["host_key"]


def test_many_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    path = tmp_path / "host_key"
    threads = [threading.Thread(target=lambda: found.append(ensure_host_key(path).public_data)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_fingerprint_is_the_hash_of_the_blob_in_the_public_line(tmp_path: Path) -> None:
    key = ensure_host_key(tmp_path / "host_key")
    algorithm, blob = public_line(key).split()
    assert algorithm == "ssh-ed25519"
    assert fingerprint(key) == hashlib.sha256(base64.b64decode(blob)).hexdigest()


def test_file_that_is_no_key_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "host_key").write_text("not a key")
    with pytest.raises(NasError, match="restore it from a backup"):
        ensure_host_key(tmp_path / "host_key")


def test_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    asyncssh.generate_private_key("ecdsa-sha2-nistp256").write_private_key(tmp_path / "host_key")
    with pytest.raises(NasError, match="must be ssh-ed25519"):
        ensure_host_key(tmp_path / "host_key")
