"""The board's folder: key, pinned host key, configuration, cache and spool. Every path of the agent is made here."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import EdgeError, NotEnrolledError
from edge_agent.files import write_whole
from edge_agent.records import Record, RecordError, check_name

HOME_VARIABLE = "NAS_EDGE_HOME"
DEFAULT_HOME = "~/.biglittle-nas-edge"
_OTHER_HOME = f"give a writable folder with --home or ${HOME_VARIABLE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardConfig(Record):
    """config.json: which gateway this board belongs to, and under which name and class."""

    version: int = 1
    host: str
    port: int
    board: str
    board_class: str

    def __post_init__(self) -> None:
        check_name(self.board, what="board")
        if not 0 < self.port < 65536:
            raise RecordError(f"port is {self.port} but must be 1 to 65535")


@dataclass(frozen=True, slots=True)
class Home:
    """One agent's folder. Two agents never share one: `lock` sees to that."""

    root: Path

    @classmethod
    def at(cls, path: str | Path | None = None) -> Home:
        """Return the home at `path`, else at $NAS_EDGE_HOME, else at ~/.biglittle-nas-edge; creates nothing."""
        return cls(Path(path or os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).expanduser().absolute())

    @property
    def config_path(self) -> Path:
        """Where the enrolment's outcome lies."""
        return self.root / "config.json"

    @property
    def key_path(self) -> Path:
        """The board's private key, OpenSSH format, mode 0600."""
        return self.root / "key"

    @property
    def host_key_path(self) -> Path:
        """The gateway's pinned public host key, one line."""
        return self.root / "host_key.pub"

    @property
    def next_host_key_path(self) -> Path:
        """The key that the gateway has said it will show instead; absent unless it is changing keys."""
        return self.root / "next_host_key.pub"

    @property
    def cache_path(self) -> Path:
        """Artefacts by their SHA-256."""
        return self.root / "cache"

    @property
    def spool_path(self) -> Path:
        """Results that the gateway has not acknowledged yet."""
        return self.root / "spool"

    @property
    def work_path(self) -> Path:
        """Files that a measurement's child and its parent exchange."""
        return self.root / "work"

    @property
    def sentinel_path(self) -> Path:
        """What the sentinel usually takes on this board."""
        return self.root / "sentinel.json"

    @property
    def lock_path(self) -> Path:
        """Held with flock by the running agent."""
        return self.root / "lock"

    @property
    def starts_path(self) -> Path:
        """How many times an agent has started here."""
        return self.root / "starts"

    @property
    def _folders(self) -> tuple[Path, ...]:
        return (self.root, self.cache_path, self.spool_path, self.work_path)

    def in_the_way(self) -> Path | None:
        """Return what lies where one of the folders should, and is none; None if nothing does."""
        return next((path for path in self._folders if os.path.lexists(path) and not path.is_dir()), None)

    def create(self) -> None:
        """Make the folders, readable by their owner only.

        Raises:
            EdgeError: If one cannot be made, or the home cannot be written.
        """
        for folder in self._folders:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except FileExistsError:
                raise EdgeError(f"{folder} is in the way and no folder; move it away, or {_OTHER_HOME}") from None
            except OSError as error:
                raise self.unwritable(folder, error) from None
        try:
            _try_writing(self.root)
        except OSError as error:
            raise self.unwritable(self.root, error) from None

    def unwritable(self, path: Path, error: OSError) -> EdgeError:
        """Return what to raise where a path of this home cannot be made or written."""
        owned = isinstance(error, PermissionError) and os.path.isdir(self.root)
        own = f"`sudo chown -R {os.geteuid()} {self.root}`, or " if owned else ""
        return EdgeError(f"cannot write {path}: {error.strerror or error}; {own}{_OTHER_HOME}")

    def storage_fault(self) -> str | None:
        """Return which of the folders cannot be written and why, None if all can; leaves nothing behind."""
        for folder in self._folders:
            try:
                _try_writing(folder)
            except OSError as error:
                return f"{folder}: {error.strerror or error}"
        return None

    def clear_work(self) -> None:
        """Remove what measurements left behind that were killed; only for who holds the lock."""
        for folder in self.work_path.glob("measure-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def config(self) -> BoardConfig:
        """Return the enrolment's outcome.

        Raises:
            NotEnrolledError: If this home was never enrolled, or its files are damaged.
        """
        fix = "run `nas-edge enroll HOST[:PORT] CODE` (the code comes from `nas board add`)"
        try:
            text = self.config_path.read_bytes()
            for needed in (self.key_path, self.host_key_path):
                needed.stat()
            return BoardConfig.from_json(text, where="config.json")
        except FileNotFoundError as error:
            raise NotEnrolledError(f"{self.root} is not enrolled (no {Path(error.filename).name}); {fix}") from None
        except (OSError, RecordError) as error:
            raise NotEnrolledError(f"{self.config_path} cannot be read: {error}; {fix}") from None

    def save_config(self, config: BoardConfig) -> None:
        """Store the enrolment's outcome; written last, so that a config means a complete enrolment."""
        write_whole(self.config_path, (config.to_json() + "\n").encode(), mode=0o600)

    def host_key(self) -> str:
        """Return the pinned host key: `TYPE BASE64`."""
        return self.host_key_path.read_text().strip()

    def next_host_key(self) -> str | None:
        """Return the key that the gateway has announced, or None."""
        try:
            return self.next_host_key_path.read_text().strip() or None
        except FileNotFoundError:
            return None

    def announce_host_key(self, line: str | None) -> None:
        """Keep the key that the gateway announces over a connection with the pinned one; None withdraws it."""
        if line is None or line == self.host_key():
            self.next_host_key_path.unlink(missing_ok=True)
        elif line != self.next_host_key():
            write_whole(self.next_host_key_path, (line + "\n").encode())

    def adopt_host_key(self) -> None:
        """Pin the announced key in place of the old one."""
        self.next_host_key_path.replace(self.host_key_path)

    def next_start(self) -> int:
        """Count one more start of the agent and return the count; a damaged counter begins again at 1."""
        try:
            count = int(self.starts_path.read_text())
        except (OSError, ValueError):
            count = 0
        write_whole(self.starts_path, f"{count + 1}\n".encode())
        return count + 1


def _try_writing(folder: Path) -> None:
    """Raise OSError unless a file can be written there; leaves nothing behind."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")
