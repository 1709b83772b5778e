"""Leases and results in the store: fencing, idempotence, and what survives a race."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from edge_agent.records import Lease, Result
from nas_service.fleet import PendingRequest, Receipt, Settlement
from nas_service.measurement import RequestStatus
from nas_service.store import Store
from nas_service.store.fleet import FleetStore
from tests.cluster.gateway.samples import good_result, heartbeat, wanted
from tests.nas_service.store.test_fleet import KEY_2, NOW, enrol

KEY = wanted("0" * 64).measurement_key


@pytest.fixture
def fleet(store: Store) -> FleetStore:
    """Two boards, and one request that waits."""
    enrol(store.fleet)
    enrol(store.fleet, "pi-2", key=KEY_2)
    store.fleet.heartbeats([(heartbeat("pi-1"), NOW)])
    store.fleet.request([wanted("0" * 64)], now=NOW)
    return store.fleet


def grant(fleet: FleetStore, board: str = "pi-1", *, key: str = KEY) -> Lease | None:
    return fleet.leases.grant(key, board=board, ttl_s=180.0, deadline=NOW + 300, now=NOW, holding_limit=2)


def granted(fleet: FleetStore, board: str = "pi-1") -> Lease:
    lease = grant(fleet, board)
    assert lease is not None
    return lease


def settle(state: RequestStatus, *, retryable: bool = False, blames_board: bool = False) -> Settlement:
    return Settlement(
        state=state, attempts=1, infra_faults=0, cause="because", retryable=retryable, blames_board=blames_board
    )


def record(fleet: FleetStore, result: Result, settlement: Settlement | None = None) -> Receipt:
    def decide(request: PendingRequest) -> Settlement:
        return settlement or Settlement(state=RequestStatus.DONE, attempts=0, infra_faults=0)

    return fleet.leases.record(result, settle=decide, received_at=NOW)


def expire(fleet: FleetStore, lease: Lease, *, blames_board: bool = True) -> bool:
    settlement = settle(RequestStatus.QUEUED, blames_board=blames_board)
    return fleet.leases.expire(lease.lease_id, cause="lost", settle=lambda request: settlement, now=NOW)


def test_lease_carries_its_request_and_the_boards_incarnation(fleet: FleetStore) -> None:
    lease = granted(fleet)
    [standing] = fleet.leases.standing()
    assert (standing.lease, standing.incarnation) == (lease, "boot-1")
    assert (lease.measurement_key, lease.model.sha256, lease.attempt) == (KEY, "0" * 64, 1)
    assert fleet.leases.queued() == []


def test_request_is_leased_to_one_board_only(fleet: FleetStore) -> None:
    granted(fleet)
    assert grant(fleet, "pi-2") is None


def test_unfit_board_gets_no_lease_even_if_it_was_fit_when_that_was_decided(fleet: FleetStore) -> None:
    fleet.drain("pi-1")
    fleet.remove("pi-2", now=NOW)
    assert (grant(fleet, "pi-1"), grant(fleet, "pi-2"), grant(fleet, "nobody")) == (None, None, None)


def test_board_holds_no_more_than_the_limit(fleet: FleetStore) -> None:
    names = ("b", "c", "d")
    fleet.request([wanted("0" * 64, name=n) for n in names], now=NOW)
    leases = [grant(fleet, key=wanted("0" * 64, name=n).measurement_key) for n in names]
    assert [lease is not None for lease in leases] == [True, True, False]


def test_tokens_rise_with_every_grant(fleet: FleetStore) -> None:
    tokens = []
    for _ in range(3):
        lease = granted(fleet)
        tokens.append((lease.token, lease.attempt))
        assert expire(fleet, lease)
    assert tokens == [(1, 1), (2, 2), (3, 3)]


def test_good_result_completes_its_request_and_is_found(fleet: FleetStore) -> None:
    result = good_result(granted(fleet))
    assert record(fleet, result) == Receipt(stored=True)
    state = fleet.states([KEY])[KEY]
    assert (state.state, state.result) == (RequestStatus.DONE, result)
    assert fleet.leases.standing() == []
    assert [m.result for m in fleet.measurements(board_class="rpi5")] == [result]
    assert fleet.measurements(board_class="jetson") == []


def test_finished_request_answers_at_once_when_another_job_asks(fleet: FleetStore) -> None:
    record(fleet, good_result(granted(fleet)))
    [state] = fleet.request([replace(wanted("1" * 64), job_id="later")], now=NOW + 99)
    assert state.state is RequestStatus.DONE
    assert fleet.leases.queued() == []


def test_result_that_comes_twice_counts_once(fleet: FleetStore) -> None:
    result = good_result(granted(fleet))
    record(fleet, result)
    assert record(fleet, result) == Receipt(stored=True, duplicate=True)
    assert record(fleet, replace(result, result_id="result-2")) == Receipt(stored=True, duplicate=True)
    assert len(fleet.measurements()) == 1


def test_late_result_is_kept_as_an_extra_sample_and_completes_nothing(fleet: FleetStore) -> None:
    late = granted(fleet)
    expire(fleet, late)
    fresh = granted(fleet, "pi-2")
    assert record(fleet, good_result(late, result_id="late")) == Receipt(stored=True, late=True)
    assert fleet.states([KEY])[KEY].state is RequestStatus.LEASED
    record(fleet, good_result(fresh, result_id="fresh"))
    state = fleet.states([KEY])[KEY]
    assert state.result is not None
    assert state.result.result_id == "fresh"
    assert sorted((m.result.result_id, m.late) for m in fleet.measurements()) == [("fresh", False), ("late", True)]


def test_late_result_does_not_revert_a_finished_request(fleet: FleetStore) -> None:
    late = granted(fleet)
    expire(fleet, late)
    record(fleet, good_result(granted(fleet, "pi-2"), result_id="fresh"))
    bad = replace(good_result(late, result_id="late"), status="agent_error", fault="board", latency=None)
    record(fleet, bad, settle(RequestStatus.FAILED))
    assert fleet.states([KEY])[KEY].state is RequestStatus.DONE


def test_result_without_a_lease_is_refused(fleet: FleetStore) -> None:
    invented = replace(good_result(granted(fleet)), lease_id="invented")
    assert record(fleet, invented) == Receipt(stored=False, reason="lease invented was never granted")


def test_expired_lease_returns_its_request_and_names_the_board_that_failed_it(fleet: FleetStore) -> None:
    lease = granted(fleet)
    assert expire(fleet, lease)
    assert not expire(fleet, lease)
    [request] = fleet.leases.queued()
    assert (request.attempts, request.tried) == (1, frozenset({"pi-1"}))


def test_answered_lease_does_not_expire(fleet: FleetStore) -> None:
    lease = granted(fleet)
    record(fleet, good_result(lease))
    assert not expire(fleet, lease)
    assert fleet.states([KEY])[KEY].state is RequestStatus.DONE


def test_result_of_an_older_version_that_is_none_today_is_a_failure_and_hides_nothing_else(
    fleet: FleetStore, store: Store
) -> None:
    lease = granted(fleet)
    record(fleet, good_result(lease))
    with store.database.transaction() as connection:
        connection.exec_driver_sql("""UPDATE measurements SET result = replace(result, '"n":64', '"n":0')""")
    state = fleet.states([KEY])[KEY]
    assert (state.state, state.result) == (RequestStatus.FAILED, None)
    assert "its stored result cannot be used: n is 0 but must be above 0" in str(state.cause)
    assert fleet.measurements() == []


def test_failure_of_the_model_is_final_and_keeps_its_result(fleet: FleetStore) -> None:
    bad = replace(good_result(granted(fleet)), status="model_error", fault="model", latency=None)
    record(fleet, bad, settle(RequestStatus.FAILED))
    [state] = fleet.request([wanted("1" * 64)], now=NOW)
    assert (state.state, state.cause, state.result) == (RequestStatus.FAILED, "because", bad)


def test_request_that_failed_for_want_of_a_board_starts_afresh_when_asked_for_anew(fleet: FleetStore) -> None:
    bad = replace(good_result(granted(fleet)), status="agent_error", fault="board", latency=None)
    record(fleet, bad, settle(RequestStatus.FAILED, retryable=True, blames_board=True))
    [state] = fleet.request([wanted("1" * 64)], now=NOW)
    [request] = fleet.leases.queued()
    assert state.state is RequestStatus.QUEUED
    assert (request.attempts, request.tried, request.model_sha256) == (0, frozenset(), "1" * 64)
    assert granted(fleet).attempt == 2


def test_request_without_its_file_fails_with_the_cause_and_may_be_asked_for_anew(fleet: FleetStore) -> None:
    fleet.leases.fail(KEY, cause="no file", now=NOW)
    assert fleet.states([KEY])[KEY].cause == "no file"
    assert fleet.request([wanted("1" * 64)], now=NOW)[0].state is RequestStatus.QUEUED


def test_board_that_goes_on_after_a_restart_keeps_its_leases(fleet: FleetStore) -> None:
    granted(fleet)
    fleet.heartbeats([(heartbeat("pi-1", incarnation="boot-2"), NOW)])
    fleet.leases.adopt("pi-1")
    assert [s.incarnation for s in fleet.leases.standing()] == ["boot-2"]


def test_request_waits_once_however_many_grant_it_at_the_same_time(fleet: FleetStore) -> None:
    found: list[Lease | None] = []
    threads = [threading.Thread(target=lambda b=b: found.append(grant(fleet, b))) for b in ("pi-1", "pi-2") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in found) == 1


def test_result_counts_once_however_many_hand_it_in_at_the_same_time(fleet: FleetStore) -> None:
    result = good_result(granted(fleet))
    receipts: list[Receipt] = []
    threads = [threading.Thread(target=lambda: receipts.append(record(fleet, result))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.duplicate for r in receipts) == [False] + [True] * 7


def test_received_results_are_listed_for_acknowledging_them_again(fleet: FleetStore) -> None:
    record(fleet, good_result(granted(fleet)))
    assert fleet.leases.received_since(NOW - 1) == [("pi-1", "result-1")]
    assert fleet.leases.received_since(NOW + 1) == []


def test_board_with_three_faults_in_a_row_is_in_quarantine_until_it_is_pardoned(fleet: FleetStore) -> None:
    for _ in range(3):
        expire(fleet, granted(fleet))
    assert set(fleet.quarantines(now=NOW + 1)) == {"pi-1"}
    assert fleet.quarantines(now=NOW + 1)["pi-1"].reason == "3 faults of the board in a row, the last: lost"
    assert fleet.quarantines(now=NOW + 400) == {}
    fleet.drain("pi-1", draining=False)
    assert fleet.quarantines(now=NOW + 1) == {}


def test_good_answer_ends_a_row_of_faults(fleet: FleetStore) -> None:
    for _ in range(3):
        expire(fleet, granted(fleet))
    record(fleet, good_result(granted(fleet)))
    assert fleet.quarantines(now=NOW + 1) == {}
