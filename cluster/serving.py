"""What the API calls of the cluster, made inside a Serve replica: who runs jobs, who knows the boards."""

from __future__ import annotations

from cluster.gateway.actor import GatewayClient, find_gateway
from cluster.launcher import RayLauncher
from nas_service.errors import RetryableError
from nas_service.home import Home
from nas_service.store import Store


def make_launcher(home: Home, store: Store) -> RayLauncher:
    """Return the launcher of the cluster that `home` describes."""
    state = home.read_state()
    if state is None or state.ray_dashboard_url is None:
        raise RetryableError("the service's state is not written yet; ask again, or start it: nas up")
    return RayLauncher(state.ray_dashboard_url, home=home.root)


def make_fleet(home: Home, store: Store) -> GatewayClient:
    """Return the gateway, looked up by name: it survives its own restarts."""
    return GatewayClient(find_gateway())
