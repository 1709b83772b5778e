"""A board whose disk cannot be written says so, begins nothing, loses nothing that it can still say, and goes on."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.doctor import check_home
from edge_agent.errors import EdgeError, SpoolError
from edge_agent.home import Home
from edge_agent.lifetime import only_agent
from edge_agent.records import Heartbeat
from edge_agent.spool import Spool
from edge_agent.work import answer
from tests.edge_agent.paper_mailbox import PaperMailbox, paper_lease, serve


def break_folder(folder: Path) -> None:
    """Have every write into `folder` fail, for root too: there is a file in its place."""
    folder.rename(folder.with_suffix(".away"))
    folder.touch()


def mend_folder(folder: Path) -> None:
    folder.unlink()
    folder.with_suffix(".away").rename(folder)


def test_lease_that_cannot_be_noted_is_not_begun_and_answered_at_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox = PaperMailbox(leases={"l1": paper_lease("l1").to_json()})
    broken: list[Path] = []

    def looked(_: int) -> None:
        if not broken:
            broken.append(home.spool_path)
            break_folder(home.spool_path)

    serve(home, mailbox, monkeypatch, and_then=looked)
    assert [(r.lease_id, r.status, r.fault) for r in mailbox.results] == [("l1", "agent_error", "infra")]
    assert mailbox.results[0].cause == f"the board cannot store its results: {home.spool_path}: Not a directory"
    assert mailbox.heartbeats[-2].health["storage"] == f"{home.spool_path}: Not a directory"
    assert caplog.text.count("results are kept in memory") == 1
    assert "quiet l1" not in mailbox.events


def test_board_takes_leases_again_once_its_disk_is_mended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = PaperMailbox(leases={"l2": paper_lease("l2").to_json()}, appear={"l2": 15}, heartbeat_s=0.0)
    steps = {2: break_folder, 8: mend_folder}

    def looked(count: int) -> None:
        if count in steps:
            steps[count](home.spool_path)

    serve(home, mailbox, monkeypatch, and_then=looked)
    faults = [beat.health["storage"] for beat in mailbox.heartbeats]
    assert (faults[0], f"{home.spool_path}: Not a directory" in faults, faults[-1]) == (None, True, None)
    assert "quiet l2" in mailbox.events
    assert Spool(home.spool_path).pending() == mailbox.results or Spool(home.spool_path).is_answered(paper_lease("l2"))


def test_result_that_cannot_be_stored_is_kept_and_stored_later(home: Home) -> None:
    spool, done = Spool(home.spool_path), answer(paper_lease(), incarnation="boot-1")
    break_folder(home.spool_path)
    spool.add(done)
    assert (spool.pending(), spool.fault) == ([done], f"{home.spool_path}: Not a directory")
    with pytest.raises(SpoolError, match="cannot store its results"):
        spool.begin(paper_lease("l2"))
    mend_folder(home.spool_path)
    spool.store()
    assert spool.fault is None
    assert Spool(home.spool_path).pending() == [done]
    assert spool.begin(paper_lease("l2")) == 1  # what was not begun does not count


def test_work_folder_that_cannot_be_written_is_an_infra_fault(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object, **__: object) -> None:
        (home.work_path / "x" / "y").mkdir()

    mailbox = PaperMailbox(leases={"l1": paper_lease("l1").to_json()})
    serve(home, mailbox, monkeypatch, measure=measure)
    cause = f"the board's disk fails: {home.work_path}/x/y: No such file or directory"
    assert [(r.fault, r.cause) for r in mailbox.results] == [("infra", cause)]


def test_doctor_names_the_folder_that_cannot_be_written(home: Home) -> None:
    assert check_home(home).state == "ok"
    home.spool_path.rename(home.root / "away")
    home.spool_path.symlink_to("/proc/self")  # a folder that even root cannot write
    found = check_home(home)
    assert found.state == "fail"
    assert f"cannot be written: {home.spool_path}: " in found.found


def test_doctor_moves_aside_what_lies_where_a_folder_should(home: Home) -> None:
    home.spool_path.rmdir()
    home.spool_path.touch()
    assert check_home(home).fix == f"mv {home.spool_path} {home.spool_path}.aside"


def test_what_a_killed_measurement_left_is_removed_with_the_next_start(home: Home) -> None:
    home.create()
    (home.work_path / "measure-dead").mkdir()
    (home.work_path / "measure-dead" / "model.onnx").write_bytes(b"x")
    (home.work_path / "sentinel.onnx").write_bytes(b"x")
    with only_agent(home):
        assert [path.name for path in home.work_path.iterdir()] == ["sentinel.onnx"]


@pytest.mark.parametrize("name", ["root", "spool_path"])
def test_file_in_the_place_of_a_folder_is_named(home: Home, name: str) -> None:
    path: Path = getattr(home, name)
    shutil.rmtree(path)
    path.touch()
    with pytest.raises(EdgeError, match=f"^{path} is in the way and no folder; move it away, or give"):
        home.create()


@pytest.fixture
def foreign() -> Iterator[Home]:
    """A home whose files this process does not own, or may not write; all may enter it."""
    with tempfile.TemporaryDirectory() as folder:
        home, user = Home.at(Path(folder) / "home"), os.geteuid()
        home.create()
        home.lock_path.touch(0o400)
        for path in (Path(folder), home.root):
            path.chmod(0o777)
        if user == 0:
            os.seteuid(65534)
        try:
            yield home
        finally:
            os.seteuid(user)
            home.root.chmod(0o700)


def test_lock_of_another_user_is_named_with_what_ends_it(foreign: Home) -> None:
    fix = f"`sudo chown -R {os.geteuid()} {foreign.root}`, or give a writable folder with --home"
    with (
        pytest.raises(EdgeError, match=f"cannot write {foreign.lock_path}: Permission denied; {fix}"),
        only_agent(foreign),
    ):
        pass


def test_home_that_cannot_be_written_is_named_with_what_ends_it(foreign: Home) -> None:
    user = os.geteuid()
    os.seteuid(foreign.root.stat().st_uid)
    foreign.root.chmod(0o555)
    os.seteuid(user)
    with pytest.raises(EdgeError, match=f"cannot write {foreign.root}: Permission denied; `sudo chown -R {user} "):
        foreign.create()


def test_starts_of_two_copies_of_a_home_differ(home: Home) -> None:
    home.create()
    with only_agent(home) as first:
        pass
    home.starts_path.unlink()
    with only_agent(home) as second:
        assert first != second


def test_agent_says_once_that_another_writes_as_its_board(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def rival(count: int) -> None:
        if count % 3 == 0:
            beat = Heartbeat.from_dict({**mailbox.heartbeats[-1].to_dict(), "incarnation": "boot-1-copy"})
            mailbox.heartbeats.append(beat)

    mailbox = PaperMailbox(heartbeat_s=0.0)
    with caplog.at_level(logging.ERROR):
        serve(home, mailbox, monkeypatch, and_then=rival)
    assert caplog.text.count("another agent (boot-1-copy) writes as board pi") == 1
