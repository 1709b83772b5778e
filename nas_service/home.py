"""The service's folder: every path in one place, and the state that a running service leaves there."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nas_service.errors import InvalidRequestError
from nas_service.whole_file import write_whole

_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """How to reach a service that was brought up here; None where a part does not run.

    Attributes:
        ray_address: the cluster's address, such as 127.0.0.1:6379.
        ray_dashboard_url: Ray's own dashboard and job server.
        api_url: the API and dashboard of this service.
        gateway_host: the address that the boards' SSH server listens on.
        gateway_port: its TCP port, 1 to 65535.
        host_key_fingerprint: hexadecimal SHA-256 of its host key.
        pids: process id by part, of the processes that `nas down` ends.
        num_cpus: cores given to Ray.
        started_at: unix time, seconds.
        version: the version of the code that wrote this.
    """

    ray_address: str | None = None
    ray_dashboard_url: str | None = None
    api_url: str | None = None
    gateway_host: str | None = None
    gateway_port: int | None = None
    host_key_fingerprint: str | None = None
    pids: dict[str, int] = field(default_factory=dict)
    num_cpus: float | None = None
    started_at: float | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        if self.gateway_port is not None and not 0 < self.gateway_port < 65536:
            raise InvalidRequestError(f"gateway_port is {self.gateway_port} but must be 1 to 65535")
        object.__setattr__(self, "pids", dict(self.pids))

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able data, the exact inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ServiceState:
        """Return the state that `data` holds.

        Raises:
            InvalidRequestError: `data` has keys that no state has.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise InvalidRequestError(f"service state has unknown keys {', '.join(unknown)}; it is of another version")
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Home:
    """The folder NAS_HOME; makes paths, and writes nothing but what its methods say.

    Attributes:
        root: the folder, absolute.
    """

    root: Path

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise InvalidRequestError(f"the home folder is {str(self.root)!r} but must be an absolute path")

    @property
    def state_file(self) -> Path:
        """How to reach the running service."""
        return self.root / "state.json"

    @property
    def store_file(self) -> Path:
        """The SQLite database."""
        return self.root / "store.sqlite"

    @property
    def store_url(self) -> str:
        """The database URL of `store_file`."""
        return f"sqlite:///{self.store_file}"

    @property
    def files(self) -> Path:
        """The content-addressed files."""
        return self.root / "files"

    @property
    def gateway(self) -> Path:
        """What the boards' SSH server keeps."""
        return self.root / "gateway"

    @property
    def host_key_file(self) -> Path:
        """The SSH server's private host key."""
        return self.gateway / "host_key"

    @property
    def boards(self) -> Path:
        """The boards' mailboxes, one folder each."""
        return self.gateway / "boards"

    @property
    def logs(self) -> Path:
        """The logs of what runs in the background."""
        return self.root / "logs"

    @property
    def ray(self) -> Path:
        """What Ray keeps, such as its session folders."""
        return self.root / "ray"

    @property
    def work(self) -> Path:
        """Working files of jobs, such as the checkpoints of a training that is not over."""
        return self.root / "work"

    @property
    def tokens(self) -> Path:
        """Secrets that this machine's user may read."""
        return self.root / "tokens"

    @property
    def admin_token_file(self) -> Path:
        """The token that the command line uses here."""
        return self.tokens / "admin"

    def create(self) -> Home:
        """Make the folders, readable by their owner only, and return this home; existing ones stay as they are."""
        for folder in (self.root, self.files, self.gateway, self.boards, self.logs, self.ray, self.work, self.tokens):
            folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        if not self.store_file.exists():  # SQLite gives its side files the same rights
            os.close(os.open(self.store_file, os.O_CREAT | os.O_WRONLY, _PRIVATE_FILE))
        return self

    def read_state(self) -> ServiceState | None:
        """Return the state last written, or None if no service was brought up here.

        Raises:
            InvalidRequestError: the file is there but holds no state.
        """
        try:
            text = self.state_file.read_text()
        except FileNotFoundError:
            return None
        try:
            return ServiceState.from_dict(json.loads(text))
        except (ValueError, TypeError, InvalidRequestError) as error:
            raise InvalidRequestError(
                f"{self.state_file} holds no service state ({error}); run `nas down`, or remove the file"
            ) from None

    def write_state(self, state: ServiceState) -> None:
        """Replace the state in one step, so that a reader sees the old or the new one."""
        self._keep(self.state_file, json.dumps(state.to_dict(), indent=2, sort_keys=True) + "\n")

    def clear_state(self) -> None:
        """Forget the state, when the service is down."""
        self.state_file.unlink(missing_ok=True)

    def read_admin_token(self) -> str | None:
        """Return the admin token kept here, or None if there is none."""
        try:
            return self.admin_token_file.read_text().strip() or None
        except FileNotFoundError:
            return None

    def write_admin_token(self, secret: str) -> None:
        """Keep the admin token in a file that only its owner reads."""
        self._keep(self.admin_token_file, secret + "\n")

    def _keep(self, path: Path, text: str) -> None:
        write_whole(path, text.encode(), mode=_PRIVATE_FILE, folder_mode=_PRIVATE_FOLDER)
