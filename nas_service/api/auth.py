"""Who may ask: a bearer token on everything that is not listed as open, and a role on every route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from nas_service.api.problems import problem
from nas_service.store.tokens import Role

OPEN_PATHS = frozenset({"/", "/docs", "/healthz", "/readyz", "/api/v1/healthz", "/api/v1/readyz", "/favicon.ico"})
OPEN_PREFIX = "/static/"

_ROLE = "nas_role"
_BEARER = HTTPBearer(auto_error=False, description="a token of `nas token create`")


class TokenGate:
    """ASGI middleware that lets nothing through without a token, but the open paths.

    Args:
        app: what is behind the gate.
        verify: secret -> role, or None for a secret that is not known; may block.
    """

    def __init__(self, app: ASGIApp, verify: Callable[[str], Role | None]) -> None:
        self._app = app
        self._verify = verify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `scope`, or 401."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http" or _is_open(scope):
            await self._app(scope, receive, send)
            return
        secret = _secret(scope)
        role = await run_in_threadpool(self._verify, secret) if secret else None
        if role is None:
            what = "the bearer token is not known or was revoked" if secret else "no bearer token was sent"
            detail = f"{what}; send `Authorization: Bearer TOKEN` (an admin makes one with `nas token create`)"
            refusal = problem(401, detail, instance=scope["path"], headers={"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})[_ROLE] = role
        await self._app(scope, receive, send)


def require(role: Role) -> Any:
    """Return the dependency that refuses with 403 a token of a lesser role than `role`."""

    def check(request: Request, _: Any = Depends(_BEARER)) -> None:  # noqa: B008
        got: Role = getattr(request.state, _ROLE)
        if not got.includes(role):
            detail = f"this token's role is {got.value} but {role.value} is needed here; an admin can make such a token"
            raise HTTPException(403, detail)

    return Depends(check)


def _is_open(scope: Scope) -> bool:
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def _secret(scope: Scope) -> str | None:
    headers = dict(scope["headers"])
    scheme, _, secret = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None
