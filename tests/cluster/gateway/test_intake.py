"""What boards hand in, over real folders and a real store: every file is taken in or refused, and the rest goes on."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.records import Lease, Result
from nas_service.measurement import RequestStatus
from nas_service.store.fleet import FleetStore
from nas_service.store.leases import LeaseStore
from tests.cluster.gateway.office import Office
from tests.cluster.gateway.paper_board import PaperBoard
from tests.cluster.gateway.samples import good_result
from tests.nas_service.store.test_fleet import KEY_2

DEEP: dict[str, Any] = functools.reduce(lambda inner, _: {"k": inner}, range(600), {"k": 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def refused_text(lease: Lease, change: dict[str, Any], *, cut: int | None = None) -> str:
    return json.dumps(good_result(lease, result_id="odd").to_dict() | change)[:cut]


@pytest.mark.parametrize(
    ("change", "cut", "reason"),
    [
        ({"colour": "red"}, None, "result has unknown keys 'colour'"),
        ({"token": 99}, None, "token is 99 but lease"),
        ({"latency": None}, None, "status is 'ok' but latency is absent"),
        ({"health": DEEP}, None, "result.health.k"),
        ({}, 300, "result is not JSON"),
    ],
)
def test_request_whose_result_is_refused_goes_on_at_once_and_says_why(
    office: Office, change: dict[str, Any], cut: int | None, reason: str
) -> None:
    board = office.enrol()
    [key] = office.request("a")
    office.hear(board)
    for attempt in (1, 2, 3):
        [lease] = board.leases()
        assert lease.attempt == attempt
        board.hand_in("odd", refused_text(lease, change, cut=cut))
        office.room.round()
    state = office.state(key)
    assert state.state is RequestStatus.FAILED
    assert f"the result of board pi-1 was refused: {reason}" in str(state.cause)
    assert str(state.cause).endswith("(given up after 3 tries)")


def test_board_that_cannot_read_its_lease_is_heard_though_it_cannot_say_which_measurement_it_was(
    office: Office,
) -> None:
    board = office.enrol()
    office.request("a")
    office.hear(board)
    [lease] = board.leases()
    said = {"measurement_key": "0" * 64, "status": "agent_error", "fault": "board", "cause": "the lease cannot be read"}
    board.hand_in("odd", refused_text(lease, said | {"latency": None}))
    office.room.round()
    assert [again.attempt for again in board.leases()] == [2]
    [ending] = office.store.fleet.leases.endings()["pi-1"]
    assert str(ending.cause).endswith("; it says: the lease cannot be read")


def test_result_that_the_gateway_itself_cannot_take_in_costs_its_request_no_try(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any, **__: Any) -> Any:
        raise RecursionError("too deep")

    monkeypatch.setattr(LeaseStore, "record", stumble)
    board = office.enrol()
    office.request("a")
    office.hear(board)
    board.work()
    office.room.round()
    [request] = office.store.fleet.leases.queued()
    assert (request.attempts, request.infra_faults, request.tried) == (0, 1, frozenset())


def test_refused_result_ends_no_lease_of_another_board(office: Office) -> None:
    honest, forger = office.enrol(), office.enrol("pi-2", key=KEY_2)
    [key] = office.request("a")
    office.hear(honest)
    [lease] = honest.leases()
    forger.hand_in("odd", refused_text(lease, {"colour": "red"}))
    office.room.round()
    assert office.state(key).state is RequestStatus.LEASED


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(list(Result.__dataclass_fields__)), json_values), min_size=1, max_size=3))
def test_no_letter_keeps_the_next_one_from_being_taken_in(office: Office, changes: list[tuple[str, Any]]) -> None:
    boards = {board.name for board in office.store.fleet.boards()}
    board = PaperBoard(office.folders.boards / "pi-1") if boards else office.enrol()
    [key] = office.request(f"m{office.now}")
    office.now += 1
    office.hear(board)
    [lease] = [lease for lease in board.leases() if lease.measurement_key == key]
    forged = good_result(lease, result_id="a").to_dict() | dict(changes)
    board.hand_in("a", json.dumps(forged))
    board.hand_in("b", "[")
    office.room.round()
    assert list((board.root / "outbox").iterdir()) == []
    board.work()
    assert "b" in board.acknowledged


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"health": DEEP}, id="deep"),
        pytest.param({"runtime": {"n": 10**400}}, id="huge"),
        pytest.param({"finished_unix_s": 10**400}, id="beyond any float"),
        pytest.param({"health": {"n": float("nan")}}, id="not a number"),
        pytest.param({"cause": "\ud800"}, id="no text"),
        pytest.param({"incarnation": "x" * 1000}, id="no incarnation"),
    ],
)
def test_letter_that_cannot_be_taken_in_is_set_aside_and_the_rest_goes_on(
    office: Office, change: dict[str, Any]
) -> None:
    poisoner = office.enrol()
    office.request("a")
    office.hear(poisoner)
    [lease] = poisoner.leases()
    honest = office.enrol("pi-2", key=KEY_2)
    office.request("b")
    office.hear(honest)
    honest.work()
    poisoner.hand_in("poison", json.dumps(good_result(lease, result_id="poison").to_dict() | change))
    office.room.round()
    poisoner.work()
    assert not poisoner.acknowledged["poison"].stored
    assert [path.name for path in office.folders.refused("pi-1").iterdir()] == ["poison.json"]
    assert [m.result.board for m in office.store.fleet.measurements()] == ["pi-2"]


def test_letter_that_the_gateway_itself_stumbles_over_stops_nobody(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(store: LeaseStore, result: Result, **rest: Any) -> Any:
        if result.result_id == "odd":
            raise RecursionError("too deep")
        return record(store, result, **rest)

    record = LeaseStore.record
    monkeypatch.setattr(LeaseStore, "record", stumble)
    board = office.enrol()
    office.request("a", "b")
    office.hear(board)
    first, second = board.leases()
    board.hand_in("odd", good_result(first, result_id="odd").to_json())
    board.hand_in("sound", good_result(second, result_id="sound").to_json())
    office.room.round()
    board.work()
    assert str(board.acknowledged["odd"].reason) == "the gateway cannot take it in: RecursionError: too deep"
    assert "result odd of board pi-1 refused" in caplog.text
    assert board.acknowledged["sound"].stored


def test_folders_in_an_outbox_are_cleared_away(office: Office) -> None:
    board = office.enrol()
    for name in ("r1.json", "UPPER.json", "old"):
        (board.root / "outbox" / name / "inner").mkdir(parents=True)
    os.utime(board.root / "outbox" / "old", (office.now - 4000, office.now - 4000))
    office.now += 61
    office.room.round()
    assert list((board.root / "outbox").iterdir()) == []


def test_of_refused_letters_the_latest_are_kept(office: Office) -> None:
    board = office.enrol()
    for n in range(20):
        board.hand_in(f"r{n:02}", "[")
        office.room.round()
    kept = sorted(path.name for path in office.folders.refused("pi-1").iterdir())
    assert kept == [f"r{n:02}.json" for n in range(4, 20)]


def test_heartbeat_that_cannot_be_kept_costs_no_other_board_its_own(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(store: FleetStore, beats: Any) -> None:
        if any(beat.board == "pi-1" for beat, _ in beats):
            raise ValueError("no such text")
        keep(store, beats)

    odd, sound = office.enrol(), office.enrol("pi-2", key=KEY_2)
    keep = FleetStore.heartbeats
    monkeypatch.setattr(FleetStore, "heartbeats", stumble)
    odd.beat()
    sound.beat()
    office.room.round()
    assert office.store.fleet.board("pi-1").last_seen is None
    assert office.store.fleet.board("pi-2").last_seen is not None
