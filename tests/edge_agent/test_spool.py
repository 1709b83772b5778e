from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edge_agent.errors import AlreadyRunningError
from edge_agent.files import write_whole
from edge_agent.home import Home
from edge_agent.lifetime import only_agent
from edge_agent.records import Lease, Result
from edge_agent.spool import Spool
from edge_agent.work import answer
from tests.edge_agent.paper_mailbox import paper_lease as lease


def result(grant: Lease) -> Result:
    return answer(grant, incarnation="boot-1")


def test_results_survive_a_restart_and_go_only_when_acknowledged(tmp_path: Path) -> None:
    first = result(lease())
    Spool(tmp_path).add(first)
    again = Spool(tmp_path)
    assert again.pending() == [first]
    assert again.acknowledge(first.result_id)
    assert not again.acknowledge(first.result_id)
    assert Spool(tmp_path).pending() == []


def test_a_grant_is_answered_once_and_a_new_grant_of_the_same_lease_is_another(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    done = result(lease(token=1))
    spool.add(done)
    assert spool.is_answered(lease(token=1))
    assert not spool.is_answered(lease(token=2))
    spool.acknowledge(done.result_id)
    assert Spool(tmp_path).is_answered(lease(token=1))


def test_starts_of_a_lease_are_counted_until_it_is_answered_or_given_up(tmp_path: Path) -> None:
    assert Spool(tmp_path).begin(lease()) == 1
    assert Spool(tmp_path).begin(lease()) == 2
    Spool(tmp_path).forget_begun(lease())
    assert Spool(tmp_path).begin(lease()) == 1
    Spool(tmp_path).add(result(lease()))
    assert Spool(tmp_path).begin(lease()) == 1


@pytest.mark.parametrize("days", [8, 20_000, -20_000])
def test_unsent_results_survive_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    kept = result(lease())
    Spool(tmp_path).add(kept)
    jumped = time.time() + days * 86400
    monkeypatch.setattr(time, "time", lambda: jumped)
    assert Spool(tmp_path).pending() == [kept]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"version": 1}'])
def test_a_damaged_file_is_set_aside_and_the_rest_is_kept(tmp_path: Path, text: bytes) -> None:
    good = result(lease())
    Spool(tmp_path).add(good)
    for name in ("r-bad.json", "answered.ledger", "begun.ledger"):
        (tmp_path / name).write_bytes(text)
    assert Spool(tmp_path).pending() == [good]
    assert (tmp_path / "r-bad.bad").exists()


def test_a_write_that_fails_leaves_the_old_content_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "file", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_each_start_is_another_incarnation_of_the_same_boot(home: Home) -> None:
    with only_agent(home) as first:
        pass
    with only_agent(home) as second:
        with pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}"), only_agent(home):
            pass
    assert first.split("-")[0] == second.split("-")[0]
    assert (int(first.split("-")[1]) + 1) == int(second.split("-")[1])
