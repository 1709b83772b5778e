from __future__ import annotations

import pytest
from ray.exceptions import OutOfMemoryError

from nas_service.errors import RetryableError
from nas_service.tune.driver_memory import memory_told


def fail_as_ray_does():
    """Raise what Ray's actor manager makes of an actor that was ended in the midst of a task."""
    try:
        raise OutOfMemoryError("Task was killed due to the node running low on memory.")
    except OutOfMemoryError as error:
        raise RuntimeError(f"Caught unexpected exception: {error}") from error


def test_want_of_memory_is_told_with_what_to_do():
    with pytest.raises(RetryableError, match=r"memory was nearly full.*resume the job"), memory_told():
        fail_as_ray_does()


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="another"), memory_told():
        raise RuntimeError("another")
