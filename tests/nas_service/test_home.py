from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.home import Home, ServiceState

STATE = ServiceState(
    ray_address="127.0.0.1:6379",
    api_url="http://127.0.0.1:8000",
    gateway_host="127.0.0.1",
    gateway_port=2222,
    host_key_fingerprint="a" * 64,
    pids={"ray": 12},
    started_at=1.5,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def test_a_state_is_read_as_it_was_written(home: Home) -> None:
    assert home.read_state() is None
    home.write_state(STATE)
    assert home.read_state() == STATE
    home.clear_state()
    home.clear_state()
    assert home.read_state() is None


def test_everything_in_a_home_is_its_owners_only(home: Home) -> None:
    home.write_state(STATE)
    home.write_admin_token("nas_secret")
    for path in (home.root, *home.root.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_write_that_fails_leaves_the_old_state_and_no_litter(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_state(STATE)
    before = sorted(home.root.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        home.write_state(ServiceState())
    assert home.read_state() == STATE
    assert sorted(home.root.iterdir()) == before


def test_the_admin_token_is_kept_and_replaced(home: Home) -> None:
    assert home.read_admin_token() is None
    home.write_admin_token("nas_one")
    home.write_admin_token("nas_two")
    assert home.read_admin_token() == "nas_two"


def test_creating_a_home_again_keeps_what_is_there(home: Home) -> None:
    home.write_state(STATE)
    assert home.create().read_state() == STATE


@pytest.mark.parametrize("text", ["", "{", "[]", '{"colour": "red"}', '{"gateway_port": 0}', '{"gateway_port": "x"}'])
def test_a_file_that_holds_no_state_says_what_to_do(home: Home, text: str) -> None:
    home.state_file.write_text(text)
    with pytest.raises(InvalidRequestError, match=r"state.json holds no service state .*; run `nas down`, or remove"):
        home.read_state()


def test_every_path_lies_in_the_home(home: Home) -> None:
    names = [name for name in dir(Home) if isinstance(getattr(Home, name), property) and name != "store_url"]
    assert len(names) >= 11
    assert all(getattr(home, name).is_relative_to(home.root) for name in names)
    assert home.store_url == f"sqlite:///{home.store_file}"


def test_a_relative_home_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="the home folder is 'here' but must be an absolute path"):
        Home(Path("here"))
