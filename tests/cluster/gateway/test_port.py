from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from cluster.gateway.gateway import Gateway
from cluster.gateway.port import bind_fixed, kept_port
from nas_service.errors import NasError
from nas_service.home import Home
from nas_service.store import Store


class Ports:
    """A machine whose ports are taken for the first few tries."""

    def __init__(self, *, taken: int = 0) -> None:
        self.taken, self.asked = taken, list[int]()

    def listen(self, port: int) -> int:
        self.asked.append(port)
        if len(self.asked) <= self.taken:
            raise OSError(errno.EADDRINUSE, "address in use")
        return port or 40001


@pytest.mark.parametrize(
    ("kept", "wanted", "expected"), [(None, None, 40001), ("2222\n", None, 2222), ("2222\n", 3333, 3333)]
)
def test_port_is_the_one_wanted_or_that_of_the_first_start_or_any(
    tmp_path: Path, kept: str | None, wanted: int | None, expected: int
) -> None:
    if kept:
        (tmp_path / "port").write_text(kept)
    assert bind_fixed(tmp_path / "port", wanted, Ports().listen) == expected
    assert kept_port(tmp_path / "port") == expected


def test_port_that_a_killed_process_still_holds_is_tried_again(tmp_path: Path) -> None:
    ports = Ports(taken=3)
    assert bind_fixed(tmp_path / "port", 2222, ports.listen, pause_s=0.0) == 2222
    assert ports.asked == [2222] * 4


def test_port_that_stays_taken_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="port 2222 is taken by another program; end that one, or choose another"):
        bind_fixed(tmp_path / "port", 2222, Ports(taken=10**6).listen, retry_s=0.02, pause_s=0.0)
    assert kept_port(tmp_path / "port") is None


def test_address_that_is_not_this_machines_is_an_error_at_once(home: Home, store: Store) -> None:
    gateway = Gateway(home, store, bind="192.0.2.77")
    with pytest.raises(NasError, match="cannot listen"):
        gateway.start()
    gateway.close()


@pytest.mark.parametrize("text", ["", "zero", "0", "70000"])
def test_port_file_that_holds_none_counts_as_absent(tmp_path: Path, text: str) -> None:
    (tmp_path / "port").write_text(text)
    assert kept_port(tmp_path / "port") is None


@pytest.mark.ssh
def test_gateway_listens_on_the_same_port_with_the_same_key_after_a_restart(home: Home, store: Store) -> None:
    with Gateway(home, store) as gateway:
        before = gateway.status()
    with Gateway(home, store) as gateway:
        assert gateway.status() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", before.port), timeout=5)
