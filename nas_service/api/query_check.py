"""Refuses query keys that an endpoint does not have: a mistyped limit must not read as no limit."""

from __future__ import annotations

from fastapi import Request
from fastapi.routing import APIRoute

from nas_service.errors import InvalidRequestError
from nas_service.spelling import nearest


def refuse_unknown_query(request: Request) -> None:
    """Raise InvalidRequestError for a query key that the matched endpoint does not take."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = sorted(parameter.alias for parameter in route.dependant.query_params)
    for key in request.query_params:
        if key not in known:
            allowed = f"allowed: {', '.join(known)}" if known else "this endpoint takes none"
            raise InvalidRequestError(f"unknown query key {key!r}{nearest(key, known)}; {allowed}")
