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


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share what needs a cluster between two processes, so that each cluster is started once: half of it waits.

    One process has the whole service of `live`, the other everything else.
    """
    for item in items:
        if item.get_closest_marker("ray") is not None:
            fixtures = getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("service" if "live" in fixtures else "cluster"))
