"""What to say when Ray ends an actor for want of memory, at which Ray Tune breaks off as at an error of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ray.exceptions import OutOfMemoryError

from nas_service.errors import RetryableError


@contextlib.contextmanager
def memory_told() -> Iterator[None]:
    """Turn Tune's "unexpected exception" about memory into one that says what to do.

    Raises:
        RetryableError: Ray ended an actor because its machine's memory was nearly full, whoever had filled it.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error.__cause__, OutOfMemoryError):
            raise
        raise RetryableError(
            "a machine's memory was nearly full, so Ray ended a worker there; end other programs, or ask for fewer "
            "workers (resources.evaluators.count), and resume the job: it goes on with what it has"
        ) from error
