"""The processes of a campaign: one gateway, its boards, and the signals that they are sent."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from cluster.faults.link import Wire
from edge_agent.home import Home as BoardHome
from nas_service.errors import NasError

_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Worker:
    """One process that may be killed, stopped and started again."""

    def __init__(self, *arguments: str, log: Path) -> None:
        """Take the arguments of `python -m`; nothing is started yet."""
        self._arguments, self._log = arguments, log
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    @property
    def runs(self) -> bool:
        """Whether the process is there, stopped or not."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, read_line: bool = False) -> str:
        """Start it; return its first line if that is wanted."""
        self.starts += 1
        self._drop()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read_line else log,
                stderr=log,
                env=_ENVIRONMENT,
            )
        if not read_line:
            return ""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is a process."""
        if self.runs:
            assert self._process is not None
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it without warning."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """Ask it to end, and see to it."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(20.0)
        self.kill()
        self._drop()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Return the exit status when it has ended; None if it never ran."""
        return None if self._process is None else self._process.wait(timeout_s)

    def fill_disk(self, full: bool) -> None:
        """Let every write that makes a file longer fail, as on a full disk, or no longer."""
        if self.runs:
            assert self._process is not None
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (0 if full else hard, hard))

    def _drop(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


class Broker(Worker):
    """The gateway's process."""

    def __init__(self, home: Path, *, names: tuple[str, ...], board_class: str) -> None:
        """Take the service's home and the boards that are to be enrolled at the first start."""
        self._pairs = {name: f"{name}:{board_class}" for name in names}
        self._home = home
        super().__init__("cluster.faults.broker", "--home", str(home), log=home.parent / "gateway.log")
        self.port = 0

    def begin(self) -> dict[str, str]:
        """Start it for the first time; return the boards' one-time codes."""
        again = self._arguments
        self._arguments += tuple(word for pair in self._pairs.values() for word in ("--enrol", pair))
        said = self.restart()
        self._arguments = again
        return {name: str(said[pair]) for name, pair in self._pairs.items()}

    def restart(self) -> dict[str, str]:
        """Start it and wait until it listens."""
        line = self.start(read_line=True)
        if not line:
            raise NasError(f"the gateway did not start; see {self._log}")
        said = json.loads(line)
        self.port = int(said["port"])
        codes: dict[str, str] = said["codes"]
        return codes


class BoardProcess(Worker):
    """A board: its agent's process, its home, and the wire to the gateway."""

    def __init__(self, name: str, home: Path, *, wire: Wire) -> None:
        """Take a home that is not enrolled yet."""
        self.name, self.home, self.wire = name, home, wire
        super().__init__("cluster.faults.board", str(home), log=home.parent / f"{name}.log")

    def enroll(self, code: str) -> None:
        """Enrol the home over the wire."""
        words = [sys.executable, "-m", "edge_agent", "enroll", "--home", str(self.home)]
        address = f"127.0.0.1:{self.wire.port}"
        done = subprocess.run([*words, address, code], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise NasError(f"board {self.name} could not enrol: {done.stderr.strip()}")

    def twin(self) -> BoardProcess:
        """Return a board with a copy of this one's home, as from a copied memory card."""
        home = self.home.with_name(f"{self.name}-twin")
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.home, home, ignore_dangling_symlinks=True, copy_function=_copy_if_there)
        (home / "made.log").unlink(missing_ok=True)
        return BoardProcess(f"{self.name}-twin", home, wire=self.wire)

    def made(self) -> dict[str, str]:
        """Return the leases that it has answered, by the ids of its results."""
        with contextlib.suppress(FileNotFoundError):
            lines = [line.split() for line in (self.home / "made.log").read_text().splitlines()]
            return {words[0]: words[1] for words in lines if len(words) == 2}
        return {}

    def spooled(self) -> set[str]:
        """Return the ids of results that it has not been rid of yet."""
        return {path.stem for path in BoardHome.at(self.home).spool_path.glob("*.json")}


def _copy_if_there(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # the agent goes on while it is copied
        shutil.copy2(source, target)
