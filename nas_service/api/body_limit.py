"""A request body may hold 1 MiB: more is refused by its announced length, or as soon as it has come in."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nas_service.api.problems import problem

MAX_BODY_BYTES = 1 << 20


class BodyLimit:
    """ASGI middleware that answers 413 to a body above `max_bytes`."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `scope`, reading at most the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await problem(413, self._detail(), instance=scope["path"])(scope, receive, send)
            return
        got_bytes = 0

        async def _receive() -> Message:
            nonlocal got_bytes
            message = await receive()
            got_bytes += len(message.get("body", b""))
            if got_bytes > self._max_bytes:
                raise HTTPException(413, self._detail())
            return message

        await self._app(scope, _receive, send)

    def _detail(self) -> str:
        return f"the body is larger than {self._max_bytes} bytes; send a smaller one"
