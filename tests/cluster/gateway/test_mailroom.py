"""The mailroom over real folders and a real store, with a board made of paper and a clock that is set by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.gateway import artifacts, intake, mailroom
from edge_agent.records import AgentSettings, Lease, Result
from nas_service.home import Home
from nas_service.measurement import RequestStatus
from nas_service.store import Store
from nas_service.store.fleet import FleetStore
from nas_service.store.leases import LeaseStore
from nas_service.twins import is_twinned, twin_key
from tests.cluster.gateway.office import Office
from tests.cluster.gateway.paper_board import PaperBoard
from tests.cluster.gateway.samples import good_result, heartbeat, wanted
from tests.nas_service.store.test_fleet import KEY_2

DEEP_BEAT = heartbeat("pi-1").to_json().replace('"health":{}', '"health":' + '{"k":' * 600 + "1" + "}" * 600)
HUGE_BEAT = heartbeat("pi-1").to_json().replace('"sent_unix_s":1000.0', '"sent_unix_s":1' + "0" * 400)


def test_alive_board_finds_one_lease_to_work_on_and_one_ahead_with_their_file(office: Office) -> None:
    board = office.enrol()
    keys = office.request("a", "b", "c")
    office.hear(board)
    assert sorted(lease.measurement_key for lease in board.leases()) == sorted(keys)[:2]
    assert [p.read_bytes() for p in (board.root / "artifacts").iterdir()] == [b"onnx"]


def test_silent_board_finds_nothing(office: Office) -> None:
    board = office.enrol()
    office.request("a")
    office.room.round()
    assert board.leases() == []


def test_copied_home_gets_no_leases_while_both_its_agents_talk_and_the_log_says_so_once(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    board, copy = office.enrol(), PaperBoard(office.folders.boards / "pi-1")
    copy.incarnation = "boot-1-copy"
    for _ in range(3):
        for agent in (board, copy):
            office.now += 5
            office.hear(agent)
    office.request("a")
    office.hear(board)
    assert board.leases() == []
    assert caplog.text.count("board pi-1 gets no leases: two agents use its key") == 1
    for _ in range(8):
        office.now += 10
        office.hear(copy)
    assert len(copy.leases()) == 1


def test_answer_is_stored_acknowledged_and_cleared_away(office: Office) -> None:
    board = office.enrol()
    [key] = office.request("a")
    office.hear(board)
    board.work()
    office.room.round()
    board.work()
    assert office.state(key).state is RequestStatus.DONE
    assert [word.stored for word in board.acknowledged.values()] == [True]
    assert list((board.root / "outbox").iterdir()) == []
    assert list((board.root / "artifacts").iterdir()) == []
    assert board.leases() == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("[]", "must be an object"),
        ("{", "is not JSON"),
        ('{"version": 1}', "lacks"),
        ("9" * 5000, "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("x" * (256 * 1024 + 1), "more than 262144 bytes"),
        ("\x00\xff", "is not JSON"),
    ],
)
def test_what_is_no_result_is_refused_with_its_reason_and_stops_nobody(office: Office, text: str, reason: str) -> None:
    board = office.enrol()
    [key] = office.request("a")
    office.hear(board)
    board.hand_in("rubbish", text)
    board.work()
    office.room.round()
    board.work()
    refused = board.acknowledged["rubbish"]
    assert (refused.stored, reason in str(refused.reason)) == (False, True), refused.reason
    assert office.state(key).state is RequestStatus.DONE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"result_id": "other"}, "result_id is 'other' but the file is named for 'forged'"),
        ({"board": "pi-2"}, "board is 'pi-2' but the outbox is 'pi-1's"),
        ({"lease_id": "none"}, "lease none was never granted"),
        ({"token": 99}, "token is 99 but lease"),
        ({"model_sha256": "f" * 64}, "model_sha256 is 'ffff"),
        ({"structure_key": "f" * 64}, "structure_key is 'ffff"),
    ],
)
def test_forged_result_is_refused(office: Office, change: dict[str, Any], reason: str) -> None:
    board = office.enrol()
    office.request("a")
    office.hear(board)
    [lease] = board.leases()
    board.hand_in("forged", replace(good_result(lease, result_id="forged"), **change).to_json())
    office.room.round()
    board.work()
    assert reason.replace("'s", "") in str(board.acknowledged["forged"].reason).replace("'s", "")
    assert office.store.fleet.measurements() == []


def test_board_cannot_answer_the_lease_of_another(office: Office) -> None:
    honest, forger = office.enrol(), office.enrol("pi-2", key=KEY_2)
    [key] = office.request("a")
    office.hear(honest)
    [lease] = honest.leases()
    forger.hand_in("forged", good_result(replace(lease, board="pi-2"), result_id="forged").to_json())
    office.room.round()
    assert office.state(key).state is RequestStatus.LEASED
    assert office.store.fleet.measurements() == []


def test_link_in_an_outbox_is_not_followed(office: Office, tmp_path: Path) -> None:
    board = office.enrol()
    (board.root / "outbox" / "r1.json").symlink_to(tmp_path / "nas" / "store.sqlite")
    office.room.round()
    board.work()
    assert not board.acknowledged["r1"].stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"board": "pi-2"}',
        pytest.param("9" * 100_000, id="digits"),
        pytest.param(DEEP_BEAT, id="deep"),
        pytest.param(HUGE_BEAT, id="beyond any float"),
    ],
)
def test_heartbeat_that_is_none_is_ignored(office: Office, text: str) -> None:
    board = office.enrol()
    (board.root / "heartbeat.json").write_text(text)
    office.room.round()
    assert office.store.fleet.board("pi-1").last_seen is None


def test_lost_boards_request_goes_to_another_and_its_late_answer_is_an_extra_sample(office: Office) -> None:
    first = office.enrol()
    [key] = office.request("a")
    office.hear(first)
    [lease] = first.leases()
    office.now += 61
    second = office.enrol("pi-2", key=KEY_2)
    office.hear(second)
    assert lease.ttl_s == 60.0
    assert (first.leases(), [n.attempt for n in second.leases()]) == ([], [2])
    first.hand_in("late", good_result(lease, result_id="late").to_json())
    office.room.round()
    assert office.state(key).state is RequestStatus.LEASED
    second.work()
    office.room.round()
    assert office.state(key).state is RequestStatus.DONE
    assert sorted((m.result.result_id, m.late) for m in office.store.fleet.measurements())[0] == ("late", True)


def test_board_that_announced_a_long_silence_keeps_its_lease(office: Office) -> None:
    board = office.enrol()
    office.request("a")
    office.hear(board)
    [lease] = board.leases()
    beat = replace(
        office.store.fleet.board("pi-1").heartbeat,
        quiet_until_unix_s=office.now + 100,  # type: ignore[type-var]
    )
    office.store.fleet.heartbeats([(beat, office.now)])
    office.now += 155
    office.room.round()
    assert board.leases() == [lease]
    office.now += 10
    office.room.round()
    assert board.leases() == []


def test_restarted_board_that_does_not_go_on_gets_the_request_anew_after_a_grace(office: Office) -> None:
    board = office.enrol()
    [key] = office.request("a")
    office.hear(board)
    board.incarnation = "boot-2"
    office.hear(board)
    assert [lease.attempt for lease in board.leases()] == [1]
    office.now += 11
    office.hear(board)
    assert [(lease.attempt, lease.measurement_key) for lease in board.leases()] == [(2, key)]


def test_restarted_board_that_goes_on_keeps_its_lease(office: Office) -> None:
    board = office.enrol()
    office.request("a")
    office.hear(board)
    [lease] = board.leases()
    board.incarnation = "boot-2"
    office.hear(board, lease_id=lease.lease_id)
    office.now += 30
    office.hear(board, lease_id=lease.lease_id)
    assert board.leases() == [lease]


def test_result_kept_by_a_restarted_board_still_completes_the_request(office: Office) -> None:
    board = office.enrol()
    [key] = office.request("a")
    office.hear(board)
    [lease] = board.leases()
    board.incarnation = "boot-2"
    office.hear(board)
    board.hand_in("kept", good_result(lease, result_id="kept").to_json())
    office.room.round()
    assert office.state(key).state is RequestStatus.DONE


def test_request_fails_after_three_boards_faults_with_the_last_cause(office: Office) -> None:
    def fault(lease: Lease) -> Result:
        bad = good_result(lease, result_id=f"r-{lease.lease_id}")
        return replace(bad, status="throttled", fault="board", cause="too hot", latency=None)

    board = office.enrol()
    board.answer = fault
    [key] = office.request("a")
    for _ in range(6):
        office.hear(board)
        board.work()
    assert office.state(key).state is RequestStatus.FAILED
    assert office.state(key).cause == "throttled on pi-1: too hot (given up after 3 tries)"
    assert len(office.store.fleet.measurements()) == 3


def test_file_that_rotted_in_the_store_fails_its_request_and_no_other(office: Office) -> None:
    board = office.enrol()
    [bad] = office.request("bad", data=b"rotten")
    [good] = office.request("good", data=b"sound")
    sha = wanted(office.store.files.put(b"rotten")).model.sha256
    path = office.store.files.path(sha)
    path.chmod(0o600)
    path.write_bytes(b"ROTTEN")
    office.hear(board)
    board.work()
    office.room.round()
    assert office.state(good).state is RequestStatus.DONE
    assert office.state(bad).state is RequestStatus.FAILED
    assert "export it again" in str(office.state(bad).cause)


def measured_once(office: Office) -> tuple[str, PaperBoard, PaperBoard]:
    """Have the first of two boards measure something that is to be twinned; return its key and the boards."""
    first, second = office.enrol(), office.enrol("pi-2", key=KEY_2)
    names = (f"m{n}" for n in range(1000))
    [key] = office.request(next(n for n in names if is_twinned(wanted("0" * 64, name=n).measurement_key)))
    office.hear(first)
    first.work()
    office.room.round()
    first.work()
    return key, first, second


def test_twin_is_measured_by_the_other_board_only_and_its_originals_figure_stays(office: Office) -> None:
    key, first, second = measured_once(office)
    before = office.state(key)
    office.hear(first)
    assert (before.state, first.leases()) == (RequestStatus.DONE, [])
    office.hear(second)
    assert [lease.measurement_key for lease in second.leases()] == [twin_key(key)]
    second.work()
    office.room.round()
    assert office.state(key) == before
    assert office.state(twin_key(key)).state is RequestStatus.DONE
    assert sorted(figure.board for figure in office.store.fleet.shared_figures("rpi5")) == ["pi-1", "pi-2"]


def test_twin_whose_file_is_gone_fails_quietly(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    key, _, second = measured_once(office)
    office.store.files.path(wanted(office.store.files.put(b"onnx")).model.sha256).unlink()
    with caplog.at_level("WARNING"):
        office.hear(second)
    assert (second.leases(), caplog.messages) == ([], [])
    assert office.state(twin_key(key)).state is RequestStatus.FAILED
    assert office.state(key).state is RequestStatus.DONE


def test_artefact_is_copied_where_it_cannot_be_linked(
    office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("another file system")

    sha = office.store.files.put(b"onnx")
    monkeypatch.setattr("os.link", refuse)
    for _ in range(2):
        artifacts.place(office.store.files, sha, tmp_path / sha)
    assert (tmp_path / sha).read_bytes() == b"onnx"
    assert (tmp_path / sha).stat().st_nlink == 1


def test_linked_artefact_leaves_no_draft_behind(office: Office, tmp_path: Path) -> None:
    sha = office.store.files.put(b"onnx")
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for _ in range(2):
        artifacts.place(office.store.files, sha, folder / sha)
    assert [p.name for p in folder.iterdir()] == [sha]


def test_agent_json_tells_the_time_and_the_classes_settings(office: Office) -> None:
    board = office.enrol()
    for later_s in (0.0, 6.0):
        office.now += later_s
        office.room.round()
        said = AgentSettings.from_json((board.root / "agent.json").read_bytes())
        assert (said.board, said.board_class, said.host_unix_s) == ("pi-1", "rpi5", office.now)


def test_old_acknowledgements_uploads_and_folders_are_cleared_away(office: Office) -> None:

    board = office.enrol()
    old = [board.root / "inbox" / "ack-old.json", board.root / "outbox" / "old.json.part"]
    fresh = [board.root / "inbox" / "ack-new.json", board.root / "outbox" / "new.json.part"]
    gone = office.folders.boards / "removed"
    gone.mkdir()
    for path in [*old, *fresh]:
        path.write_text("{}")
    for path in [*old, gone]:
        os.utime(path, (office.now - 4000, office.now - 4000))
    for path in fresh:
        os.utime(path, (office.now, office.now))
    office.now += 61
    office.room.round()
    assert [path.exists() for path in [*old, gone]] == [False] * 3
    assert [path.exists() for path in fresh] == [True] * 2


def test_acknowledgement_that_a_killed_process_owed_is_made_up_for(office: Office) -> None:
    board = office.enrol()
    office.request("a")
    office.hear(board)
    board.work()
    office.room.round()
    for path in (board.root / "inbox").glob("ack-*"):
        path.unlink()
    office.open()
    board.work()
    assert [word.stored for word in board.acknowledged.values()] == [True]


class Killed(BaseException):
    """The process ends here; BaseException, as no handler may catch it."""


class Guillotine:
    """Counts the steps that leave a trace, and ends the process before or after the n-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps, self.fall_at = 0, 0
        for owner, names in (
            (mailroom, ("write_whole", "_sweep")),
            (intake, ("write_whole",)),
            (artifacts, ("place",)),
            (LeaseStore, ("grant", "record", "expire")),
            (FleetStore, ("heartbeats",)),
            (Path, ("unlink",)),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            self._count()
            done = step(*args, **named)
            self._count()
            return done

        return watched

    def _count(self) -> None:
        self.steps += 1
        if self.steps == self.fall_at:
            raise Killed


def play(office: Office, board: PaperBoard, keys: list[str], blade: Guillotine, *, fall_at: int) -> int:
    """Go on until all is measured, dying once at the given step; return how many steps there were."""
    blade.steps, blade.fall_at = 0, fall_at
    for _ in range(40):
        try:
            office.now += 1
            office.room.round()
        except Killed:
            office.open()
        board.work()
        if all(office.state(key).is_final for key in keys) and not board.spool:
            return blade.steps
    raise AssertionError(f"killed at step {fall_at}: never finished")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A home with a board that was heard and three requests, to be copied."""
    home = Home(tmp_path / "template").create()
    with Store.open(home) as store:
        office = Office(store, home.gateway)
        board = office.enrol()
        office.request("a", "b", "c")
        board.beat()
    return home.root


def stage(template: Path, root: Path) -> tuple[Store, Office, PaperBoard, list[str]]:
    shutil.copytree(template, root)
    store = Store.open(Home(root))
    office = Office(store, root / "gateway")
    sha = store.files.put(b"onnx")

    os.utime(root / "gateway" / "boards" / "pi-1" / "heartbeat.json", (office.now, office.now))
    keys = [wanted(sha, name=n).measurement_key for n in "abc"]
    return store, office, PaperBoard(root / "gateway" / "boards" / "pi-1"), keys


@pytest.mark.slow
def test_kill_at_any_step_loses_nothing_and_counts_nothing_twice(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blade = Guillotine(monkeypatch)
    total, fall_at = 1, 0
    while fall_at <= total:
        store, office, board, keys = stage(template, tmp_path / f"run-{fall_at}")
        steps = play(office, board, keys, blade, fall_at=fall_at)
        total = steps if fall_at == 0 else total
        blade.fall_at = 0
        assert [office.state(key).state for key in keys] == [RequestStatus.DONE] * 3, fall_at
        assert sorted(m.late for m in store.fleet.measurements()) == [False] * 3, fall_at
        assert all(word.stored for word in board.acknowledged.values()), fall_at
        store.close()
        shutil.rmtree(tmp_path / f"run-{fall_at}")
        fall_at += 1
    assert total > 40
