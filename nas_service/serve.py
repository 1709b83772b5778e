"""The API under Ray Serve: the one module of the API that knows Ray.

The application is built inside each replica, so that nothing but strings travels there. SQLite and the local file
store lie on the head node, so replicas are pinned to it unless both are elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, cast

import httpx
from fastapi import FastAPI
from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation

from nas_service.api.app import create_app
from nas_service.api.ports import Fleet, Launcher
from nas_service.errors import ConflictError, InvalidRequestError
from nas_service.home import Home
from nas_service.import_path import imported
from nas_service.store import Store

APP_NAME = "nas"
DEPLOYMENT_NAME = "api"

LauncherFactory: TypeAlias = Callable[[Home, Store], Launcher]
FleetFactory: TypeAlias = Callable[[Home, Store], Fleet]

_HEAD_NODE = "node:__internal_head__"  # a resource that Ray gives to the head node alone
_ANSWER_TIMEOUT_S = 15.0
_STREAMS = 1000  # every open dashboard and every `nas logs -f` holds one


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """What a replica needs to build the application.

    Attributes:
        home: the service's folder, absolute.
        launcher: `package.module:function`, called with the home and the store; returns the Launcher.
        fleet: likewise, returns the Fleet.
        store_url: the database, None for SQLite in `home`.
        files_url: the file store, None for the folder in `home`.
        data: the folder that relative data roots lie in, None for the working folder.
    """

    home: str
    launcher: str
    fleet: str
    store_url: str | None = None
    files_url: str | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        for name in ("launcher", "fleet"):
            if getattr(self, name).count(":") != 1:
                raise InvalidRequestError(f"{name} is {getattr(self, name)!r} but must be package.module:function")

    @property
    def bound_to_head(self) -> bool:
        """Whether only the head node can open the store or the files."""
        files = self.files_url
        return self.store_url is None or self.store_url.startswith("sqlite") or files is None or "://" not in files


def build_app(config: ApiConfig) -> FastAPI:
    """Open the store and return the application over it; it needs no Ray, so that tests and `uvicorn` can use it."""
    home = Home(Path(config.home))
    store = Store.open(home, store_url=config.store_url, files_url=config.files_url)
    launcher = cast(LauncherFactory, _load(config.launcher))(home, store)
    fleet = cast(FleetFactory, _load(config.fleet))(home, store)
    data = None if config.data is None else Path(config.data)
    return create_app(store=store, launcher=launcher, fleet=fleet, version=version("biglittle-nas"), data=data)


def build_deployment(config: ApiConfig, *, replicas: int = 1) -> serve.Application:
    """Return the Serve application; it takes no core, since it waits rather than computes.

    Args:
        config: what the replicas need.
        replicas: how many; more than one only helps with a store that is not SQLite.
    """
    options: dict[str, Any] = {"num_cpus": 0}
    if config.bound_to_head:
        options["resources"] = {_HEAD_NODE: 0.001}
    deploy_as = serve.deployment(
        name=DEPLOYMENT_NAME,
        num_replicas=replicas,
        ray_actor_options=options,
        max_ongoing_requests=_STREAMS,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=5,
    )
    return deploy_as(_Api).bind(asdict(config))


def deploy(config: ApiConfig, *, host: str, port: int, replicas: int = 1) -> str:
    """Start Serve in the connected Ray cluster, run the application, and return its URL once it answers.

    Running it again replaces the application in place; Serve's address stays until `serve.shutdown()`.

    Args:
        config: what the replicas need.
        host: address that the head node's proxy listens on; loopback unless others shall reach it.
        port: TCP port, 1 to 65535.
        replicas: how many.

    Raises:
        ConflictError: nothing answers there: Serve runs in this cluster at another address, which it keeps.
    """
    serve.start(proxy_location=ProxyLocation.HeadOnly, http_options=HTTPOptions(host=host, port=port))
    serve.run(build_deployment(config, replicas=replicas), name=APP_NAME, route_prefix="/")
    url = url_at(host, port)
    if not _answers(url):
        raise ConflictError(
            f"the API does not answer at {url}; Serve keeps the address that it was first started at in a cluster, "
            "so use that one, or move it with `nas down` and `nas up`"
        )
    return url


def undeploy() -> None:
    """Take the application down; Serve itself stays."""
    serve.delete(APP_NAME)


@serve.ingress()
class _Api:
    """One replica."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = ApiConfig(**config)

    def __serve_build_asgi_app__(self) -> FastAPI:  # the name that Serve calls once the replica is there
        return build_app(self._config)


def url_at(host: str, port: int) -> str:
    """Return the URL at which this machine reaches an API that listens at `host`, which may mean every address."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _answers(url: str) -> bool:
    deadline_s = time.monotonic() + _ANSWER_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            if httpx.get(f"{url}/healthz", timeout=2, trust_env=False).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.2)  # the proxy learns of the application a moment after it runs
    return False


def _load(path: str) -> Any:
    return imported(path, what=repr(path), hint="give package.module:function")
