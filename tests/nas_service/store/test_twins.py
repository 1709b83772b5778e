"""Twins in the store: who gets one, who may measure it, and what is found of what boards share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from edge_agent.records import Lease, Result
from nas_service.fleet import PendingRequest, Settlement, SharedFigure
from nas_service.measurement import RequestStatus
from nas_service.store import Store
from nas_service.store.fleet import FleetStore
from nas_service.store.fleet_tables import measurement_requests
from nas_service.twins import is_twinned, twin_key
from tests.cluster.gateway.samples import good_latency, good_result, wanted
from tests.nas_service.store.test_fleet import KEY_1, KEY_2, NOW, enrol

NAMES = [f"m{n}" for n in range(200)]
KEYS = {name: wanted("0" * 64, name=name).measurement_key for name in NAMES}
TWINNED = [name for name in NAMES if is_twinned(KEYS[name])]
PLAIN = next(name for name in NAMES if not is_twinned(KEYS[name]))
NAME = TWINNED[0]
TWIN = twin_key(KEYS[NAME])


@pytest.fixture
def fleet(store: Store) -> FleetStore:
    """Two boards of a class."""
    enrol(store.fleet, "pi-1", key=KEY_1)
    enrol(store.fleet, "pi-2", key=KEY_2)
    return store.fleet


def ask(fleet: FleetStore, name: str = NAME) -> str:
    [state] = fleet.request([wanted("0" * 64, name=name)], now=NOW)
    return state.measurement_key


def grant(fleet: FleetStore, key: str, board: str) -> Lease | None:
    return fleet.leases.grant(key, board=board, ttl_s=180.0, deadline=NOW + 300, now=NOW, holding_limit=2)


def answer(fleet: FleetStore, key: str, board: str = "pi-1", *, mean_ms: float = 2.0, **changes: Any) -> Result:
    lease = grant(fleet, key, board)
    assert lease is not None
    return hand_in(fleet, lease, mean_ms=mean_ms, **changes)


def hand_in(fleet: FleetStore, lease: Lease, *, mean_ms: float = 2.0, **changes: Any) -> Result:
    good = good_result(lease, result_id=f"r-{lease.lease_id}")
    result = replace(good, latency=good_latency(mean_ms), **changes)
    state = RequestStatus.DONE if result.status == "ok" else RequestStatus.FAILED

    def settle(request: PendingRequest) -> Settlement:
        return Settlement(state=state, attempts=request.attempts + 1, infra_faults=0)

    assert fleet.leases.record(result, settle=settle, received_at=NOW).stored
    return result


def queued(fleet: FleetStore) -> list[str]:
    return [request.measurement_key for request in fleet.leases.queued()]


def row(store: Store, key: str) -> dict[str, Any]:
    query = select(measurement_requests).where(measurement_requests.c.measurement_key == key)
    with store.database.reading() as connection:
        return dict(connection.execute(query).mappings().one())


def test_good_result_of_a_chosen_request_queues_its_twin_below_everything(fleet: FleetStore) -> None:
    key = ask(fleet)
    answer(fleet, key)
    [twin] = fleet.leases.queued()
    assert (twin.measurement_key, twin.twin_of, twin.barred) == (TWIN, key, frozenset({"pi-1"}))
    assert (twin.tier, twin.model_sha256, twin.priority) == ("probe", "0" * 64, -(2**31))


def test_twin_asks_for_the_same_as_its_original_and_for_no_job(fleet: FleetStore, store: Store) -> None:
    fleet.request([replace(wanted("0" * 64, name=NAME), job_id="job", priority=3)], now=NOW)
    answer(fleet, KEYS[NAME])
    original, twin = row(store, KEYS[NAME]), row(store, TWIN)
    same = ("structure_key", "board_class", "tier", "half", "model_sha256", "model_size_bytes", "settings")
    assert {name: twin[name] for name in same} == {name: original[name] for name in same}
    assert (twin["job_id"], twin["grants"], twin["result_id"]) == (None, 0, None)


def test_request_that_is_not_chosen_gets_no_twin(fleet: FleetStore) -> None:
    answer(fleet, ask(fleet, PLAIN))
    assert queued(fleet) == []


def test_failed_request_gets_no_twin(fleet: FleetStore) -> None:
    answer(fleet, ask(fleet), status="infeasible_oom", fault="model")
    assert queued(fleet) == []


def test_class_of_one_board_gets_no_twins_and_removed_boards_do_not_count(fleet: FleetStore) -> None:
    fleet.remove("pi-2", now=NOW)
    answer(fleet, ask(fleet))
    assert queued(fleet) == []


def test_twin_is_for_a_board_that_has_not_measured_its_original_even_if_it_was_decided_otherwise(
    fleet: FleetStore,
) -> None:
    answer(fleet, ask(fleet))
    assert grant(fleet, TWIN, "pi-1") is None
    assert grant(fleet, TWIN, "pi-2") is not None


def test_a_late_answer_bars_its_board_too(fleet: FleetStore) -> None:
    key = ask(fleet)
    late = grant(fleet, key, "pi-2")
    assert late is not None
    back = Settlement(state=RequestStatus.QUEUED, attempts=1, infra_faults=0)
    assert fleet.leases.expire(late.lease_id, cause="lost", settle=lambda request: back, now=NOW)
    answer(fleet, key, "pi-1")
    hand_in(fleet, late)
    assert [request.barred for request in fleet.leases.queued()] == [frozenset({"pi-1", "pi-2"})]


def test_twins_result_is_kept_like_any_other_and_leaves_its_original_as_it_was(fleet: FleetStore, store: Store) -> None:
    key = ask(fleet)
    first = answer(fleet, key, "pi-1", mean_ms=2.0)
    before = row(store, key)
    second = answer(fleet, TWIN, "pi-2", mean_ms=2.1)
    assert row(store, key) == before
    assert [state.result for state in fleet.states([key]).values()] == [first]
    assert {m.result.result_id: m.late for m in fleet.measurements()} == {
        first.result_id: False,
        second.result_id: False,
    }


def test_twin_is_never_twinned(fleet: FleetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_service.store.twins.is_twinned", lambda key: True)
    answer(fleet, ask(fleet))
    answer(fleet, TWIN, "pi-2")
    assert queued(fleet) == []


def test_twins_that_nobody_measures_do_not_pile_up(fleet: FleetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_service.store.twins.TWINS_WAITING_LIMIT", 2)
    for name in TWINNED[:4]:
        answer(fleet, ask(fleet, name))
    assert len(queued(fleet)) == 2


def test_what_boards_share_is_found_under_the_originals_key_as_it_was_measured(fleet: FleetStore) -> None:
    key = ask(fleet)
    answer(fleet, key, "pi-1", mean_ms=2.0)
    answer(fleet, ask(fleet, PLAIN), "pi-1", mean_ms=9.0)
    assert fleet.shared_figures("rpi5") == []
    answer(fleet, TWIN, "pi-2", mean_ms=2.1)
    found = sorted(fleet.shared_figures("rpi5"), key=lambda figure: figure.board)
    assert found == [
        SharedFigure(subject=key, board="pi-1", latency_ms=2.0),
        SharedFigure(subject=key, board="pi-2", latency_ms=2.1),
    ]
    assert fleet.shared_figures("jetson") == []


def test_failures_are_not_shared_and_only_the_last_subjects_are_looked_at(fleet: FleetStore) -> None:
    for name in TWINNED[:3]:
        answer(fleet, ask(fleet, name), "pi-1")
    answer(fleet, twin_key(KEYS[TWINNED[0]]), "pi-2", status="noisy", fault="board")
    for name in TWINNED[1:3]:
        answer(fleet, twin_key(KEYS[name]), "pi-2")
    assert {figure.subject for figure in fleet.shared_figures("rpi5")} == {KEYS[name] for name in TWINNED[1:3]}
    assert len(fleet.shared_figures("rpi5", limit=1)) == 2
