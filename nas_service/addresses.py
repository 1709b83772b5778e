"""Where the parts of a service shall listen, as `nas up` is told."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses of a service that is about to start; ports are 1 to 65535.

    Attributes:
        gateway_bind: what the boards' SSH server listens on.
        gateway_port: its port; None means that of the first start, or any free one.
        api_bind: what the API and its dashboard listen on, in plain HTTP.
        api_port: their port; None means 8000, or any free one.
        ray_port: the port that worker machines join; None means any free one.
    """

    gateway_bind: str = LOOPBACK
    gateway_port: int | None = None
    api_bind: str = LOOPBACK
    api_port: int | None = None
    ray_port: int | None = None
