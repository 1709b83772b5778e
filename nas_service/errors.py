"""The service's errors: one root, and leaves named for what the caller does next."""

from __future__ import annotations


class NasError(Exception):
    """Any failure that the service itself raises."""


class InvalidRequestError(NasError):
    """The request can never succeed as it stands: change it, then ask again."""


class RetryableError(NasError):
    """The request was right but could not be served now: ask again later, unchanged."""


class ConflictError(NasError):
    """The request does not fit the present state: look at the state, then decide."""


class NotFoundError(NasError):
    """What was named does not exist: name something that does."""
