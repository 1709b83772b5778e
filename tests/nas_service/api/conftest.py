from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from nas_service.api import create_app
from nas_service.home import Home
from nas_service.store import Store
from nas_service.store.tokens import Role

from .fakes import FakeLauncher, StoredFleet


@dataclass
class Api:
    """The application with a token of each role, asked in this process."""

    app: FastAPI
    store: Store
    launcher: FakeLauncher
    fleet: StoredFleet
    tokens: dict[str, str]

    def ask(self, method: str, path: str, *, role: str | None = "admin", **options: Any) -> httpx.Response:
        """Send one request with the token of `role`, or without any."""
        headers = {**({"Authorization": f"Bearer {self.tokens[role]}"} if role else {}), **options.pop("headers", {})}
        return asyncio.run(self._send(method, path, headers=headers, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://nas.test") as client:
            return await client.request(method, path, **options)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store file to copy, since migrating takes longer than any one test."""
    home = Home(tmp_path_factory.mktemp("home")).create()
    Store.open(home).close()
    return home.store_file


@pytest.fixture
def store(tmp_path: Path, empty_store: Path) -> Iterator[Store]:
    home = Home(tmp_path / "home").create()
    home.store_file.write_bytes(empty_store.read_bytes())
    with Store.open(home) as opened:
        yield opened


@pytest.fixture
def api(store: Store) -> Api:
    launcher, fleet = FakeLauncher(), StoredFleet(store)
    app = create_app(store=store, launcher=launcher, fleet=fleet, version="1.2.3")
    tokens = {role.value: store.tokens.create(role.value, role) for role in Role}
    return Api(app=app, store=store, launcher=launcher, fleet=fleet, tokens=tokens)


@pytest.fixture
def spec() -> dict[str, Any]:
    return {
        "kind": "search",
        "name": "digits demo",
        "dataset": {"name": "digits"},
        "space": {"preset": "micro"},
        "supernet": {"epochs": 2},
        "strategy": {"name": "random", "evaluations": 8, "concurrency": 2},
        "objectives": ["error", "macs"],
    }


@functools.cache
def parquet_file() -> bytes:
    """The smallest bytes that look like a whole Parquet file from outside."""
    return b"PAR1" + bytes(16) + b"PAR1"
