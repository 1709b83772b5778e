from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray cluster of two cores, one for all tests that ask for it."""
    import ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        namespace="nas",
        log_to_driver=False,
        configure_logging=False,
        ignore_reinit_error=False,
    )
    yield
    ray.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what needs a cluster in one process, so that the cluster is started once."""
    for item in items:
        if item.get_closest_marker("ray") is not None:
            item.add_marker(pytest.mark.xdist_group("cluster"))
