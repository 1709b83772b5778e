"""The gateway as a detached Ray actor: one per cluster, on the head node, back on its port after every death.

Ray replays nothing but `__init__` when it restarts an actor, so that is what opens the SSH server; all else is on disk.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.gateway.gateway import CODE_TTL_S, Gateway, GatewayStatus, HostKeyChange
from edge_agent.records import RuntimeSettings
from nas_service.errors import NasError, NotFoundError, RetryableError
from nas_service.fleet import Board, BoardClass
from nas_service.home import Home
from nas_service.measurement import MeasurementRequest, RequestState
from nas_service.store import Store

NAME = "gateway"
NAMESPACE = "nas"
START_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 60.0
_HEAD_RESOURCE = "node:__internal_head__"


class GatewayActor:
    """A Gateway whose methods are reached through Ray; see Gateway for what they do."""

    def __init__(
        self, home_path: str, bind: str, port: int | None, store_url: str | None, files_url: str | None
    ) -> None:
        """Open the store and the SSH server.

        If a restarted actor cannot, its process ends, and Ray starts it again; were it to raise, Ray would give up.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for name in ("asyncssh", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            home = Home(Path(home_path)).create()
            self._store = Store.open(home, store_url=store_url, files_url=files_url)
            self._gateway = Gateway(home, self._store, bind=bind, port=port).start()
        except Exception:
            if not ray.get_runtime_context().was_current_actor_reconstructed:
                raise
            logging.exception("the gateway did not come back; its process ends and is started again")
            time.sleep(1.0)
            os._exit(1)

    def store_artifact(self, data: bytes) -> str:
        """See Gateway.store_artifact."""
        return self._gateway.store_artifact(data)

    def request(self, requests: Sequence[MeasurementRequest]) -> list[RequestState]:
        """See Gateway.request."""
        return self._gateway.request(requests)

    def poll(self, measurement_keys: Sequence[str]) -> dict[str, RequestState]:
        """See Gateway.poll."""
        return self._gateway.poll(measurement_keys)

    def enrol(
        self, board: str, board_class: str, *, ttl_s: float = CODE_TTL_S, settings: RuntimeSettings | None = None
    ) -> str:
        """See Gateway.enrol."""
        return self._gateway.enrol(board, board_class, ttl_s=ttl_s, settings=settings)

    def boards(self) -> list[Board]:
        """See Gateway.boards."""
        return self._gateway.boards()

    def board_classes(self) -> list[BoardClass]:
        """See Gateway.board_classes."""
        return self._gateway.board_classes()

    def drain(self, name: str, *, draining: bool = True) -> Board:
        """See Gateway.drain."""
        return self._gateway.drain(name, draining=draining)

    def remove(self, name: str) -> Board | None:
        """See Gateway.remove."""
        return self._gateway.remove(name)

    def announce_host_key(self) -> HostKeyChange:
        """See Gateway.announce_host_key."""
        return self._gateway.announce_host_key()

    def switch_host_key(self, *, force: bool = False) -> HostKeyChange:
        """See Gateway.switch_host_key."""
        return self._gateway.switch_host_key(force=force)

    def status(self) -> GatewayStatus:
        """See Gateway.status."""
        return self._gateway.status()

    def pid(self) -> int:
        """Return the process id of this actor."""
        return os.getpid()

    def close(self) -> None:
        """Stop listening and close the store; the actor itself is ended by `stop_gateway`."""
        self._gateway.close()
        self._store.close()


def start_gateway(
    home_path: Path | str,
    *,
    bind: str = "127.0.0.1",
    port: int | None = None,
    store_url: str | None = None,
    files_url: str | None = None,
) -> ActorHandle[Any]:
    """Return the cluster's gateway, started on the head node if it does not run; it listens when this returns.

    Args:
        home_path: NAS_HOME on the head node, absolute.
        bind: The address to listen on.
        port: The port; None means that of the first start, or any free one.
        store_url: Another database than NAS_HOME's.
        files_url: Another place for files than NAS_HOME's.

    Raises:
        NasError: It could not be started, such as for a port that is taken.
    """
    options = ray.remote(GatewayActor).options(
        name=NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=8,
        num_cpus=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=_head_node_id(), soft=False),
    )
    handle = cast(ActorHandle[Any], options.remote(str(home_path), bind, port, store_url, files_url))
    try:
        ray.get(handle.status.remote(), timeout=START_TIMEOUT_S)
    except GetTimeoutError:
        raise RetryableError(
            f"the gateway did not start within {START_TIMEOUT_S:g} s; look into Ray's log of actor {NAME!r}"
        ) from None
    except ray.exceptions.RayActorError as error:
        raise NasError(f"the gateway could not be started: {_last_line(error)}") from error
    return handle


def find_gateway() -> ActorHandle[Any]:
    """Return the cluster's running gateway.

    Raises:
        NotFoundError: None was started.
    """
    try:
        handle: ActorHandle[Any] = ray.get_actor(NAME, namespace=NAMESPACE)
    except ValueError:
        raise NotFoundError("no gateway runs in this cluster; start the service: nas up") from None
    return handle


def stop_gateway() -> bool:
    """Close the gateway and end its actor for good; False if none ran."""
    try:
        handle = find_gateway()
    except NotFoundError:
        return False
    try:
        ray.get(handle.close.remote(), timeout=15)
    except (ray.exceptions.RayError, GetTimeoutError):
        pass  # it ends either way; what matters is on disk
    ray.kill(handle, no_restart=True)
    return True


class GatewayClient:
    """The gateway's methods as plain calls, which wait while Ray restarts it.

    For whoever is handed a gateway and should not know Ray: the driver, the API.
    """

    def __init__(self, handle: ActorHandle[Any], *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._handle = handle
        self._timeout_s = timeout_s

    def store_artifact(self, data: bytes) -> str:
        """See Gateway.store_artifact."""
        return self._call(lambda h: h.store_artifact.remote(data))

    def request(self, requests: Sequence[MeasurementRequest]) -> list[RequestState]:
        """See Gateway.request."""
        return self._call(lambda h: h.request.remote(list(requests)))

    def poll(self, measurement_keys: Sequence[str]) -> dict[str, RequestState]:
        """See Gateway.poll."""
        return self._call(lambda h: h.poll.remote(list(measurement_keys)))

    def enrol(
        self, board: str, board_class: str, *, ttl_s: float = CODE_TTL_S, settings: RuntimeSettings | None = None
    ) -> str:
        """See Gateway.enrol."""
        return self._call(lambda h: h.enrol.remote(board, board_class, ttl_s=ttl_s, settings=settings))

    def boards(self) -> list[Board]:
        """See Gateway.boards."""
        return self._call(lambda h: h.boards.remote())

    def board_classes(self) -> list[BoardClass]:
        """See Gateway.board_classes."""
        return self._call(lambda h: h.board_classes.remote())

    def drain(self, name: str, *, draining: bool = True) -> Board:
        """See Gateway.drain."""
        return self._call(lambda h: h.drain.remote(name, draining=draining))

    def remove(self, name: str) -> Board | None:
        """See Gateway.remove."""
        return self._call(lambda h: h.remove.remote(name))

    def announce_host_key(self) -> HostKeyChange:
        """See Gateway.announce_host_key."""
        return self._call(lambda h: h.announce_host_key.remote())

    def switch_host_key(self, *, force: bool = False) -> HostKeyChange:
        """See Gateway.switch_host_key."""
        return self._call(lambda h: h.switch_host_key.remote(force=force))

    def status(self) -> GatewayStatus:
        """See Gateway.status."""
        return self._call(lambda h: h.status.remote())

    def _call(self, send: Callable[[ActorHandle[Any]], Any]) -> Any:
        give_up_at = time.monotonic() + self._timeout_s
        while True:
            try:
                return ray.get(send(self._handle), timeout=max(0.1, give_up_at - time.monotonic()))
            except (ActorUnavailableError, GetTimeoutError):
                if time.monotonic() >= give_up_at:
                    raise RetryableError(
                        f"the gateway did not answer within {self._timeout_s:g} s; ask again, or see nas status"
                    ) from None
                time.sleep(0.2)
            except ray.exceptions.RayTaskError as error:  # what the gateway said, without Ray's traceback around it
                raise error.cause if isinstance(error.cause, NasError) else error from None


def _head_node_id() -> str:
    for node in ray.nodes():
        if node["Alive"] and _HEAD_RESOURCE in node["Resources"]:
            return str(node["NodeID"])
    raise RetryableError("Ray names no head node that is alive; see ray status")


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
