"""A stock OpenSSH client with a board's key against the built-in gateway: it gets nowhere but its own mailbox."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.gateway.gateway import Gateway
from nas_service.home import Home
from nas_service.store import Store
from tests.cluster.gateway.client import BoardKey
from tests.cluster.gateway.conftest import enrolled
from tests.cluster.gateway.intruder import REFUSED, Intruder
from tests.cluster.gateway.processes import wait_for

pytestmark = [pytest.mark.ssh, pytest.mark.slow]


@pytest.fixture
def intruder(gateway: Gateway, store: Store, home: Home, board_key: BoardKey, tmp_path: Path) -> Intruder:
    enrolled(store, tmp_path, "pi-2")
    wait_for("the mailboxes", lambda: all((home.boards / name / "agent.json").exists() for name in ("pi-1", "pi-2")))
    port, line = gateway.status().port, gateway.host_key_line
    return Intruder(user="pi-1", key=board_key.path, port=port, host_key_line=line, folder=tmp_path)


@pytest.fixture
def talker() -> Iterator[int]:
    """A port whose listener says one byte to whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                link.sendall(b"x" * 20)
                link.close()

        threading.Thread(target=talk, daemon=True).start()
        yield listener.getsockname()[1]


def test_every_attempt_outside_its_own_outbox_fails_and_changes_nothing(intruder: Intruder, home: Home) -> None:
    before = _tree(home)
    succeeded = [command for command in REFUSED if intruder.sftp(command).returncode != 1]
    assert succeeded == []
    assert not (intruder.folder / "stolen").exists()
    part = home.boards / "pi-1" / "outbox" / "r9.json.part"
    assert part.stat().st_size <= 256 << 10
    assert _tree(home) - before == {str(part)}


def test_no_command_no_shell_and_no_agent(intruder: Intruder) -> None:
    assert intruder.ssh(command=("id",)).returncode != 0
    assert intruder.ssh("-tt").stdout == ""
    assert intruder.ssh("-A", command=("ssh-add", "-l")).returncode != 0


@pytest.mark.parametrize("kind", ["-L", "-D"])
def test_nothing_is_forwarded_from_the_boards_side(intruder: Intruder, talker: int, kind: str) -> None:
    assert not intruder.forwards(kind, talker)


def test_nothing_is_forwarded_to_the_board(intruder: Intruder, talker: int) -> None:
    done = intruder.ssh("-N", "-o", "ExitOnForwardFailure=yes", "-R", f"0:127.0.0.1:{talker}")
    assert done.returncode == 255
    assert "remote port forwarding failed" in done.stderr


def test_a_key_revoked_while_it_is_used_ends_the_session(intruder: Intruder, gateway: Gateway) -> None:
    begun = time.monotonic()
    threading.Timer(2.0, lambda: gateway.remove("pi-1")).start()
    done = intruder.sftp(*["ls"] * 3, "!sleep 6", "ls")
    assert done.returncode != 0
    assert time.monotonic() - begun < 30
    assert intruder.sftp("ls").returncode == 255


def _tree(home: Home) -> set[str]:
    return {str(path) for path in home.gateway.rglob("*") if ".part" not in path.name or "outbox" in str(path)}
