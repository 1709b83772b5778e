"""The dashboard's files: our own from this package, Plotly from its installed one. Nothing comes from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, HTTPException, Response

STATIC = Path(__file__).parent / "static"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_OWN_CACHING = "no-cache"
_PLOTLY_CACHING = "public, max-age=86400"


class StaticFile(NamedTuple):
    """A file as it is sent: plain, gzipped, and the tag that says which one it is."""

    plain: bytes
    gzipped: bytes
    etag: str
    media_type: str
    caching: str


def dashboard_router() -> APIRouter:
    """Return the dashboard, the API's page, and their files; all are open, since they hold no data."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def dashboard(
        if_none_match: Annotated[str, Header()] = "", accept_encoding: Annotated[str, Header()] = ""
    ) -> Response:
        return _answer("index.html", if_none_match, accept_encoding)

    @router.get("/docs")
    def docs(if_none_match: Annotated[str, Header()] = "", accept_encoding: Annotated[str, Header()] = "") -> Response:
        return _answer("docs.html", if_none_match, accept_encoding)

    @router.get("/favicon.ico")
    def favicon(
        if_none_match: Annotated[str, Header()] = "", accept_encoding: Annotated[str, Header()] = ""
    ) -> Response:
        return _answer("icon.svg", if_none_match, accept_encoding)

    @router.get("/static/{name}")
    def static(
        name: str, if_none_match: Annotated[str, Header()] = "", accept_encoding: Annotated[str, Header()] = ""
    ) -> Response:
        return _answer(name, if_none_match, accept_encoding)

    return router


def _answer(name: str, if_none_match: str, accept_encoding: str) -> Response:
    file = _read(name)
    if file is None:
        raise HTTPException(404)
    headers = {"ETag": file.etag, "Cache-Control": file.caching, "Vary": "Accept-Encoding"}
    if file.etag in if_none_match:
        return Response(status_code=304, headers=headers)
    if "gzip" in accept_encoding:
        return Response(file.gzipped, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.plain, media_type=file.media_type, headers=headers)


def _read(name: str) -> StaticFile | None:
    if name == "plotly.min.js":
        return _plotly()
    return _own_files().get(name)


@cache
def _own_files() -> dict[str, StaticFile]:
    found = (path for path in STATIC.iterdir() if path.suffix in _TYPES)
    return {path.name: _packed(path.read_bytes(), _TYPES[path.suffix], _OWN_CACHING) for path in found}


@cache
def _plotly() -> StaticFile:
    script = files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return _packed(script, _TYPES[".js"], _PLOTLY_CACHING)


def _packed(plain: bytes, media_type: str, caching: str) -> StaticFile:
    etag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
    return StaticFile(plain, gzip.compress(plain, 6), etag, media_type, caching)
