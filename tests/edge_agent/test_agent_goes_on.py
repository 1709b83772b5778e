"""What no gateway takes, or no agent understands, never keeps an agent from what comes after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.errors import ForbiddenError
from edge_agent.home import Home
from edge_agent.records import CAUSE_LIMIT, RESULT_LIMIT_BYTES, Result
from edge_agent.spool import Spool
from edge_agent.work import answer, sendable
from tests.edge_agent.paper_mailbox import PaperMailbox, paper_lease, serve


def test_result_that_the_gateway_forbids_does_not_keep_the_next_lease_waiting(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(result: Result) -> None:
        if result.result_id == old.result_id:
            raise ForbiddenError("/outbox: the gateway does not take it")

    old = answer(paper_lease("l0"), incarnation="boot-0")
    Spool(home.spool_path).add(old)
    mailbox = PaperMailbox(leases={"l1": paper_lease("l1").to_json()}, refuses=refuse)
    serve(home, mailbox, monkeypatch)
    assert [result.lease_id for result in mailbox.results] == ["l1"]
    assert Spool(home.spool_path).pending() == [old]


def test_spooled_result_that_is_too_large_is_set_aside_with_a_line_in_the_log(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    huge = replace(answer(paper_lease("l0"), incarnation="boot-0"), runtime={"x": "y" * RESULT_LIMIT_BYTES})
    Spool(home.spool_path).add(huge)
    mailbox = PaperMailbox(leases={"l1": paper_lease("l1").to_json()})
    serve(home, mailbox, monkeypatch)
    assert [result.lease_id for result in mailbox.results] == ["l1"]
    assert f"spooled result {huge.result_id}.json is set aside as .bad: it takes" in caplog.text
    assert (home.spool_path / f"{huge.result_id}.bad").exists()


def test_cause_is_cut_by_the_result_itself_and_says_so() -> None:
    result = replace(answer(paper_lease(), incarnation="boot-1"), cause="x" * 300_000 + "\ud800")
    assert result.cause is not None
    assert len(result.cause) == CAUSE_LIMIT
    assert result.cause.endswith("x ... (300001 characters)")
    assert Result.from_json(result.to_json()) == result


def test_measurement_too_large_to_send_is_answered_by_its_size() -> None:
    identity = answer(paper_lease(), incarnation="boot-1")
    sent = sendable(replace(identity, runtime={"x": "y" * RESULT_LIMIT_BYTES}), identity=identity)
    assert (sent.status, sent.fault, sent.runtime) == ("agent_error", "unknown", {})
    assert "but the gateway takes results of at most 262144" in str(sent.cause)


def test_measurement_that_is_no_result_is_answered_by_what_is_wrong_with_it() -> None:
    identity = answer(paper_lease(), incarnation="boot-1")
    sent = sendable(replace(identity, runtime={"x": float("nan")}), identity=identity)
    assert sent.status == "agent_error"
    assert sent.cause == "what was measured is no result: result.runtime.x is nan but must be finite"
    assert sendable(identity, identity=identity) == identity
