from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from nas_service.api import create_app
from nas_service.client import Client
from nas_service.commands.root import run
from nas_service.home import Home, ServiceState
from nas_service.store import Store
from nas_service.store.tokens import Role
from tests.nas_service.commands.live import StoredFleet, finished_search, make_spec


@dataclass
class QuietLauncher:
    """Starts no driver; the tests play the driver's part through the store."""

    running: set[str] = field(default_factory=set)

    def launch(self, job_id: str) -> None:
        self.running.add(job_id)

    def stop(self, job_id: str) -> None:
        self.running.discard(job_id)

    def alive(self, job_id: str) -> bool:
        return job_id in self.running


@dataclass
class RecordingCluster:
    """Remembers how it was called."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    code: int = 0
    ran: bool = True

    def up(self, home: Home, **options: Any) -> ServiceState:
        options.pop("report")("starting")
        self.calls.append(("up", {"home": home, **options}))
        return ServiceState(api_url="http://127.0.0.1:8700", gateway_host="127.0.0.1", gateway_port=2222)

    def down(self, home: Home, **options: Any) -> bool:
        self.calls.append(("down", {"home": home}))
        return self.ran

    def hold(self, home: Home, *, start: Callable[[], None], report: Callable[[str], None]) -> bool:
        start()
        self.calls.append(("hold", {"home": home}))
        return self.ran

    def demo(self, *, out: Path, keep: bool, report: Callable[[str], None]) -> int:
        self.calls.append(("demo", {"out": out, "keep": keep}))
        return self.code


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Live:
    """The real API over a real store, served over HTTP on loopback."""

    home: Home
    store: Store
    url: str
    launcher: QuietLauncher

    @property
    def client(self) -> Client:
        return Client(self.url, self.home.read_admin_token())


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = Home(tmp_path_factory.mktemp("nas-home")).create()
    store = Store.open(home)
    home.write_admin_token(store.tokens.create("admin", Role.ADMIN))
    launcher = QuietLauncher()
    app = create_app(store=store, launcher=launcher, fleet=StoredFleet(store), version="1.2.3")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    home.write_state(ServiceState(api_url=url, gateway_host="127.0.0.1", gateway_port=2222, version="1.2.3"))
    yield Live(home=home, store=store, url=url, launcher=launcher)
    server.should_exit = True
    thread.join(timeout=10)
    store.close()


@pytest.fixture(scope="session")
def search(live: Live) -> str:
    """A finished search of six candidates, four of them measured, one a finalist with a bundle, one failed."""
    return finished_search(live.store)


@pytest.fixture
def cluster() -> RecordingCluster:
    return RecordingCluster()


@pytest.fixture
def nas(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cluster: RecordingCluster, tmp_path: Path
) -> Callable[..., Outcome]:
    """Runs one `nas` command in an empty home."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    for name in ("NAS_URL", "NAS_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = run(arguments, cluster)
        out, err = capsys.readouterr()
        return Outcome(code=code, out=out, err=err)

    return command


@pytest.fixture
def here(nas: Callable[..., Outcome], live: Live, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Runs one `nas` command in the home of the running service."""
    monkeypatch.setenv("NAS_HOME", str(live.home.root))
    return nas


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    import yaml

    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(make_spec()))
    return path
