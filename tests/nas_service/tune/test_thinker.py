"""A searcher thinks beside its caller: nothing waits for it, and nothing that it must hear is lost."""

from __future__ import annotations

import threading

import pytest

from nas_service.errors import InvalidRequestError
from nas_service.tune.thinker import Thinker
from tests.cluster.gateway.processes import wait_for
from tests.nas_service.tune.fakes import JOB, FakeTrials, MemoryArchive, make_session, make_spec, run

NO_BOARD = {"objectives": ["error", "macs"]}


class Slow:
    """Answers an ask when it is let; everything that it is told is kept in order."""

    def __init__(self):
        self.may, self.heard, self.asked = threading.Event(), [], 0

    def ask(self, count):
        assert self.may.wait(10)
        self.asked += 1
        self.heard.append("ask")
        return [{"x": self.asked}] * count

    def tell(self, results):
        self.heard += list(results)

    def state_dict(self):
        return {"heard": len(self.heard)}


def test_while_it_thinks_there_is_no_answer_and_no_state_and_news_wait():
    slow = Slow()
    thinker = Thinker(slow)
    assert thinker.take(2, wait=False) is None
    thinker.tell([("a", None)])
    assert thinker.take(2, wait=False) is None
    assert thinker.state() is None
    slow.may.set()
    assert thinker.take(2, wait=True) == [{"x": 1}] * 2
    assert slow.heard == ["ask", ("a", None)]
    assert thinker.state() == {"heard": 2}


def test_who_waits_has_it_think_at_once_and_of_the_latest():
    slow = Slow()
    slow.may.set()
    thinker = Thinker(slow)
    thinker.tell([("a", None)])
    assert thinker.take(1, wait=True) == [{"x": 1}]
    assert slow.heard == [("a", None), "ask"]


def test_a_thought_is_begun_once_and_taken_once():
    slow = Slow()
    thinker = Thinker(slow)
    for _ in range(3):
        thinker.begin(1)
    slow.may.set()
    assert thinker.take(1, wait=True) == [{"x": 1}]
    assert slow.asked == 1


def test_what_goes_wrong_in_thought_reaches_the_caller():
    def fails(count):
        raise InvalidRequestError("no such space")

    slow = Slow()
    slow.ask = fails
    thinker = Thinker(slow)
    thinker.begin(1)
    with pytest.raises(InvalidRequestError, match="no such space"):
        thinker.take(1, wait=True)


def gated(session):
    """Let a session's searcher answer only when the gate is open."""
    gate, ask = threading.Event(), session._searcher.ask

    def wait(count):
        assert gate.wait(10)
        return ask(count)

    session._searcher.ask = wait
    return gate


def taken(session):
    """Wait for the thought and return the next candidate."""
    return wait_for("a thought", lambda: session.next(wait=False))


def thinking_session(archive, *, concurrency=4):
    strategy = {"name": "random", "evaluations": 8, "concurrency": concurrency}
    session = make_session(make_spec(**NO_BOARD, strategy=strategy), archive, None)
    return session, gated(session)


def told_in(archive):
    return [x for kind, x, _ in archive.search_state(JOB, 0)["events"] if kind == "tell"]


def test_a_session_evaluates_on_while_its_searcher_thinks():
    archive, trials = MemoryArchive(), FakeTrials()
    session, gate = thinking_session(archive)
    gate.set()
    first = taken(session)
    gate.clear()
    assert session.next(wait=False).number == 2  # the last of its batch, so the next is thought of
    assert session.next(wait=False) is None
    session.evaluated(trials(first, []))
    assert session.told == 1
    assert told_in(archive) == []
    gate.set()
    assert taken(session).number == 3
    assert told_in(archive) == [first.architecture]


def test_what_a_thinking_searcher_was_not_told_before_a_kill_it_is_told_after():
    archive, trials = MemoryArchive(), FakeTrials()
    session, gate = thinking_session(archive)
    gate.set()
    first = taken(session)
    gate.clear()
    session.next(wait=False)
    session.evaluated(trials(first, []))
    resumed, gate_of_resumed = thinking_session(archive)
    gate_of_resumed.set()
    assert resumed.told == 1
    second = taken(resumed)
    assert second.number == 2
    resumed.evaluated(trials(second, []))
    run(resumed, None, trials)
    assert len(archive.list(JOB)) == 8
    assert len(trials.evaluated) == len(set(trials.evaluated))
    gate.set()


def test_with_one_candidate_at_a_time_nothing_is_thought_ahead():
    archive, trials = MemoryArchive(), FakeTrials()
    session, gate = thinking_session(archive, concurrency=1)
    gate.set()
    first = taken(session)
    session.evaluated(trials(first, []))
    assert told_in(archive) == [first.architecture]
