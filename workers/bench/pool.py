"""Several cells at once, each a process of its own on a core of its own; one that fails does not stop the others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workers.bench.folder import CellFolder, CellId

BUSY = 75  # exit code of a cell that another process trains
POLL_S = 0.5
GRACE_S = 5.0
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}

Watch = Callable[[frozenset[CellId]], None]


@dataclass(slots=True)
class CellPool:
    """Trains cells of a folder.

    Attributes:
        root: The bench's folder.
        jobs: Cells at the same time.
        cores: To run on; a cell gets the one that fewest cells, of this bench or another, are pinned to.
    """

    root: Path
    jobs: int
    cores: Sequence[int] = field(default_factory=lambda: sorted(os.sched_getaffinity(0)))
    _running: dict[int, tuple[CellId, subprocess.Popen[bytes]]] = field(default_factory=dict)
    _cores: dict[int, int] = field(default_factory=dict)

    def train(self, cells: Sequence[CellId], *, watch: Watch) -> dict[CellId, str]:
        """Bring all cells to an end and return each one's state: done, failed or busy.

        Args:
            cells: In the order in which they are begun.
            watch: Told about twice a second which cells run.
        """
        waiting, states = list(cells), {}
        try:
            while waiting or self._running:
                for slot in range(self.jobs):
                    if slot not in self._running and waiting:
                        cell = waiting.pop(0)
                        self._running[slot] = (cell, self._start(cell, self._core(slot)))
                watch(frozenset(cell for cell, _ in self._running.values()))
                time.sleep(POLL_S)
                states.update(self._ended())
        finally:
            self._stop()
        watch(frozenset())
        return states

    def _core(self, slot: int) -> int:
        """The core for a cell in `slot`; of cells that have just started only this pool knows where they will be."""
        own = {process.pid for _, process in self._running.values()}
        taken = Counter(core for pid, core in pinned_cells().items() if pid not in own)
        taken.update(core for other, core in self._cores.items() if other in self._running)
        self._cores[slot] = min(self.cores, key=lambda core: taken[core])
        return self._cores[slot]

    def _start(self, cell: CellId, core: int) -> subprocess.Popen[bytes]:
        folder = CellFolder(self.root, cell).path
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "workers.bench", str(self.root), cell.system, str(cell.seed)]
        with (folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [*command, "--core", str(core), "--with-parent"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,
            )

    def _ended(self) -> dict[CellId, str]:
        ended = {}
        for slot, (cell, process) in list(self._running.items()):
            if process.poll() is not None:
                del self._running[slot]
                ended[cell] = self._state(cell, process.returncode)
        return ended

    def _state(self, cell: CellId, code: int) -> str:
        folder = CellFolder(self.root, cell)
        if folder.done:
            return "done"
        if code == BUSY:
            return "busy"
        if not (folder.path / "failure.txt").exists():
            folder.write("failure.txt", f"the process ended with code {code}; see output.txt beside this\n".encode())
        return "failed"

    def _stop(self) -> None:
        """End what still runs: each process leads a session of its own."""
        for _, process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for _, process in self._running.values():
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()


def pinned_cells(proc: Path = Path("/proc")) -> dict[int, int]:
    """Return the core of every process on this machine that trains a cell and is pinned to one, by its id."""
    found = {}
    for path in proc.glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if b"workers.bench" in path.read_bytes().split(b"\0"):
                cores = os.sched_getaffinity(int(path.parent.name))
                if len(cores) == 1:
                    found[int(path.parent.name)] = next(iter(cores))
    return found
