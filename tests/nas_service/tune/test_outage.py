"""A board class that vanishes: what waits for it is held back, not failed, and the search goes on as far as it can."""

from __future__ import annotations

import pytest

from nas_service.candidate import CandidateStatus
from nas_service.tune.outage import LOOK_S, Outage, places
from tests.nas_service.tune.fakes import JOB, FakeBoards, FakeTrials, MemoryArchive, make_session, make_spec, run
from tests.nas_service.tune.test_thrift import LawfulBoards, UnevenTrials

AWAY = frozenset({"pi"})


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Search:
    """A session whose boards can leave, with what it said and the steps of its driver."""

    def __init__(self, archive=None, boards=None, trials=None, *, evaluations=12, concurrency=2, timeout_s=60.0):
        self.archive, self.boards = archive or MemoryArchive(), boards or FakeBoards()
        self.trials, self.clock, self.notes = trials or FakeTrials(), Clock(), []
        self.spec = make_spec(
            strategy={"name": "random", "evaluations": evaluations, "concurrency": concurrency},
            measurement={"tier": "probe", "timeout_s": timeout_s},
        )
        self.begin()

    def begin(self):
        self.session = make_session(
            self.spec, self.archive, self.boards, clock=self.clock, note=lambda *said: self.notes.append(said)
        )

    def leave(self):
        self.boards.away, self.boards.outcome = AWAY, lambda request: "silent"

    def come_back(self):
        self.boards.away, self.boards.outcome = frozenset(), lambda request: "ok"

    def step(self, seconds=LOOK_S):
        while (candidate := self.session.next()) is not None:
            self.session.evaluated(self.trials(candidate, self.session.wanted_exports(candidate)))
        self.boards.work()
        self.clock.now += seconds
        self.session.poll()

    def said(self, kind):
        return [text for said, text in self.notes if said == kind]

    def statuses(self):
        return [c.status for c in self.archive.list(JOB)]


@pytest.mark.parametrize(
    ("in_flight", "held", "expected"), [(0, 0, 4), (3, 0, 1), (4, 4, 4), (8, 8, 0), (8, 4, 0), (6, 3, 1), (9, 9, -1)]
)
def test_candidates_held_back_take_no_place_up_to_as_many_as_are_in_flight(in_flight, held, expected):
    assert places(4, in_flight=in_flight, held=held) == expected


def test_waiting_ends_when_nothing_else_was_in_flight_for_long_enough():
    outage = Outage(60.0)
    outage.wait(["a"], in_flight=2, now=0.0)
    outage.wait(["a", "b"], in_flight=2, now=50.0)
    outage.wait(["a", "b"], in_flight=2, now=109.9)
    assert not outage.given_up
    outage.wait(["a", "b"], in_flight=2, now=110.0)
    assert outage.given_up


def test_a_class_that_vanishes_fails_nothing_however_long_it_is_away():
    search = Search(timeout_s=60.0)
    search.leave()
    for _ in range(50):
        search.step(seconds=30.0)
    assert set(search.statuses()) == {CandidateStatus.EVALUATED}
    assert search.session.told == 0


def test_the_search_evaluates_on_while_a_class_is_away_but_no_further_than_twice_what_may_be_in_flight():
    search = Search(concurrency=3)
    search.leave()
    for _ in range(4):
        search.step()
    assert len(search.trials.evaluated) == search.session.in_flight == len(search.session.held) == 6


def test_that_a_class_vanished_and_came_back_is_said_once_each():
    search = Search()
    search.leave()
    for _ in range(3):
        search.step()
    search.come_back()
    for _ in range(3):
        search.step()
    [lost], [back] = search.said("boards_lost"), search.said("boards_back")
    assert lost.startswith("no board of class pi is there. ")
    assert "`nas board ls`" in lost
    assert back == "a board of class pi is there again; 4 candidates wait for it"


def test_what_was_held_back_is_finished_when_the_class_is_back():
    search = Search(timeout_s=300.0)
    search.leave()
    for _ in range(9):
        search.step()
    search.come_back()
    search.step()
    run(search.session, search.boards, search.trials)
    assert search.statuses() == [CandidateStatus.FINISHED] * 12
    assert len(set(search.trials.evaluated)) == len(search.trials.evaluated) == 12
    assert set(search.boards.measured.values()) == {1}


def test_a_request_that_failed_for_want_of_its_board_is_made_anew_when_the_class_is_back():
    search = Search(evaluations=2)
    search.boards.away, search.boards.outcome = AWAY, lambda request: "infra"
    search.step()
    search.step()
    assert set(search.statuses()) == {CandidateStatus.EVALUATED}
    search.come_back()
    search.step()
    search.step()
    assert search.statuses() == [CandidateStatus.FINISHED] * 2


def test_a_class_that_is_there_and_silent_still_fails_what_waits_for_it():
    search = Search()
    search.boards.outcome = lambda request: "silent"
    search.step(seconds=60.0)
    assert search.statuses() == [CandidateStatus.FAILED] * 2


def test_a_search_that_can_only_wait_ends_with_its_candidates_named_and_a_later_one_measures_them():
    search = Search(evaluations=4)
    search.leave()
    for _ in range(8):
        search.step()
    assert search.session.finished
    assert search.session.unmeasured == (
        "4 candidates are evaluated and not measured, since no board of class pi is there: job-1-1, job-1-2, job-1-3, "
        "job-1-4. Bring one back (`nas board ls`), then `nas resume job-1` measures them and goes on"
    )
    search.come_back()
    search.begin()
    run(search.session, search.boards, search.trials)
    assert search.session.unmeasured is None
    assert search.statuses() == [CandidateStatus.FINISHED] * 4
    assert len(search.trials.evaluated) == 4


def test_what_is_foreseen_to_be_out_of_reach_is_told_as_predicted_while_its_class_is_away():
    archive = MemoryArchive()
    search = Search(archive, LawfulBoards(archive), UnevenTrials(), evaluations=60, concurrency=4, timeout_s=300.0)
    while search.session.told < 24:
        search.step(seconds=0.0)
    assert not any(c.predicted for c in archive.list(JOB))
    search.leave()
    for _ in range(12):
        search.step()
    predicted = [c for c in archive.list(JOB) if c.predicted]
    assert predicted
    assert all(c.status is CandidateStatus.FINISHED for c in predicted)
    assert len(search.session.held) > 0  # what may reach the front is not told by a prediction
