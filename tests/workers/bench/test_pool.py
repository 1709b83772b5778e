from __future__ import annotations

import os
import subprocess
import sys

import pytest

from workers.bench.folder import CellId
from workers.bench.pool import CellPool, pinned_cells


@pytest.fixture
def other_bench():
    """A process that looks like a cell of another bench, pinned to the first core."""
    core = min(os.sched_getaffinity(0))
    sleep = "import os, sys, time; os.sched_setaffinity(0, {int(sys.argv[2])}); print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", sleep, "workers.bench", str(core)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid, core
        process.kill()


def test_a_cell_takes_the_core_that_no_other_bench_trains_on(tmp_path, other_bench, monkeypatch):
    pid, core = other_bench
    assert pinned_cells()[pid] == core
    monkeypatch.setattr("workers.bench.pool.pinned_cells", lambda: {pid: core})
    taken = []

    def start(self, cell, core):
        taken.append(core)
        return subprocess.Popen([sys.executable, "-c", ""])

    monkeypatch.setattr(CellPool, "_start", start)
    cells = [CellId(system="ours", seed=seed) for seed in range(2)]
    CellPool(tmp_path, jobs=2, cores=[core, core + 1, core + 2]).train(cells, watch=lambda running: None)
    assert taken == [core + 1, core + 2]
