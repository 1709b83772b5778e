"""The workers' own leaves of the service's error tree."""

from __future__ import annotations

from nas_service.errors import InvalidRequestError


class TrainingCollapsedError(InvalidRequestError):
    """Training went to NaN, or back to guessing, more often than it may be rolled back: change its configuration."""


class UncalibratedError(InvalidRequestError):
    """A network without BatchNorm statistics was to be scored: recalibrate it first."""


class RanksDifferError(InvalidRequestError):
    """Processes that train one model have come apart: resume from the last checkpoint, on machines that are alike."""
