"""Bringing the whole service up on this machine, and taking it down again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from cluster.port_turn import port_turn
from cluster.ray_head import free_port, group_alive, start_ray, stop_ray, token_environment
from nas_service.addresses import Addresses
from nas_service.errors import ConflictError, NasError
from nas_service.home import Home, ServiceState
from nas_service.job_state import JobState
from nas_service.settings import Settings
from nas_service.store import Store
from nas_service.store.tokens import Role

API_PORT = 8000
PARTS_TIMEOUT_S = 120.0
ADMIN = "admin"

Report = Callable[[str], None]


def up(
    home: Home,
    *,
    addresses: Addresses = Addresses(),  # noqa: B008  (frozen)
    autoscaling_config: Path | None = None,
    reserve_cores: int = 0,
    report: Report = lambda text: None,
) -> ServiceState:
    """Start whatever does not run yet and return where everything listens.

    Args:
        home: NAS_HOME.
        addresses: Where its parts shall listen.
        autoscaling_config: What `ray up` wrote about the machines that Ray starts as workers.
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
    cores = ray_cores(sorted(os.sched_getaffinity(0)), reserve_cores)
    num_cpus = min(len(cores), cpu_quota() or len(cores))
    report(f"starting Ray on {num_cpus} core{'s' if num_cpus > 1 else ''}")
    head = start_ray(
        home, cores=cores, num_cpus=num_cpus, port=addresses.ray_port, autoscaling_config=autoscaling_config
    )
    try:
        home.write_state(
            ServiceState(
                ray_dashboard_url=head.dashboard_url,
                pids={"ray": head.pid},
                num_cpus=float(num_cpus),
                started_at=time.time(),
                version=version("biglittle-nas"),
            )
        )
        report("starting the boards' gateway, the API and the dashboard")
        with port_turn():
            arguments = [f"--home={home.root}", f"--ray-port={head.port}", *_binding(addresses)]
            state = ServiceState.from_dict(json.loads(_run_parts(home, ["start", *arguments])))
    except BaseException:
        stop_ray(head.pid)
        home.clear_state()
        raise
    report(f"the service is up: {state.api_url}")
    return state


def _binding(addresses: Addresses) -> list[str]:
    """Return the options of `cluster.parts` for where the gateway and the API listen."""
    options = [f"--gateway-bind={addresses.gateway_bind}", f"--api-bind={addresses.api_bind}"]
    if addresses.gateway_port is not None:
        options.append(f"--gateway-port={addresses.gateway_port}")
    return [*options, f"--api-port={addresses.api_port or free_port(API_PORT)}"]


def _run_parts(home: Home, arguments: Sequence[str]) -> str:
    """Run `cluster.parts` in the cluster's environment and return its last line; NasError says why it failed."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cluster.parts", *arguments],
            capture_output=True,
            text=True,
            timeout=PARTS_TIMEOUT_S,
            check=False,
            env={**os.environ, **token_environment(home)},
        )
    except subprocess.TimeoutExpired:
        raise NasError(f"Ray's parts did not answer within {PARTS_TIMEOUT_S:g} s; see {home.logs}") from None
    if done.returncode:
        log = home.logs / "parts.log"
        log.write_text(done.stderr)
        raise NasError(f"{(done.stderr.strip().splitlines() or ['it died'])[-1]} (all of it: {log})")
    return (done.stdout.strip().splitlines() or [""])[-1]


def down(home: Home, *, report: Report = lambda text: None) -> bool:
    """Stop everything of this home and return whether anything ran; jobs under way can be resumed later."""
    state = home.read_state()
    if state is None:
        return False
    _close_politely(home, state, report)
    stopped = [stop_ray(pid) for name, pid in sorted(state.pids.items())]
    home.clear_state()
    _settle_jobs(home, report)
    report("the service is down")
    return any(stopped)


def _settle_jobs(home: Home, report: Report) -> None:
    """Record jobs that were under way as stopped, since no driver is left that could."""
    with Store.open(home, **_places()) as store:
        for job in store.jobs.list(limit=1000):
            if not job.state.over:
                store.jobs.transition(job.id, JobState.STOPPED, "the service was taken down while it ran")
                report(f"{job.id} was {job.state.value}; continue it after `nas up` with `nas resume {job.id}`")


def _close_politely(home: Home, state: ServiceState, report: Report) -> None:
    """Let Serve and the gateway close their ports; whatever does not answer is ended with its process group."""
    if state.ray_address is None or not group_alive(state.pids.get("ray", -1)):
        return
    report("stopping the API and the gateway")
    try:
        _run_parts(home, ["stop", f"--home={home.root}"])
    except NasError as error:
        report(f"Ray did not answer ({error}); ending its processes")


def ray_cores(available: Sequence[int], reserve: int) -> list[int]:
    """Return the cores that Ray runs on: all but the last `reserve`, and at least one."""
    return list(available[: max(1, len(available) - reserve)])


def board_cores(available: Sequence[int], reserve: int) -> list[int]:
    """Return the cores that are left to local boards; all if there is only one."""
    return list(available[len(ray_cores(available, reserve)) :]) or list(available)


def cpu_quota(limit: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """Return how many cores a container may use at once, rounded down and at least one; None if it has no limit."""
    try:
        quota, period = limit.read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None  # outside of a container there is no such file, and `max` stands for no limit


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
