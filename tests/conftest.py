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
    """Let a process have whole files, and what needs a cluster be shared between two: each starts its own but once.

    One of these two has the whole service of `live`, the other everything else under Ray.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is not None:
            continue
        if item.get_closest_marker("ray") is not None:
            group = "service" if "live" in getattr(item, "fixturenames", ()) else "cluster"
        else:
            group = str(item.path.relative_to(item.config.rootpath))
        item.add_marker(pytest.mark.xdist_group(group))
