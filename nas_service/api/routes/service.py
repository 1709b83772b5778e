"""The service itself: alive, ready, figures."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from nas_service.api.auth import require
from nas_service.api.context import Context
from nas_service.api.problems import problem_responses
from nas_service.errors import RetryableError
from nas_service.store.tokens import Role

LOG = logging.getLogger(__name__)


def service_router(context: Context) -> APIRouter:
    """Return /healthz, /readyz and /metrics."""
    router = APIRouter(tags=["service"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the service is alive, and which version it is."""
        return {"status": "ok", "version": context.version}

    @router.get("/readyz", status_code=204, responses=problem_responses(503))
    def readyz() -> None:
        """Answer 204 if the store can be reached, else 503; neither says anything of it, since anybody may ask."""
        try:
            context.store.database.check()
        except RetryableError as error:
            LOG.warning("not ready: %s", error)
            raise RetryableError("the store cannot be reached now; try again") from None

    @router.get("/metrics", dependencies=[require(Role.VIEWER)], response_class=Response)
    def metrics() -> Response:
        """Return the service's figures in the Prometheus text format."""
        return Response(context.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
