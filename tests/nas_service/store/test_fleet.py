"""The fleet's tables: enrolment, boards, requests. Leases and results are in test_leases.py."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.records import RuntimeSettings
from nas_service.errors import ConflictError, InvalidRequestError, NotFoundError
from nas_service.fleet import RIVAL_S, BoardState, fingerprint_difference, normal_public_key
from nas_service.measurement import RequestStatus
from nas_service.store import Store
from nas_service.store.fleet import FleetStore
from tests.cluster.gateway.samples import heartbeat, wanted

NOW = 1000.0
KEY_1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPpBQzPnqNE7ynpNSK8VVajWeDMUgsHd5ThylqjyzuJ3"
KEY_2 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture
def fleet(store: Store) -> FleetStore:
    return store.fleet


def enrol(fleet: FleetStore, name: str = "pi-1", *, key: str = KEY_1, model: str = "pi", ttl_s: float = 60.0) -> None:
    token = fleet.create_enrolment(name, board_class="rpi5", ttl_s=ttl_s, now=NOW)
    fleet.redeem(token, public_key=key, fingerprint={"model": model}, now=NOW)


def test_code_makes_a_board_and_freezes_its_class(fleet: FleetStore) -> None:
    enrol(fleet)
    [board] = fleet.boards()
    assert (board.name, board.board_class, board.state) == ("pi-1", "rpi5", BoardState.READY)
    assert fleet.board_key("pi-1") == KEY_1
    assert [c.fingerprint for c in fleet.board_classes()] == [{"model": "pi"}]


def test_code_is_kept_only_as_a_hash(fleet: FleetStore, store: Store) -> None:
    token = fleet.create_enrolment("pi-1", board_class="rpi5", ttl_s=60.0, now=NOW)
    with store.database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM enrolments").fetchall()
    assert len(rows) == 1
    assert token not in str(rows)


def test_class_is_known_before_its_first_board_has_come(fleet: FleetStore) -> None:
    fleet.create_enrolment("pi-1", board_class="rpi5", ttl_s=60.0, now=NOW)
    assert [(c.name, c.fingerprint) for c in fleet.board_classes()] == [("rpi5", None)]


@pytest.mark.parametrize(("at", "valid"), [(NOW, True), (NOW + 59, True), (NOW + 60, False)])
def test_code_expires(fleet: FleetStore, at: float, valid: bool) -> None:
    token = fleet.create_enrolment("pi-1", board_class="rpi5", ttl_s=60.0, now=NOW)
    assert fleet.code_valid(token, now=at) is valid
    assert fleet.code_valid("unknown", now=at) is False


def test_expired_code_is_not_redeemed(fleet: FleetStore) -> None:
    token = fleet.create_enrolment("pi-1", board_class="rpi5", ttl_s=60.0, now=NOW)
    with pytest.raises(InvalidRequestError, match="unknown or has expired; make a new one with `nas board add`"):
        fleet.redeem(token, public_key=KEY_1, fingerprint={}, now=NOW + 61)


def test_code_serves_one_key_only_and_that_one_again(fleet: FleetStore) -> None:
    token = fleet.create_enrolment("pi-1", board_class="rpi5", ttl_s=60.0, now=NOW)
    first = fleet.redeem(token, public_key=KEY_1, fingerprint={}, now=NOW)
    assert fleet.redeem(token, public_key=f"{KEY_1} comment", fingerprint={}, now=NOW) == first
    with pytest.raises(InvalidRequestError, match="has been used"):
        fleet.redeem(token, public_key=KEY_2, fingerprint={}, now=NOW)


def test_newer_code_for_a_board_withdraws_the_older_one_with_its_class(fleet: FleetStore) -> None:
    older, other, newer = (
        fleet.create_enrolment(name, board_class=board_class, ttl_s=60.0, now=NOW)
        for name, board_class in (("pi-1", "rpi4"), ("pi-2", "rpi4"), ("pi-1", "rpi5"))
    )
    assert [fleet.code_valid(token, now=NOW) for token in (older, other, newer)] == [False, True, True]
    with pytest.raises(InvalidRequestError, match="the code is unknown or has expired"):
        fleet.redeem(older, public_key=KEY_1, fingerprint={}, now=NOW)
    assert fleet.redeem(newer, public_key=KEY_1, fingerprint={}, now=NOW).board_class == "rpi5"


def test_boards_are_expected_until_they_enrol_or_their_code_ends(fleet: FleetStore) -> None:
    token = fleet.create_enrolment("pi-1", board_class="rpi5", ttl_s=60.0, now=NOW)
    fleet.create_enrolment("pi-2", board_class="rpi4", ttl_s=90.0, now=NOW)
    assert [(b.name, b.board_class) for b in fleet.expected(now=NOW)] == [("pi-1", "rpi5"), ("pi-2", "rpi4")]
    fleet.redeem(token, public_key=KEY_1, fingerprint={}, now=NOW)
    assert [b.name for b in fleet.expected(now=NOW + 89)] == ["pi-2"]
    assert fleet.expected(now=NOW + 90) == []


def test_code_for_a_board_that_has_enrolled_meanwhile_is_not_redeemed(fleet: FleetStore, store: Store) -> None:
    token = fleet.create_enrolment("pi-1", board_class="rpi5", ttl_s=60.0, now=NOW)
    fleet.redeem(token, public_key=KEY_1, fingerprint={}, now=NOW)
    with store.database.transaction() as connection:  # two codes made at the same moment
        connection.exec_driver_sql("UPDATE enrolments SET used_at = NULL")
    with pytest.raises(ConflictError, match="enrolled already; remove it first: nas board rm pi-1"):
        fleet.redeem(token, public_key=KEY_2, fingerprint={}, now=NOW)


def test_one_key_is_not_two_boards(fleet: FleetStore) -> None:
    enrol(fleet)
    with pytest.raises(
        ConflictError, match="this key belongs to board 'pi-1'; give each board a home folder of its own"
    ):
        enrol(fleet, "pi-2")


def test_board_unlike_its_class_is_refused_and_its_code_stays_good(fleet: FleetStore) -> None:
    enrol(fleet)
    token = fleet.create_enrolment("pi-2", board_class="rpi5", ttl_s=60.0, now=NOW)
    with pytest.raises(InvalidRequestError, match="not of class 'rpi5': model is 'jetson' but the class has 'pi'"):
        fleet.redeem(token, public_key=KEY_2, fingerprint={"model": "jetson"}, now=NOW)
    assert fleet.redeem(token, public_key=KEY_2, fingerprint={"model": "pi"}, now=NOW).name == "pi-2"


@pytest.mark.parametrize(
    ("name", "text"),
    [("Pi 1", "must be 1 to 63 of a-z"), ("../x", "must be 1 to 63"), ("enroll", "'enroll' is reserved")],
)
def test_name_that_cannot_be_a_board_is_refused(fleet: FleetStore, name: str, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=text):
        fleet.create_enrolment(name, board_class="rpi5", ttl_s=60.0, now=NOW)


@pytest.mark.parametrize(
    "line", ["", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-ed25519 AAAA", KEY_1[:-4], "-----BEGIN"]
)
def test_key_that_is_not_ed25519_is_refused(line: str) -> None:
    with pytest.raises(InvalidRequestError, match="must be one line `ssh-ed25519 AAAA"):
        normal_public_key(line)


def test_class_keeps_its_settings(fleet: FleetStore) -> None:
    two = RuntimeSettings(threads=2)
    fleet.create_enrolment("pi-1", board_class="rpi5", ttl_s=60.0, now=NOW, settings=two)
    fleet.create_enrolment("pi-2", board_class="rpi5", ttl_s=60.0, now=NOW)
    with pytest.raises(InvalidRequestError, match="leave the settings out to join it"):
        fleet.create_enrolment("pi-3", board_class="rpi5", ttl_s=60.0, now=NOW, settings=RuntimeSettings())
    assert fleet.board_classes()[0].settings == two


def test_drained_board_gets_no_leases_until_it_is_made_ready(fleet: FleetStore) -> None:
    enrol(fleet)
    assert not fleet.drain("pi-1").may_lease(now=NOW)
    assert fleet.drain("pi-1", draining=False).may_lease(now=NOW)


def test_removed_board_has_no_key_and_may_be_enrolled_anew(fleet: FleetStore) -> None:
    enrol(fleet)
    for at in (NOW + 5, NOW + 9):
        removed = fleet.remove("pi-1", now=at)
        assert removed is not None
        assert removed.revoked_at == NOW + 5
    assert (fleet.board_key("pi-1"), fleet.boards()) == (None, [])
    assert [b.state for b in fleet.boards(removed=True)] == [BoardState.REMOVED]
    with pytest.raises(ConflictError, match="was removed; enrol it again"):
        fleet.drain("pi-1")
    enrol(fleet, key=KEY_2)
    assert fleet.board_key("pi-1") == KEY_2


def test_unknown_board_is_named_with_those_that_are_known(fleet: FleetStore) -> None:
    enrol(fleet)
    for ask in (fleet.board, fleet.drain):
        with pytest.raises(NotFoundError, match="no board is named 'pi-9'; known: pi-1"):
            ask("pi-9")


def test_heartbeat_is_kept_with_the_time_of_its_arrival(fleet: FleetStore) -> None:
    enrol(fleet)
    for at, incarnation in ((1.0, "boot-1"), (2.0, "boot-1"), (3.0, "boot-2"), (4.0, "boot-2")):
        fleet.heartbeats([(heartbeat("pi-1", incarnation=incarnation), at), (heartbeat("stranger"), at)])
    board = fleet.board("pi-1")
    assert (board.last_seen, board.incarnation, board.incarnation_since) == (4.0, "boot-2", 3.0)
    assert board.heartbeat == heartbeat("pi-1", incarnation="boot-2")


def test_board_that_changed_gets_no_leases_until_it_is_as_its_class_again(fleet: FleetStore) -> None:
    enrol(fleet)
    changed = replace(heartbeat("pi-1"), fingerprint={"model": "pi", "onnxruntime": "9"})
    fleet.heartbeats([(changed, NOW)])
    assert fleet.board("pi-1").mismatch == "onnxruntime is '9' but the class has None"


def test_two_agents_of_one_key_are_told_by_an_incarnation_that_comes_back(fleet: FleetStore) -> None:
    enrol(fleet)
    for at, incarnation in enumerate(("boot-1", "boot-2", "boot-3", "boot-3")):  # restarts, as often as one likes
        fleet.heartbeats([(heartbeat("pi-1", incarnation=incarnation), NOW + at)])
        assert fleet.board("pi-1").may_lease(now=NOW + at)
    fleet.heartbeats([(heartbeat("pi-1", incarnation="boot-2"), NOW + 10)])
    board = fleet.board("pi-1")
    assert "two agents use its key" in (board.obstacle(now=NOW + 10) or "")
    assert not board.may_lease(now=NOW + 10 + RIVAL_S)
    assert board.may_lease(now=NOW + 11 + RIVAL_S)  # the other has been silent for a minute


def test_board_that_waits_to_enrol_is_withdrawn_by_removing_it(fleet: FleetStore) -> None:
    token = fleet.create_enrolment("pi-9", board_class="rpi5", ttl_s=60.0, now=NOW)
    assert fleet.remove("pi-9", now=NOW) is None
    assert not fleet.code_valid(token, now=NOW)
    assert fleet.expected(now=NOW) == []
    with pytest.raises(NotFoundError, match="no board is named 'pi-9'"):
        fleet.remove("pi-9", now=NOW)


def test_board_enrolled_anew_has_no_rival(fleet: FleetStore) -> None:
    enrol(fleet)
    for incarnation in ("boot-1", "boot-2", "boot-1"):
        fleet.heartbeats([(heartbeat("pi-1", incarnation=incarnation), NOW)])
    fleet.remove("pi-1", now=NOW)
    enrol(fleet, key=KEY_2)
    assert fleet.board("pi-1").may_lease(now=NOW)


def test_board_that_cannot_store_gets_no_leases_until_it_says_that_it_can(fleet: FleetStore) -> None:
    enrol(fleet)
    fault = "/home/pi/spool: Read-only file system"
    fleet.heartbeats([(replace(heartbeat("pi-1"), health={"storage": fault}), NOW)])
    assert fleet.board("pi-1").obstacle(now=NOW) == f"it cannot store its results: {fault}"
    fleet.heartbeats([(replace(heartbeat("pi-1"), health={"storage": None}), NOW)])
    assert fleet.board("pi-1").may_lease(now=NOW)


def test_board_that_tells_no_fingerprint_gets_no_leases_whatever_it_told_before(fleet: FleetStore) -> None:
    enrol(fleet)
    for fingerprint, mismatch in (({"model": "pi"}, None), ({}, "model is None but the class has 'pi'")):
        fleet.heartbeats([(replace(heartbeat("pi-1"), fingerprint=fingerprint), NOW)])
        board = fleet.board("pi-1")
        assert (board.mismatch, board.may_lease(now=NOW)) == (mismatch, mismatch is None)
    assert not fleet.board("pi-1").may_lease(now=NOW)
    fleet.heartbeats([(heartbeat("pi-1"), NOW)])
    assert fleet.board("pi-1").may_lease(now=NOW)


@pytest.mark.parametrize(
    ("got", "difference"),
    [
        ({"a": 1, "b": 2}, None),
        ({"a": 1}, "b is None but the class has 2"),
        ({"a": 1, "b": 2, "power_mode": "0001"}, None),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7}, "and 1 more"),
    ],
)
def test_difference_of_fingerprints_is_named(got: dict[str, Any], difference: str | None) -> None:
    found = fingerprint_difference({"a": 1, "b": 2}, got)
    assert found == difference or (difference is not None and found is not None and difference in found)


def test_boards_enrolled_before_power_modes_were_told_stay_and_new_classes_tell_modes_apart(fleet: FleetStore) -> None:
    enrol(fleet)
    fleet.heartbeats([(replace(heartbeat("pi-1"), fingerprint={"model": "pi", "power_mode": "0001"}), NOW)])
    assert fleet.board("pi-1").may_lease(now=NOW)
    mismatch = fingerprint_difference({"model": "orin", "power_mode": "0000"}, {"model": "orin", "power_mode": "0001"})
    assert mismatch == "power_mode is '0001' but the class has '0000'"


def test_request_is_kept_once_however_often_it_is_made(fleet: FleetStore) -> None:
    enrol(fleet)
    request = wanted("0" * 64)
    first, again = fleet.request([request, request], now=NOW)
    assert first == again
    assert fleet.request([request], now=NOW + 1) == [first]
    assert (first.state, len(fleet.leases.queued())) == (RequestStatus.QUEUED, 1)


def test_request_takes_the_higher_priority_of_those_who_ask(fleet: FleetStore) -> None:
    enrol(fleet)
    for priority in (1, 5, 2):
        fleet.request([replace(wanted("0" * 64), priority=priority)], now=NOW)
    assert [r.priority for r in fleet.leases.queued()] == [5]


def test_request_for_an_unknown_class_is_refused_with_those_that_are_known(fleet: FleetStore) -> None:
    enrol(fleet)
    with pytest.raises(InvalidRequestError, match=r"'jetson'; known: rpi5; .*nas board add NAME --class jetson"):
        fleet.request([wanted("0" * 64), wanted("0" * 64, board_class="jetson")], now=NOW)
    assert fleet.leases.queued() == []


def test_request_with_other_settings_than_its_class_is_refused(fleet: FleetStore) -> None:
    enrol(fleet)
    with pytest.raises(InvalidRequestError, match="take the class's settings"):
        fleet.request([replace(wanted("0" * 64), settings=RuntimeSettings(threads=4))], now=NOW)


def test_states_of_many_requests_are_found_and_unknown_ones_are_absent(fleet: FleetStore) -> None:
    enrol(fleet)
    requests = [wanted("0" * 64, name=f"n{i}") for i in range(1200)]
    fleet.request(requests, now=NOW)
    keys = [r.measurement_key for r in requests]
    assert set(fleet.states([*keys, "f" * 64])) == set(keys)
    assert fleet.result_for("f" * 64) is None


def test_many_threads_that_ask_at_once_make_one_request(fleet: FleetStore) -> None:
    enrol(fleet)
    threads = [
        threading.Thread(target=lambda: fleet.request([wanted("0" * 64, name=n) for n in "abcdef"], now=NOW))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fleet.leases.queued()) == 6
