"""What no gateway takes, or no agent understands, never keeps an agent from what comes after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_agent.errors import ForbiddenError
from edge_agent.home import Home
from edge_agent.records import CAUSE_LIMIT, RESULT_LIMIT_BYTES, Artifact, Heartbeat, Result
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


def test_what_to_do_about_a_forbidden_result_is_said_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries = []

    def refuse(result: Result) -> None:
        tries.append(result.result_id)
        raise ForbiddenError("/outbox: the gateway does not take it")

    monkeypatch.setattr("edge_agent.delivery.RESEND_S", 0.0)
    Spool(home.spool_path).add(answer(paper_lease("l0"), incarnation="boot-0"))
    serve(home, PaperMailbox(refuses=refuse), monkeypatch)
    assert len(tries) > 2
    assert caplog.text.count("/outbox: the gateway does not take it") == 1
    assert "let this board write into its outbox on the gateway's machine" in caplog.text


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


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"version":1', '"version":2', "lease has version 2 but this side speaks 1; update the older side"),
        ('"attempt":1', '"attempt":1,"colour":"red"', "lease has unknown keys 'colour'"),
        ('"tier":"probe"', '"tier":"overnight"', "lease.tier is 'overnight' but must be one of: probe"),
        ('"ttl_s":180.0', '"ttl_s":1' + "0" * 400, "lease.ttl_s is an integer of 1329 bits"),
    ],
)
def test_lease_that_cannot_be_read_is_answered_so_and_the_next_one_is_worked_on(
    home: Home, monkeypatch: pytest.MonkeyPatch, old: str, new: str, text: str
) -> None:
    odd = paper_lease("l1", token=7).to_json()
    assert old in odd
    mailbox = PaperMailbox(leases={"l1": odd.replace(old, new), "l2": paper_lease("l2", token=9).to_json()})
    serve(home, mailbox, monkeypatch)
    fault, good = sorted(mailbox.results, key=lambda result: result.lease_id)
    assert (fault.lease_id, fault.token, fault.measurement_key, fault.status, fault.fault) == (
        "l1",
        7,
        "b" * 64,
        "agent_error",
        "board",
    )
    assert text in str(fault.cause)
    assert good.lease_id == "l2"


@pytest.mark.parametrize("text", ["", "{", "[]", '"l1"', "[" * 100_000])
def test_lease_that_is_cut_short_waits_for_the_gateway_to_write_it_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    mailbox = PaperMailbox(leases={"l1": text, "l2": paper_lease("l2").to_json()})
    serve(home, mailbox, monkeypatch)
    assert [result.lease_id for result in mailbox.results] == ["l2"]


def test_fetch_over_a_slow_link_is_announced_as_silence(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[Heartbeat] = []
    large = replace(paper_lease("l1"), model=Artifact(sha256="c" * 64, size_bytes=20 << 20))
    mailbox = PaperMailbox(leases={"l1": large.to_json()})
    monkeypatch.setattr(mailbox, "put_heartbeat", beats.append)
    serve(home, mailbox, monkeypatch)
    [fetching] = [beat for beat in beats if beat.state == "fetching"]
    assert fetching.quiet_until_unix_s == pytest.approx(fetching.sent_unix_s + 160, abs=5)
