"""How far the boards of one class agree: each one's offset from the others, found from what several of them measured.

The model is log y[b, m] = mu[m] + alpha[b] + e, where y is what board b found for m, and the alphas add up to nothing:
a board's offset is the same share of every figure, and is relative to the (geometric) mean of the boards compared. A
term for how much a model waits for memory is left out: nothing that boards report today tells it for a single model, so
a board that is slow at memory only shows as an offset and a larger spread. Nothing is corrected by what is found here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from nas_service.fleet import SharedFigure

HUBER_K = 1.345  # residuals beyond so many scales pull no harder; costs 5 % of precision where there are none
NORMAL_MAD = 1.4826  # standard deviations in a normal distribution's median absolute deviation
SMALLEST_SCALE = 1e-7  # so that figures that agree to the last digit can be fitted, too
RESCALINGS = 12

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardOffset:
    """How far a board's figures are from the others', in percent; positive is slower.

    The limits are those of a 95 % interval, None where what was shared is too little to tell one. `shared` counts what
    this board and another one have both measured.
    """

    board: str
    shared: int
    percent: float
    low_percent: float | None
    high_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The offsets of the boards that could be compared, by name; a board that could not is absent.

    `subjects` counts what two or more of them measured. `spread_percent` is the standard deviation of a figure that is
    left when the offsets are known, None if nothing tells it.
    """

    boards: tuple[BoardOffset, ...] = ()
    subjects: int = 0
    spread_percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    alpha: Floats
    half_width: Floats | None
    scale: float | None


def board_agreement(figures: Iterable[SharedFigure]) -> Agreement:
    """Return how far boards of one class agree on what several of them have measured.

    A board's repeats of one subject count as their median. If the boards fall into groups that share nothing, the
    largest group is compared, since offsets within different groups have no common zero.

    Args:
        figures: Latencies of boards of one class; those that are not positive, and those of subjects that only one
            board measured, say nothing and are left out.
    """
    table = _largest_group(_shared(figures))
    if not table:
        return Agreement()
    names = sorted({board for row in table for board in row})
    fit = _fit(table, names)
    shared = {name: sum(name in row for row in table) for name in names}
    return Agreement(
        boards=tuple(_offset(name, shared[name], fit, index) for index, name in enumerate(names)),
        subjects=len(table),
        spread_percent=None if fit.scale is None else _percent(fit.scale),
    )


def _shared(figures: Iterable[SharedFigure]) -> list[dict[str, float]]:
    """Return, for each subject that several boards measured, the log of what each of them found."""
    found: dict[str, dict[str, list[float]]] = {}
    for figure in figures:
        if figure.latency_ms > 0:
            found.setdefault(figure.subject, {}).setdefault(figure.board, []).append(math.log(figure.latency_ms))
    rows = [{board: median(logs) for board, logs in found[subject].items()} for subject in sorted(found)]
    return [row for row in rows if len(row) > 1]


def _largest_group(table: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Return the rows of the boards that are linked by shared subjects and share most, the first by name if equal."""
    groups: list[set[str]] = []
    for row in table:
        linked = [group for group in groups if group & row.keys()]
        groups = [group for group in groups if group not in linked] + [set(row).union(*linked)]
    rows = {min(group): [row for row in table if group & row.keys()] for group in groups}
    return max((rows[name] for name in sorted(rows)), key=len, default=[])


def _fit(table: Sequence[Mapping[str, float]], names: Sequence[str]) -> _Fit:
    """Fit the model by least squares with Huber's loss, whose scale comes from the residuals' median."""
    from scipy.optimize import least_squares  # takes a while to import

    design, logs = _design(table, names)
    observations, parameters = design.shape
    freedom = observations - parameters

    def residuals(at: Floats) -> Floats:
        left: Floats = design @ at - logs
        return left

    at = np.asarray(np.linalg.lstsq(design, logs, rcond=None)[0], dtype=np.float64)
    scale = _scale(residuals(at), freedom)
    for _ in range(RESCALINGS if freedom else 0):
        at = least_squares(residuals, at, jac=lambda _: design, loss="huber", f_scale=HUBER_K * scale).x
        before, scale = scale, _scale(residuals(at), freedom)
        if abs(scale - before) <= 0.01 * before:
            break
    others = len(names) - 1
    contrasts = np.vstack([np.eye(others), -np.ones((1, others))])  # the last board's offset is minus all others'
    alpha = contrasts @ at[-others:]
    if not freedom:
        return _Fit(alpha=alpha, half_width=None, scale=None)
    covariance = _covariance(design, residuals(at), scale)[-others:, -others:]
    error = np.sqrt(np.diag(contrasts @ covariance @ contrasts.T))
    return _Fit(alpha=alpha, half_width=_student(freedom) * error, scale=scale)


def _design(table: Sequence[Mapping[str, float]], names: Sequence[str]) -> tuple[Floats, Floats]:
    """Return the matrix of the model (a row per figure; a column per subject, and per board but the last), and y."""
    cells = [(index, board, value) for index, row in enumerate(table) for board, value in sorted(row.items())]
    design = np.zeros((len(cells), len(table) + len(names) - 1))
    for line, (index, board, _) in enumerate(cells):
        design[line, index] = 1.0
        if board == names[-1]:
            design[line, len(table) :] = -1.0
        else:
            design[line, len(table) + names.index(board)] = 1.0
    return design, np.array([value for _, _, value in cells])


def _scale(residuals: Floats, freedom: int) -> float:
    if freedom == 0:
        return SMALLEST_SCALE
    fitted_away = math.sqrt(len(residuals) / freedom)
    return max(SMALLEST_SCALE, NORMAL_MAD * float(np.median(np.abs(residuals))) * fitted_away)


def _covariance(design: Floats, residuals: Floats, scale: float) -> Floats:
    """Return the parameters' covariance under Huber's loss (Huber 1981, section 7.6, with its correction)."""
    observations, parameters = design.shape
    within = float(np.mean(np.abs(residuals) <= HUBER_K * scale))
    clipped = np.clip(residuals, -HUBER_K * scale, HUBER_K * scale)
    correction = 1.0 + parameters / observations * (1.0 - within) / within
    variance = correction**2 * float(np.sum(clipped**2)) / (observations - parameters) / within**2
    covariance: Floats = variance * np.linalg.inv(design.T @ design)
    return covariance


def _student(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _offset(name: str, shared: int, fit: _Fit, index: int) -> BoardOffset:
    alpha = float(fit.alpha[index])
    width = None if fit.half_width is None else float(fit.half_width[index])
    return BoardOffset(
        board=name,
        shared=shared,
        percent=_percent(alpha),
        low_percent=None if width is None else _percent(alpha - width),
        high_percent=None if width is None else _percent(alpha + width),
    )


def _percent(log_ratio: float) -> float:
    return 100.0 * math.expm1(min(log_ratio, 700.0))  # beyond which there is no such number
