from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.gateway import leasing
from cluster.gateway.leasing import BoardView, Expiry
from edge_agent.records import Artifact, Lease, Result, RuntimeSettings, stable_hash
from nas_service.fleet import PendingRequest, StandingLease
from nas_service.measurement import RequestStatus
from tests.cluster.gateway.samples import good_result

NOW = 1000.0


def board(name: str = "pi-1", **changes: Any) -> BoardView:
    base = BoardView(
        name=name,
        board_class="rpi5",
        may_lease=True,
        incarnation="boot-1",
        last_seen=NOW,
        silent_since=NOW,
        restarted_at=NOW - 500,
    )
    return replace(base, **changes)


def request(name: str = "a", **changes: Any) -> PendingRequest:
    return replace(
        PendingRequest(measurement_key=stable_hash(name), board_class="rpi5", model_sha256="0" * 64), **changes
    )


def lease(name: str = "a", *, holder: str = "pi-1", token: int = 1, **changes: Any) -> StandingLease:
    right = Lease(
        lease_id=f"lease-{name}-{token}",
        token=token,
        board=holder,
        board_class="rpi5",
        tier="probe",
        half="little",
        model=Artifact(sha256="0" * 64, size_bytes=10),
        structure_key=stable_hash("structure"),
        measurement_key=stable_hash(name),
        ttl_s=60.0,
        deadline_unix_s=NOW + 300,
    )
    return replace(StandingLease(lease=right, granted_at=NOW, incarnation="boot-1"), **changes)


def boards_of(requests: list[PendingRequest], boards: list[BoardView], leases: list[StandingLease]) -> list[str]:
    return [grant.board for grant in leasing.assign(requests, boards, leases, now=NOW)]


def test_each_board_gets_work_before_any_gets_work_ahead() -> None:
    grants = leasing.assign([request(n) for n in "abcde"], [board("pi-1"), board("pi-2")], [], now=NOW)
    assert sorted((g.board, g.position) for g in grants) == [("pi-1", 0), ("pi-1", 1), ("pi-2", 0), ("pi-2", 1)]


def test_board_that_holds_two_leases_gets_no_third() -> None:
    assert boards_of([request("c")], [board()], [lease("a"), lease("b", token=2)]) == []


@pytest.mark.parametrize(
    "unfit",
    [
        board(may_lease=False),
        board(last_seen=None),
        board(last_seen=NOW - 61),
        board(board_class="jetson"),
    ],
)
def test_no_lease_goes_to_a_board_that_is_not_fit(unfit: BoardView) -> None:
    assert boards_of([request()], [unfit], []) == []


def test_board_that_announced_its_silence_counts_as_alive() -> None:
    assert boards_of([request()], [board(last_seen=NOW - 100, quiet_until=NOW - 50)], []) == ["pi-1"]


def test_a_board_cannot_announce_silence_for_ever() -> None:
    assert not leasing.is_alive(board(last_seen=NOW, quiet_until=NOW + 1e9), NOW + 1000)


def test_higher_priority_goes_first_then_the_older() -> None:
    waiting = [
        request("young", created_at=9),
        request("old", created_at=1),
        request("urgent", created_at=9, priority=1),
    ]
    grants = leasing.assign(waiting, [board()], [], now=NOW)
    assert [g.measurement_key for g in grants] == [stable_hash("urgent"), stable_hash("old")]


def test_request_waits_until_its_time() -> None:
    assert boards_of([request(not_before=NOW + 1)], [board()], []) == []


def test_request_goes_to_a_board_that_has_not_failed_it() -> None:
    tried = request(tried=frozenset({"pi-1"}))
    assert boards_of([tried], [board("pi-1"), board("pi-2")], []) == ["pi-2"]


def test_request_waits_for_the_other_board_if_that_is_busy() -> None:
    busy = [lease("x", holder="pi-2"), lease("y", holder="pi-2", token=2)]
    assert boards_of([request(tried=frozenset({"pi-1"}))], [board("pi-1"), board("pi-2")], busy) == []


def test_request_returns_to_the_only_board_of_its_class() -> None:
    assert boards_of([request(tried=frozenset({"pi-1"}))], [board("pi-1")], []) == ["pi-1"]


def twin(name: str = "twin", *, measured_by: str = "pi-1", **changes: Any) -> PendingRequest:
    return request(name, twin_of=stable_hash("original"), barred=frozenset({measured_by}), **changes)


def test_twin_goes_to_a_board_that_has_not_measured_its_original() -> None:
    assert boards_of([twin()], [board("pi-1"), board("pi-2")], []) == ["pi-2"]


@pytest.mark.parametrize(
    ("boards", "leases"),
    [
        ([board("pi-1")], []),
        ([board("pi-1"), board("pi-2", last_seen=NOW - 61)], []),
        ([board("pi-1"), board("pi-2", board_class="jetson")], []),
        ([board("pi-1"), board("pi-2")], [lease("x", holder="pi-2")]),
    ],
)
def test_twin_waits_for_ever_rather_than_go_to_the_board_that_measured_its_original_or_to_a_busy_one(
    boards: list[BoardView], leases: list[StandingLease]
) -> None:
    assert boards_of([twin()], boards, leases) == []


def test_twin_is_for_boards_that_nothing_else_is_for_whatever_the_ages_and_priorities() -> None:
    waiting = [twin(created_at=1, priority=9), *(request(n, created_at=9, priority=-9) for n in "abc")]
    grants = leasing.assign(waiting, [board("pi-1"), board("pi-2")], [], now=NOW)
    assert {grant.measurement_key for grant in grants} == {stable_hash(n) for n in "abc"}
    grants = leasing.assign(waiting[:2], [board("pi-1"), board("pi-2"), board("pi-3")], [], now=NOW)
    assert {(g.measurement_key, g.position) for g in grants} == {(stable_hash("twin"), 0), (stable_hash("a"), 0)}


@given(
    names=st.lists(st.text("abcdef", min_size=1, max_size=3), unique=True, max_size=8),
    twins=st.lists(st.integers(0, 3), max_size=8),
    n_boards=st.integers(0, 4),
)
def test_twins_take_nothing_from_requests_and_never_go_where_they_are_barred(
    names: list[str], twins: list[int], n_boards: int
) -> None:
    boards = [board(f"pi-{i}") for i in range(n_boards)]
    ordinary = [request(n) for n in names]
    doubles = [twin(f"twin-{k}", measured_by=f"pi-{i}") for k, i in enumerate(twins)]
    alone = leasing.assign(ordinary, boards, [], now=NOW)
    grants = leasing.assign([*doubles, *ordinary], boards, [], now=NOW)
    by_key = {double.measurement_key: double for double in doubles}
    first = [grant for grant in grants if grant.position == 0 and grant.measurement_key not in by_key]
    assert first == [grant for grant in alone if grant.position == 0]
    for grant in grants:
        double = by_key.get(grant.measurement_key)
        assert double is None or (grant.position == 0 and grant.board not in double.barred)


@given(
    names=st.lists(st.text("abcdef", min_size=1, max_size=4), unique=True, max_size=20),
    n_boards=st.integers(0, 5),
    held=st.lists(st.integers(0, 4), max_size=10),
)
def test_no_request_is_granted_twice_and_no_board_holds_more_than_two(
    names: list[str], n_boards: int, held: list[int]
) -> None:
    boards = [board(f"pi-{i}") for i in range(n_boards)]
    leases = [lease(f"held-{k}", holder=f"pi-{i}", token=k + 1) for k, i in enumerate(held) if held[:k].count(i) < 2]
    grants = leasing.assign([request(n) for n in names], boards, leases, now=NOW)
    keys = [g.measurement_key for g in grants]
    assert len(keys) == len(set(keys))
    for view in boards:
        count = sum(g.board == view.name for g in grants) + sum(h.lease.board == view.name for h in leases)
        assert count <= leasing.HOLDING_LIMIT


@pytest.mark.parametrize(
    ("view", "at", "cause"),
    [
        (board(), NOW + 59, None),
        (board(), NOW + 61, "was not heard for 61 s"),
        (board(quiet_until=NOW + 30), NOW + 89, None),
        (board(quiet_until=NOW + 30), NOW + 91, "was not heard for 91 s"),
        (board(last_seen=NOW + 290, silent_since=NOW + 290), NOW + 299, None),
        (board(last_seen=NOW + 290, silent_since=NOW + 290), NOW + 301, "past its deadline"),
        (board(incarnation="boot-2", restarted_at=NOW), NOW + 9, None),
        (board(incarnation="boot-2", restarted_at=NOW), NOW + 11, "came back anew without the result"),
        (None, NOW, "was removed"),
    ],
)
def test_lease_is_over_when(view: BoardView | None, at: float, cause: str | None) -> None:
    over = leasing.expiries([lease()], [view] if view else [], now=at)
    assert [cause is not None and cause in e.cause for e in over] == ([True] if cause else [])


def test_restarted_gateway_gives_boards_a_minute_to_be_heard_again() -> None:
    silent = board(last_seen=NOW - 500, silent_since=NOW)
    assert leasing.expiries([lease(granted_at=NOW - 600)], [silent], now=NOW + 59) == []


def test_only_the_lease_that_the_board_worked_on_uses_up_a_try() -> None:
    over = leasing.expiries([lease("b", token=2), lease("a", token=1)], [board()], now=NOW + 100)
    assert [(e.lease_id, e.counted) for e in over] == [("lease-a-1", True), ("lease-b-2", False)]


def test_removed_boards_leases_cost_no_try() -> None:
    assert [e.counted for e in leasing.expiries([lease()], [], now=NOW)] == [False]


def test_board_that_came_back_and_names_its_lease_keeps_it() -> None:
    back = board(incarnation="boot-2", working_on="lease-a-1")
    assert leasing.adoptions([lease("a"), lease("b", token=2)], [back]) == ["pi-1"]


@pytest.mark.parametrize("view", [board(working_on="lease-a-1"), board(incarnation="boot-2"), board("pi-9")])
def test_other_boards_adopt_nothing(view: BoardView) -> None:
    assert leasing.adoptions([lease("a")], [view]) == []


@pytest.mark.parametrize(
    ("settings", "position", "expected_s"),
    [
        (RuntimeSettings(), 0, 330.0),
        (RuntimeSettings(), 1, 660.0),
        (RuntimeSettings(prepare_timeout_s=1800.0), 0, 2010.0),
        (RuntimeSettings(prepare_timeout_s=5.0, measure_timeout_s=5.0), 0, 180.0),
    ],
)
def test_deadline_covers_preparing_measuring_and_the_lease_before(
    settings: RuntimeSettings, position: int, expected_s: float
) -> None:
    assert leasing.deadline(NOW, settings=settings, position=position) == NOW + expected_s


@pytest.mark.parametrize(("ttl_s", "quiet_until"), [(60.0, None), (100.0, None), (60.0, NOW + 40), (200.0, NOW + 5)])
def test_lease_lives_for_its_time_or_a_minute_beyond_the_announced_silence(
    ttl_s: float, quiet_until: float | None
) -> None:
    end = max(NOW + ttl_s, (quiet_until or 0.0) + 60)
    held, silent = lease(), board(quiet_until=quiet_until)
    held = replace(held, lease=replace(held.lease, ttl_s=ttl_s))
    assert leasing.expiries([held], [silent], now=end - 1) == []
    assert len(leasing.expiries([held], [silent], now=end + 1)) == 1


def faulty(fault: str | None, status: str = "agent_error") -> Result:
    return replace(good_result(lease().lease), status=status, fault=fault, latency=None, cause="because")


def test_good_result_completes_its_request() -> None:
    assert leasing.after_result(request(), good_result(lease().lease), now=NOW).state is RequestStatus.DONE


def test_models_fault_fails_the_request_at_once_and_for_good() -> None:
    settled = leasing.after_result(request(), faulty("model", "infeasible_oom"), now=NOW)
    assert (settled.state, settled.retryable, settled.blames_board) == (RequestStatus.FAILED, False, False)
    assert settled.cause == "infeasible_oom on pi-1: because"


def test_infrastructures_fault_costs_no_try_but_waits_longer_each_time() -> None:
    waits, pending = [], request(attempts=2)
    for _ in range(9):
        settled = leasing.after_result(pending, faulty("infra"), now=NOW)
        assert (settled.state, settled.attempts, settled.blames_board) == (RequestStatus.QUEUED, 2, False)
        waits.append(settled.not_before - NOW)
        pending = replace(pending, infra_faults=settled.infra_faults)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    last = leasing.after_result(pending, faulty("infra"), now=NOW)
    assert (last.state, last.retryable) == (RequestStatus.FAILED, True)
    assert "given up after 10 faults of the infrastructure" in str(last.cause)


@pytest.mark.parametrize("fault", ["board", "unknown"])
def test_boards_fault_costs_a_try_and_sends_the_request_elsewhere(fault: str) -> None:
    settled = leasing.after_result(request(attempts=1), faulty(fault), now=NOW)
    assert (settled.state, settled.attempts, settled.blames_board) == (RequestStatus.QUEUED, 2, True)


def test_third_try_is_the_last_and_may_be_asked_for_anew() -> None:
    settled = leasing.after_result(request(attempts=2), faulty("board"), now=NOW)
    assert (settled.state, settled.retryable) == (RequestStatus.FAILED, True)
    assert "given up after 3 tries" in str(settled.cause)


def test_a_twin_gets_one_try() -> None:
    settled = leasing.after_result(twin(), faulty("board"), now=NOW)
    assert (settled.state, settled.blames_board) == (RequestStatus.FAILED, True)
    assert "given up after 1 try" in str(settled.cause)
    lost = leasing.after_expiry(twin(), Expiry(lease_id="lease-a-1", cause="gone", counted=True), now=NOW)
    assert lost.state is RequestStatus.FAILED
    begun = leasing.after_expiry(twin(), Expiry(lease_id="lease-a-1", cause="gone", counted=False), now=NOW)
    assert begun.state is RequestStatus.QUEUED


@pytest.mark.parametrize(("counted", "attempts"), [(True, 1), (False, 0)])
def test_expired_lease_sends_its_request_back_to_the_queue(counted: bool, attempts: int) -> None:
    expiry = Expiry(lease_id="lease-a-1", cause="gone", counted=counted)
    settled = leasing.after_expiry(request(), expiry, now=NOW)
    assert (settled.state, settled.attempts, settled.blames_board) == (RequestStatus.QUEUED, attempts, counted)


def test_result_that_answers_its_lease_fits() -> None:
    assert leasing.misfit(good_result(lease().lease), lease().lease) is None


@pytest.mark.parametrize(
    "change",
    [
        {"token": 9},
        {"attempt": 9},
        {"board": "pi-9"},
        {"board_class": "jetson"},
        {"measurement_key": "1" * 64},
        {"structure_key": "1" * 64},
        {"model_sha256": "1" * 64},
        {"tier": "rank"},
        {"half": "big"},
    ],
)
def test_result_that_departs_from_its_lease_is_named(change: dict[str, Any]) -> None:
    [(name, got)] = change.items()
    problem = leasing.misfit(replace(good_result(lease().lease), **change), lease().lease)
    assert problem is not None
    assert problem.startswith(f"{name} is {got!r} but lease lease-a-1 has")


def test_silence_protects_a_board_without_a_connection_for_half_a_minute_only() -> None:
    silent = board(quiet_until=NOW + 90)
    gone = replace(silent, gone_since=NOW + 5)
    assert leasing.expiries([lease()], [silent], now=NOW + 140) == []
    assert leasing.expiries([lease()], [gone], now=NOW + 60) == []
    [over] = leasing.expiries([lease()], [gone], now=NOW + 61)
    assert over.cause == "board pi-1 was not heard for 61 s"
    assert not leasing.is_alive(gone, NOW + 61)
