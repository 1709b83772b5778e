"""The API and the dashboard as one ASGI application over the store; it knows no Ray and keeps no state of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI

from nas_service.api.auth import TokenGate, require
from nas_service.api.body_limit import BodyLimit
from nas_service.api.context import Context
from nas_service.api.dashboard import dashboard_router
from nas_service.api.figures import store_figures
from nas_service.api.headers import SecurityHeaders
from nas_service.api.metrics import Metrics, RequestTimes
from nas_service.api.ports import Fleet, Launcher
from nas_service.api.problems import install_handlers, problem_responses
from nas_service.api.query_check import refuse_unknown_query
from nas_service.api.routes.boards import boards_router
from nas_service.api.routes.candidates import candidates_router
from nas_service.api.routes.fronts import fronts_router
from nas_service.api.routes.job_control import job_control_router
from nas_service.api.routes.jobs import jobs_router
from nas_service.api.routes.service import service_router
from nas_service.api.routes.tokens import tokens_router
from nas_service.job import JobSpec
from nas_service.store import Store
from nas_service.store.tokens import Role

__all__ = ["Fleet", "Launcher", "create_app"]

PREFIX = "/api/v1"

_ABOUT = (
    "Searches for pairs of a little and a big network, and serves the fronts. Every request but /healthz and /readyz "
    "needs `Authorization: Bearer TOKEN`; every error is an RFC 9457 problem."
)
_REFERENCES = "#/components/schemas/{model}"


def create_app(*, store: Store, launcher: Launcher, fleet: Fleet, version: str, data: Path | None = None) -> FastAPI:
    """Return the application.

    Args:
        store: all that is remembered; the caller closes it.
        launcher: runs jobs' drivers.
        fleet: adds and removes boards.
        version: version of the service.
        data: folder that relative data roots lie in; None is the working folder.
    """
    metrics = Metrics(store_figures(store.database))
    context = Context(
        store=store,
        launcher=launcher,
        fleet=fleet,
        version=version,
        data=data,
        metrics=metrics,
    )
    app = FastAPI(
        title="biglittle-nas", version=version, description=_ABOUT, docs_url=None, redoc_url=None, openapi_url=None
    )
    install_handlers(app)
    _include(app, context)
    # The last one added is the first to see a request.
    app.add_middleware(TokenGate, verify=store.tokens.verify)
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestTimes, metrics=metrics)
    return app


def _include(app: FastAPI, context: Context) -> None:
    checked = [Depends(refuse_unknown_query)]
    api = APIRouter(prefix=PREFIX, responses=problem_responses(401, 403, 422), dependencies=checked)
    for make in (jobs_router, job_control_router, candidates_router, fronts_router, boards_router, tokens_router):
        api.include_router(make(context))
    app.include_router(api)
    service = service_router(context)
    app.include_router(service)
    app.include_router(service, prefix=PREFIX, include_in_schema=False)
    app.include_router(dashboard_router())

    @app.get("/openapi.json", include_in_schema=False, dependencies=[require(Role.VIEWER)])
    def openapi() -> dict[str, Any]:
        return _described(app.openapi())


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI description with what FastAPI does not see: the job's shape, read from a raw body."""
    job = JobSpec.model_json_schema(ref_template=_REFERENCES)
    parts = job.pop("$defs", {})
    schema["components"]["schemas"] |= {**parts, "JobSpec": job}
    return schema
