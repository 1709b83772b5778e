"""Ranges of figures: what timing and sensors can have given, so that no impossible figure is taken for a good one."""

from __future__ import annotations

from itertools import pairwise

from edge_agent.wire.record import Record, RecordError

_ROUNDING = 1e-6  # a mean of equal times may be off their value by the last bits


def check_positive(record: Record, *names: str) -> None:
    """Raise RecordError unless each of these fields is above 0 or None."""
    for name, value in _known(record, names):
        if not value > 0:
            raise RecordError(f"{name} is {value} but must be above 0")


def check_not_negative(record: Record, *names: str) -> None:
    """Raise RecordError unless each of these fields is at least 0 or None."""
    for name, value in _known(record, names):
        if not value >= 0:
            raise RecordError(f"{name} is {value} but must be at least 0")


def check_share(record: Record, *names: str) -> None:
    """Raise RecordError unless each of these fields is from 0 to 1 or None."""
    for name, value in _known(record, names):
        if not -_ROUNDING <= value <= 1 + _ROUNDING:
            raise RecordError(f"{name} is {value} but must be 0 to 1")


def check_ascending(record: Record, *names: str) -> None:
    """Raise RecordError if one of these fields, all at least 0, is below one named before it; None says nothing."""
    for (low, below), (high, above) in pairwise(_known(record, names)):
        if not below <= above * (1 + _ROUNDING):
            raise RecordError(f"{high} is {above} but must be at least {low}, which is {below}")


def _known(record: Record, names: tuple[str, ...]) -> list[tuple[str, float]]:
    return [(name, value) for name in names if (value := getattr(record, name)) is not None]
