"""The service's figures for Prometheus: what the store holds, and how fast requests are answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS_S = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0)

Counts = Mapping[str, int]


class StoreCollector(Collector):
    """Reads its figures anew at every scrape.

    Args:
        read: name -> (what it counts, name of the label, count by label), at the time of asking.
    """

    def __init__(self, read: Callable[[], Mapping[str, tuple[str, str, Counts]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield a gauge for each figure."""
        for name, (text, label, counts) in self._read().items():
            gauge = GaugeMetricFamily(f"nas_{name}", text, labels=[label])
            for value, count in counts.items():
                gauge.add_metric([value], count)
            yield gauge

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: registering must not read the store."""
        return []


class Metrics:
    """One application's registry, with the histogram that `RequestTimes` fills."""

    def __init__(self, read: Callable[[], Mapping[str, tuple[str, str, Counts]]]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(StoreCollector(read))
        self.seconds = Histogram(
            "nas_http_request_seconds",
            "Seconds until a request's answer began.",
            ["method", "route", "status"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    def text(self) -> bytes:
        """Return all figures in the Prometheus text format."""
        return generate_latest(self.registry)


class RequestTimes:
    """ASGI middleware that times every request by route, until its answer begins."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `scope` and note how long it took."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        noted = False

        def note(status: int) -> None:
            nonlocal noted
            noted = True
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.seconds.labels(scope["method"], route, str(status)).observe(time.perf_counter() - began_s)

        async def send_timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_timed)
        finally:
            if not noted:
                note(500)
