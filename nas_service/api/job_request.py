"""The body of POST /jobs: a spec as JSON or YAML."""

from __future__ import annotations

import json
from typing import Any

from fastapi import HTTPException, Request

from nas_service.errors import InvalidRequestError
from nas_service.job import JobSpec, parse_job

JSON_TYPE = "application/json"
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")


async def read_job(request: Request) -> JobSpec:
    """Return the job that the request's body describes.

    Raises:
        HTTPException: 415, the body is neither JSON nor YAML.
        InvalidRequestError: it describes no job that can be run.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == JSON_TYPE:
        return parse_job(_json(await request.body()))
    if media_type in YAML_TYPES:
        return parse_job(await request.body())
    got = f"the body is {media_type}" if media_type else "the body has no Content-Type"
    raise HTTPException(415, f"{got} but must be {JSON_TYPE} or {YAML_TYPES[0]}; set the Content-Type header")


def job_request_schema() -> dict[str, Any]:
    """Return the OpenAPI description of the body."""
    schema = {"$ref": "#/components/schemas/JobSpec"}
    return {"required": True, "content": {JSON_TYPE: {"schema": schema}, YAML_TYPES[0]: {"schema": schema}}}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} appears twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
