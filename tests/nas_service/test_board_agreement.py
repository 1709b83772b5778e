"""Agreement on simulated boards whose offsets are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas_service.board_agreement import Agreement, BoardOffset, board_agreement
from nas_service.fleet import SharedFigure

ALPHA = {"pi-1": 0.03, "pi-2": -0.01, "pi-3": -0.02}


def figure(subject: str, board: str, latency_ms: float) -> SharedFigure:
    return SharedFigure(subject=subject, board=board, latency_ms=latency_ms)


def simulated(
    alpha: dict[str, float] = ALPHA, *, subjects: int = 40, noise: float = 0.01, seed: int = 0
) -> list[SharedFigure]:
    """Each subject measured by two boards that are drawn, as twins are."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(subjects):
        mu = rng.normal(1.0, 1.0)
        for board in rng.choice(sorted(alpha), size=2, replace=False):
            latency_ms = math.exp(mu + alpha[str(board)] + noise * rng.normal())
            found.append(figure(f"s{number}", str(board), latency_ms))
    return found


def covers(board: BoardOffset, alpha: float) -> bool:
    assert board.low_percent is not None
    assert board.high_percent is not None
    return board.low_percent <= 100 * math.expm1(alpha) <= board.high_percent


def offsets(found: Agreement) -> dict[str, float]:
    return {board.board: board.percent for board in found.boards}


def test_offsets_are_recovered_with_a_narrow_interval() -> None:
    found = board_agreement(simulated())
    assert [board.board for board in found.boards] == ["pi-1", "pi-2", "pi-3"]
    assert all(covers(board, ALPHA[board.board]) for board in found.boards)
    assert all((b.high_percent or 99.0) - (b.low_percent or 0.0) < 1.2 for b in found.boards)
    assert found.spread_percent == pytest.approx(1.0, rel=0.4)
    assert found.subjects == 40


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    fits = [board_agreement(simulated(subjects=25, seed=seed)) for seed in range(40)]
    hits = [covers(board, ALPHA[board.board]) for found in fits for board in found.boards]
    assert 0.88 <= np.mean(hits) <= 1.0


def test_one_outlier_moves_nothing() -> None:
    clean = simulated()
    wild = [figure("s0", clean[0].board, 3 * clean[0].latency_ms), *clean[1:]]
    before, after = offsets(board_agreement(clean)), offsets(board_agreement(wild))
    assert max(abs(before[name] - after[name]) for name in ALPHA) < 0.3
    assert all(covers(board, ALPHA[board.board]) for board in board_agreement(wild).boards)


def test_offsets_are_relative_to_the_boards_compared_and_add_up_to_nothing() -> None:
    found = board_agreement(simulated({"a": 0.5, "b": 0.7}, noise=0.0, subjects=5))
    assert offsets(found) == pytest.approx({"a": 100 * math.expm1(-0.1), "b": 100 * math.expm1(0.1)}, abs=1e-3)
    assert found.spread_percent == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    "figures",
    [
        [],
        [figure("s", "a", 1.0)],
        [figure("s", "a", 1.0), figure("t", "b", 2.0)],
        [figure("s", "a", 1.0), figure("s", "a", 1.1)],
        [figure("s", "a", 1.0), figure("s", "b", 0.0)],
    ],
)
def test_where_no_two_boards_share_anything_nothing_is_said(figures: list[SharedFigure]) -> None:
    assert board_agreement(figures) == Agreement(boards=(), subjects=0, spread_percent=None)


def test_a_board_that_shares_nothing_is_absent_and_not_zero() -> None:
    found = board_agreement([*simulated(), figure("alone", "pi-9", 1.0)])
    assert "pi-9" not in offsets(found)


def test_one_shared_subject_tells_an_offset_without_an_interval() -> None:
    found = board_agreement([figure("s", "a", 1.0), figure("s", "b", 1.21)])
    assert offsets(found) == pytest.approx({"a": 100 * (1 / 1.1 - 1), "b": 10.0})
    assert {(board.low_percent, board.high_percent, board.shared) for board in found.boards} == {(None, None, 1)}
    assert found.spread_percent is None


def test_repeats_on_one_board_count_as_their_median() -> None:
    repeats = [figure("s", "b", 1.1), figure("s", "b", 1.1), figure("s", "b", 7.0)]
    once = board_agreement([figure("s", "a", 1.0), figure("s", "b", 1.1)])
    assert board_agreement([figure("s", "a", 1.0), *repeats]) == once


def test_of_boards_in_groups_that_share_nothing_the_larger_group_is_compared() -> None:
    lonely = [figure("x", "y-1", 1.0), figure("x", "y-2", 1.5)]
    assert set(offsets(board_agreement([*lonely, *simulated()]))) == set(ALPHA)


def test_the_order_of_the_figures_does_not_matter() -> None:
    figures = simulated(subjects=8)
    assert board_agreement(figures[::-1]) == board_agreement(figures)
