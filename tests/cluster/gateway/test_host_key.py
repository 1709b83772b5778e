from __future__ import annotations

import base64
import hashlib
import threading
from pathlib import Path

import asyncssh
import pytest

from cluster.gateway.gateway import Gateway
from cluster.gateway.host_key import ensure_host_key, fingerprint, public_line
from edge_agent.home import Home as BoardHome
from edge_agent.identity import key_blob, key_sha256
from nas_service.errors import ConflictError, NasError
from nas_service.home import Home
from nas_service.store import Store
from tests.cluster.gateway.processes import AgentProcess, wait_for


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


def test_switching_without_an_announcement_is_refused(home: Home, store: Store) -> None:
    with Gateway(home, store) as gateway, pytest.raises(ConflictError, match="run first: nas board host-key"):
        gateway.switch_host_key()


@pytest.mark.ssh
@pytest.mark.slow
def test_board_that_was_told_follows_the_gateway_to_its_new_key(home: Home, store: Store, tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path / "board")
    with Gateway(home, store) as gateway:
        old = gateway.status().fingerprint
        done = agent.enroll(gateway.status().port, gateway.enrol("pi-1", "x86"))
        assert done.returncode == 0, done.stderr
        assert gateway.announce_host_key().waiting == ("pi-1",)
        with pytest.raises(ConflictError, match="not told of the new host key: pi-1"):
            gateway.switch_host_key()
        agent.start()
        try:
            wait_for("the board to know", lambda: gateway.announce_host_key().told == ("pi-1",), timeout_s=60)
            new = gateway.switch_host_key().fingerprint
            seen = store.fleet.board("pi-1").last_seen or 0.0
            wait_for("the board to return", lambda: (store.fleet.board("pi-1").last_seen or 0.0) > seen, timeout_s=60)
        finally:
            agent.stop()
    assert new == gateway.status().fingerprint != old
    pinned = BoardHome(tmp_path / "board")
    assert key_sha256(key_blob(pinned.host_key())) == new
    assert pinned.next_host_key() is None


@pytest.mark.ssh
@pytest.mark.slow
def test_board_that_was_not_told_refuses_the_new_key(home: Home, store: Store, tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path / "board")
    with Gateway(home, store) as gateway:
        assert agent.enroll(gateway.status().port, gateway.enrol("pi-1", "x86")).returncode == 0
        gateway.announce_host_key()
        assert gateway.switch_host_key(force=True).waiting == ("pi-1",)
        agent.start()
        assert agent.exit_code() == 1
    assert "shows host key" in agent.log.read_text()
