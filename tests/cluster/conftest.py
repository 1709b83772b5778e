from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.live import LiveService, running_service


@pytest.fixture(scope="session")
def live() -> Iterator[LiveService]:
    """One whole service for all tests that ask for it; in /tmp, since paths of Ray's sockets must stay short."""
    root = Path(tempfile.mkdtemp(prefix="nas-live-", dir="/tmp"))
    try:
        with running_service(root) as service:
            yield service
    finally:
        shutil.rmtree(root, ignore_errors=True)
