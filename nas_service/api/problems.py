"""Every error the API answers with is an RFC 9457 problem: one shape, no internals."""

from __future__ import annotations

import http
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match

from nas_service.api.headers import SECURITY_HEADERS
from nas_service.errors import ConflictError, InvalidRequestError, NasError, NotFoundError, RetryableError
from nas_service.job_problem import InvalidJobError

LOG = logging.getLogger(__name__)

STATUS_OF: dict[type[NasError], int] = {
    InvalidRequestError: 422,
    NotFoundError: 404,
    ConflictError: 409,
    RetryableError: 503,
}


class FieldError(BaseModel):
    """One thing wrong with a request: where, and what."""

    path: str = Field(description="Dotted path of the offending value; empty for the request as a whole")
    message: str


class Problem(BaseModel):
    """An RFC 9457 problem."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldError] | None = None


class ProblemResponse(JSONResponse):
    """A problem on its way out, with the headers that every answer has."""

    media_type = "application/problem+json"


def problem(
    status: int,
    detail: str,
    *,
    instance: str,
    errors: Sequence[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """Return the response that tells this problem.

    Args:
        status: the HTTP status, 400 to 599.
        detail: what was got, what is allowed, what to do next.
        instance: path of the request.
        errors: for 422, each thing that is wrong.
        headers: further headers, such as `Allow`.
    """
    body = Problem(
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=instance,
        errors=None if errors is None else list(errors),
    )
    return ProblemResponse(
        body.model_dump(exclude_none=True), status_code=status, headers={**SECURITY_HEADERS, **(headers or {})}
    )


def install_handlers(app: FastAPI) -> None:
    """Make `app` answer every failure as a problem."""
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    app.add_exception_handler(NasError, _nas_problem)
    app.add_exception_handler(Exception, _unexpected_problem)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of these problem statuses, for a route's `responses`."""
    return {
        status: {"description": http.HTTPStatus(status).phrase, "model": Problem, "content": {_MEDIA: {}}}
        for status in statuses
    }


_NAMED = re.compile(r"([a-z_]+): (.+)", re.DOTALL)  # a text that begins with the name of a parameter
_MEDIA = ProblemResponse.media_type
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

_DETAIL = {
    404: "no such resource: {path}; see /docs for what there is",
    405: "{method} is not allowed on {path}; see the Allow header",
}


async def _http_problem(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    path, detail = request.url.path, str(error.detail)
    if detail == http.HTTPStatus(error.status_code).phrase and error.status_code in _DETAIL:
        detail = _DETAIL[error.status_code].format(path=path, method=request.method)
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return problem(error.status_code, detail, instance=path, headers=headers)


def _allowed(request: Request) -> str:
    """Return all methods of a path: Starlette's own header names those of the first route alone."""
    routes: list[BaseRoute] = request.app.routes
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )


async def _validation_problem(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldError(
            path=".".join(str(part) for part in e["loc"] if part not in ("query", "path", "body")), message=e["msg"]
        )
        for e in error.errors()
    ]
    detail = "; ".join(f"{e.path}: {e.message}" if e.path else e.message for e in errors)
    return problem(422, f"the request is not valid: {detail}", instance=request.url.path, errors=errors)


async def _nas_problem(request: Request, error: Exception) -> ProblemResponse:
    status = next((s for leaf, s in STATUS_OF.items() if isinstance(error, leaf)), None)
    if status is None or not isinstance(error, NasError):
        return await _unexpected_problem(request, error)
    error = _original(error)
    errors = _field_errors(error) if status == 422 else None
    headers = {"Retry-After": "2"} if status == 503 else None
    return problem(status, str(error), instance=request.url.path, errors=errors, headers=headers)


def _original(error: NasError) -> NasError:
    """Return what was raised in another process: its text here would be a traceback (Ray keeps it as `cause`)."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, NasError) else error


def _field_errors(error: NasError) -> list[FieldError]:
    if isinstance(error, InvalidJobError):
        return [FieldError(path=p.path, message=p.message) for p in error.problems]
    found = _NAMED.fullmatch(str(error))
    return [FieldError(path=found[1], message=found[2]) if found else FieldError(path="", message=str(error))]


async def _unexpected_problem(request: Request, error: Exception) -> ProblemResponse:
    incident = secrets.token_hex(4)
    LOG.error("incident %s at %s %s", incident, request.method, request.url.path, exc_info=error)
    detail = f"the service failed on this request; its log says why under incident {incident}"
    return problem(500, detail, instance=request.url.path)
