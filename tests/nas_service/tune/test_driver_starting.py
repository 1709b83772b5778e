"""Which waiting trial a free actor is given to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


class Controller:
    """Tune's controller, as far as a scheduler looks at it."""

    def __init__(self, *trials: tuple[str, str]) -> None:
        self.trials = [SimpleNamespace(trial_id=name, status=status) for name, status in trials]

    def get_trials(self):
        return self.trials


@pytest.fixture
def now():
    return SimpleNamespace(s=0.0)


@pytest.fixture
def scheduler(now):
    from nas_service.tune.driver_starting import StartingScheduler

    return StartingScheduler(3, clock=lambda: now.s)


def chosen(scheduler, *trials):
    trial = scheduler.choose_trial_to_run(Controller(*trials))
    return None if trial is None else trial.trial_id


def test_the_first_one_is_chosen_when_no_actor_is_missing(scheduler):
    assert chosen(scheduler, ("a", "TERMINATED"), ("b", "RUNNING"), ("c", "RUNNING"), ("d", "PENDING")) == "d"
    assert chosen(scheduler, ("b", "RUNNING"), ("c", "RUNNING"), ("d", "PENDING"), ("e", "PENDING")) == "d"


def test_as_many_are_left_to_actors_that_start_as_are_missing(scheduler):
    assert chosen(scheduler, ("a", "RUNNING"), ("b", "PENDING"), ("c", "PENDING"), ("d", "PENDING")) == "c"
    assert chosen(scheduler, ("b", "PENDING"), ("c", "PENDING"), ("d", "PENDING")) == "d"


def test_a_free_actor_is_never_left_idle(scheduler):
    assert chosen(scheduler, ("a", "PENDING"), ("b", "PENDING")) == "b"
    assert chosen(scheduler, ("a", "RUNNING")) is None


def test_one_whose_actor_does_not_start_in_time_waits_no_longer(scheduler, now):
    trials = [("a", "RUNNING"), ("b", "PENDING"), ("c", "PENDING")]
    assert chosen(scheduler, *trials) == "c"
    now.s = 121.0
    assert chosen(scheduler, *trials) == "b"


def test_one_that_is_tried_again_comes_after_those_that_wait_already(scheduler, now):
    assert chosen(scheduler, ("a", "RUNNING"), ("b", "RUNNING"), ("c", "PENDING")) == "c"
    now.s = 1.0
    assert chosen(scheduler, ("a", "PENDING"), ("b", "RUNNING"), ("c", "PENDING")) == "a"
