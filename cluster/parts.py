"""The gateway and the API in a running Ray cluster: started and stopped by a process made for that.

Ray reads its token when it is imported, so whoever talks to a cluster must be born with the cluster's environment:
`cluster.local` runs this module as `python -m cluster.parts`.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import serve

from cluster.gateway.actor import start_gateway, stop_gateway
from cluster.launcher import RayLauncher
from nas_service.errors import NasError
from nas_service.home import Home, ServiceState
from nas_service.serve import ApiConfig, deploy, url_at
from nas_service.settings import Settings


def connect(address: str) -> None:
    """Join the cluster at HOST:PORT as a driver of namespace `nas`."""
    ray.init(address=address, namespace="nas", log_to_driver=False, logging_level=logging.ERROR)


def start_parts(
    home: Home, *, ray_port: int, gateway_bind: str, gateway_port: int | None, api_bind: str, api_port: int
) -> ServiceState:
    """Start the gateway and the API and return the home's state, brought up to date with where they listen."""
    settings = Settings.from_environment()
    address = f"{ray.util.get_node_ip_address()}:{ray_port}"
    connect(address)
    gateway = start_gateway(
        home.root, bind=gateway_bind, port=gateway_port, store_url=settings.store_url, files_url=settings.files_url
    )
    status: Any = ray.get(gateway.status.remote())
    state = replace(
        home.read_state() or ServiceState(),
        ray_address=address,
        api_url=url_at(api_bind, api_port),
        gateway_host=status.bind,
        gateway_port=status.port,
        host_key_fingerprint=status.fingerprint,
    )
    home.write_state(state)
    deploy(
        ApiConfig(
            home=str(home.root),
            launcher="cluster.serving:make_launcher",
            fleet="cluster.serving:make_fleet",
            store_url=settings.store_url,
            files_url=settings.files_url,
            data=None if settings.data is None else str(settings.data),
        ),
        host=api_bind,
        port=api_port,
    )
    return state


def stop_parts(home: Home) -> None:
    """End the jobs' drivers, then close the gateway's and the API's ports.

    Drivers go first: one that found the gateway gone would record its job as failed.
    """
    state = home.read_state()
    if state is None or state.ray_address is None:
        return
    connect(state.ray_address)
    if state.ray_dashboard_url is not None:
        RayLauncher(state.ray_dashboard_url, home=home.root).stop_all()
    stop_gateway()
    serve.shutdown()


def main() -> int:
    """Start or stop the parts; on failure the last line of stderr says why."""
    parser = argparse.ArgumentParser(prog="python -m cluster.parts")
    verbs = parser.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("start")
    start.add_argument("--home", required=True, type=Path)
    start.add_argument("--ray-port", required=True, type=int)
    start.add_argument("--gateway-bind", required=True)
    start.add_argument("--gateway-port", type=int)
    start.add_argument("--api-bind", required=True)
    start.add_argument("--api-port", required=True, type=int)
    stop = verbs.add_parser("stop")
    stop.add_argument("--home", required=True, type=Path)
    options = parser.parse_args()
    try:
        if options.verb == "stop":
            stop_parts(Home(options.home))
            return 0
        state = start_parts(
            Home(options.home),
            ray_port=options.ray_port,
            gateway_bind=options.gateway_bind,
            gateway_port=options.gateway_port,
            api_bind=options.api_bind,
            api_port=options.api_port,
        )
    except (NasError, ConnectionError, RuntimeError) as error:
        raise SystemExit(str(error)) from None
    print(json.dumps(state.to_dict()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
