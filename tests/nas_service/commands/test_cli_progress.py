from __future__ import annotations

import io
from typing import Any

import pytest

from nas_service.commands.console import Console, aligned, cell_text, duration
from nas_service.commands.progress import BarDisplay, PlainDisplay, Step, make_display, seconds_left
from nas_service.commands.submit import PATIENCE_S, ended_text, follow_job
from nas_service.errors import RetryableError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def job(state: str, phase: str | None = None, done: float = 0, total: float | None = None) -> dict[str, Any]:
    progress = None if phase is None else {"phase": phase, "done": done, "total": total, "detail": ""}
    return {"id": "digits-aaaaaa", "kind": "search", "state": state, "progress": progress, "message": None}


class Jobs:
    """A client that tells one state after the other; an error is raised instead."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def follow(*answers: Any, err: io.StringIO | None = None) -> dict[str, Any]:
    clock = Clock()
    console = Console(out=io.StringIO(), err=err or io.StringIO())
    return follow_job(Jobs(*answers), "digits-aaaaaa", console=console, sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]


def test_plain_lines_tell_each_phase_with_time_left_and_how_the_job_ended():
    err = io.StringIO()
    searching = [job("searching", "searching", done, 40) for done in range(1, 41)]
    follow(job("training", "training", 0, 2), *searching, job("finished"), err=err)
    assert err.getvalue().splitlines() == [
        "training epochs 0/2",
        "search candidates 1/40",
        "search candidates 11/40, 29 s left",
        "search candidates 21/40, 19 s left",
        "search candidates 31/40, 9 s left",
        "search candidates 40/40",
        "digits-aaaaaa finished; see `nas front digits-aaaaaa`",
    ]


def test_only_what_has_a_front_is_advised_to_show_it():
    for kind, command in {"search": "front", "compare": "show", "tune": "show", "measure": "show"}.items():
        assert ended_text(job("finished") | {"kind": kind}).endswith(f"see `nas {command} digits-aaaaaa`")


def test_bars_show_every_phase_on_a_terminal():
    err = Terminal()
    follow(job("training", "training", 2, 2), job("searching", "searching", 3, 40), job("finished"), err=err)
    assert "training epochs" in err.getvalue()
    assert "3/40" in err.getvalue()


def test_bars_are_for_terminals_only():
    plain = make_display(Console(out=Terminal(), err=io.StringIO()), clock=Clock())
    bars = make_display(Console(out=io.StringIO(), err=Terminal()), clock=Clock())
    assert isinstance(plain, PlainDisplay)
    assert isinstance(bars, BarDisplay)


def test_a_service_that_is_away_for_a_while_is_waited_for():
    away = [RetryableError("away")] * 60
    assert follow(*away, job("finished"))["state"] == "finished"


def test_a_service_that_stays_away_is_given_up():
    assert PATIENCE_S == 120.0
    with pytest.raises(RetryableError, match="away"):
        follow(RetryableError("away"))


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "left_s"),
    [(0, 10, 5.0, None), (5, None, 5.0, None), (5, 10, 5.0, 5.0), (10, 10, 5.0, 0.0), (12, 10, 6.0, 0.0)],
)
def test_time_left_follows_the_mean_rate(done, total, elapsed_s, left_s):
    assert seconds_left(done=done, total=total, elapsed_s=elapsed_s) == left_s


def test_a_job_without_progress_shows_its_state():
    assert Step.of(job("queued")) == Step(phase="queued", done=0, total=None)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (3, "3"),
        (12345, "12,345"),
        (0.123456, "0.1235"),
        (1234567.0, "1,234,567"),
        ("x", "x"),
    ],
)
def test_cells_read_well(cell, text):
    assert cell_text(cell) == text


def test_columns_of_numbers_are_set_right_and_text_left():
    assert aligned([["NAME", "N"], ["a", "5"], ["bcdef", "-"]]) == ["NAME   N", "a      5", "bcdef  -"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0 s"), (59, "59 s"), (187, "3:07"), (7509, "2:05:09")]
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
