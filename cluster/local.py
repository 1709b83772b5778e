"""Bringing the whole service up on this machine, and taking it down again."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import httpx
import ray
from ray import serve

from cluster.gateway.actor import start_gateway, stop_gateway
from cluster.ray_head import RayHead, free_port, group_alive, start_ray, stop_ray, token_environment
from nas_service import __version__
from nas_service.errors import ConflictError, NasError
from nas_service.home import Home, ServiceState
from nas_service.serve import ApiConfig, deploy
from nas_service.settings import Settings
from nas_service.store import Store
from nas_service.store.tokens import Role

API_PORT = 8000
READY_TIMEOUT_S = 60.0
ADMIN = "admin"

Report = Callable[[str], None]


def up(
    home: Home,
    *,
    gateway_bind: str = "127.0.0.1",
    gateway_port: int | None = None,
    api_port: int | None = None,
    reserve_cores: int = 0,
    report: Report = lambda text: None,
) -> ServiceState:
    """Start whatever does not run yet and return where everything listens.

    Args:
        home: NAS_HOME.
        gateway_bind: The address that the boards' SSH server listens on.
        gateway_port: Its port; None means that of the first start, or any free one.
        api_port: The API's port; None means that of the last start, 8000, or any free one.
        reserve_cores: Cores that Ray leaves to a local board; at least one is always Ray's.
        report: Told of each step.

    Raises:
        NasError: A part did not come up; what had been started is stopped again.
    """
    home.create()
    known = home.read_state()
    if known is not None and group_alive(known.pids.get("ray", -1)):
        report("the service runs already")
        return known
    with Store.open(home, **_places()) as store:
        ensure_admin_token(home, store)
    os.environ.update(token_environment(home))
    cores = ray_cores(sorted(os.sched_getaffinity(0)), reserve_cores)
    report(f"starting Ray on {len(cores)} core{'s' if len(cores) > 1 else ''}")
    head = start_ray(home, cores=cores)
    try:
        return _start_parts(home, head, known, gateway_bind, gateway_port, api_port, len(cores), report)
    except BaseException:
        ray.shutdown()
        stop_ray(head.pid)
        raise


def _start_parts(
    home: Home,
    head: RayHead,
    known: ServiceState | None,
    gateway_bind: str,
    gateway_port: int | None,
    api_port: int | None,
    cores: int,
    report: Report,
) -> ServiceState:
    ray.init(address=head.address, namespace="nas", log_to_driver=False, logging_level=logging.ERROR)
    port = api_port or free_port(_last_port(known) or API_PORT)
    state = ServiceState(
        ray_address=head.address,
        ray_dashboard_url=head.dashboard_url,
        api_url=f"http://127.0.0.1:{port}",
        pids={"ray": head.pid},
        num_cpus=float(cores),
        started_at=time.time(),
        version=__version__,
    )
    home.write_state(state)
    report("starting the boards' gateway")
    gateway = start_gateway(home.root, bind=gateway_bind, port=gateway_port, **_places())
    status = ray.get(gateway.status.remote())
    state = replace(state, gateway_host=status.bind, gateway_port=status.port, host_key_fingerprint=status.fingerprint)
    home.write_state(state)
    report("starting the API and dashboard")
    deploy(
        ApiConfig(home=str(home.root), launcher="cluster.serving:make_launcher", fleet="cluster.serving:make_fleet"),
        host="127.0.0.1",
        port=port,
    )
    _wait_until_ready(state)
    ray.shutdown()
    report(f"the service is up: {state.api_url}")
    return state


def down(home: Home, *, report: Report = lambda text: None) -> bool:
    """Stop everything of this home and return whether anything ran; jobs under way can be resumed later."""
    state = home.read_state()
    if state is None:
        return False
    _close_politely(home, state, report)
    stopped = [stop_ray(pid) for name, pid in sorted(state.pids.items())]
    home.clear_state()
    report("the service is down")
    return any(stopped)


def _close_politely(home: Home, state: ServiceState, report: Report) -> None:
    """Let Serve and the gateway close their ports; whatever does not answer is ended with its process group."""
    if state.ray_address is None or not group_alive(state.pids.get("ray", -1)):
        return
    os.environ.update(token_environment(home))
    report("stopping the API and the gateway")
    try:
        ray.init(address=state.ray_address, namespace="nas", log_to_driver=False, logging_level=logging.ERROR)
        stop_gateway()
        serve.shutdown()
    except (ConnectionError, ray.exceptions.RayError, RuntimeError) as error:
        report(f"Ray did not answer ({type(error).__name__}); ending its processes")
    finally:
        ray.shutdown()


def ray_cores(available: Sequence[int], reserve: int) -> list[int]:
    """Return the cores that Ray runs on: all but the last `reserve`, and at least one."""
    return list(available[: max(1, len(available) - reserve)])


def board_cores(available: Sequence[int], reserve: int) -> list[int]:
    """Return the cores that are left to local boards; all if there is only one."""
    return list(available[len(ray_cores(available, reserve)) :]) or list(available)


def ensure_admin_token(home: Home, store: Store) -> str:
    """Return the admin token that this home keeps, made anew if it is missing or no longer valid."""
    known = home.read_admin_token()
    if known is not None and store.tokens.verify(known) is Role.ADMIN:
        return known
    for number in range(1, 1000):
        try:
            secret = store.tokens.create(ADMIN if number == 1 else f"{ADMIN}-{number}", Role.ADMIN)
        except ConflictError:
            continue  # that name was given before, to a token that is lost or revoked
        home.write_admin_token(secret)
        return secret
    raise NasError("no admin token could be made; revoke old ones: nas token ls, nas token revoke")


def _places() -> dict[str, str | None]:
    settings = Settings.from_environment()
    return {"store_url": settings.store_url, "files_url": settings.files_url}


def _last_port(known: ServiceState | None) -> int | None:
    return None if known is None or known.api_url is None else httpx.URL(known.api_url).port


def _wait_until_ready(state: ServiceState) -> None:
    give_up_at = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < give_up_at:
        try:
            if httpx.get(f"{state.api_url}/readyz", timeout=2.0).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise NasError(f"the API did not answer at {state.api_url} within {READY_TIMEOUT_S:g} s; see `nas doctor`")
