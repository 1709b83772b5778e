"""One HTTP connection to the service: requests with a token, retries, and problem details turned into our errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from nas_service.errors import ConflictError, InvalidRequestError, NasError, NotFoundError, RetryableError

API_PREFIX = "/api/v1"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
EVENTS_READ_TIMEOUT_S = 90.0
RETRY_DELAYS_S = (0.2, 0.5, 1.0, 2.0)

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_LEAVES: dict[int, type[NasError]] = {
    400: InvalidRequestError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    429: RetryableError,
    502: RetryableError,
    503: RetryableError,
    504: RetryableError,
}
_HINTS = {
    401: "nas reads the token from NAS_TOKEN, or on the service's own machine from its home folder",
    403: "viewers read, submitters also submit and stop jobs, admins do all",
}


def problem_text(status: int, body: bytes) -> str:
    """Return what a problem-details body says in one text, its `errors` a line each; the status if it says nothing."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return f"the service answered with status {status}"
    text = str(problem.get("detail") or problem.get("title") or f"the service answered with status {status}")
    rows = problem.get("errors")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("message") and str(row["message"]) not in text:
            path = row.get("path")
            text += f"\n  {path}: {row['message']}" if path else f"\n  {row['message']}"
    return text


def error_from(status: int, body: bytes) -> NasError:
    """Return the error that a failed answer stands for, with the server's own words."""
    text = problem_text(status, body)
    if hint := _HINTS.get(status):
        text += f"; {hint}"
    return _LEAVES.get(status, NasError)(text)


class Connection:
    """HTTP to one service. Only GETs are repeated, and only when no answer came: anything else might act twice.

    Args:
        url: Where the service listens, such as http://127.0.0.1:8265.
        token: Bearer token; None sends none.
        transport: What carries the requests; None is the network.
        sleep: Waits between repeats, seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequestError(f"the service's URL is {url!r} but must look like http://127.0.0.1:8700")
        self.url = url.rstrip("/")
        self.sleep = sleep
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
            trust_env=parts.hostname not in _LOOPBACK,
        )

    def close(self) -> None:
        """Close the connection's sockets."""
        self._http.close()

    def get(self, path: str, *, query: Mapping[str, Any] | None = None) -> httpx.Response:
        """Return the answer to a GET; unknown (None) query values are left out.

        Raises:
            RetryableError: Nobody answered, after four repeats.
            NasError: The service refused; the leaf says what to do next.
        """
        params = _known(query)
        for delay_s in (*RETRY_DELAYS_S, None):
            try:
                return self._checked(self._http.get(path, params=params))
            except httpx.TransportError as error:
                if delay_s is None:
                    raise self._unreachable(error) from error
                self.sleep(delay_s)
        raise AssertionError("the last round returns or raises")

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        """Return the answer to a request that changes something; `body` goes as JSON, a str as YAML; never repeated."""
        headers: dict[str, str] = {}
        content: bytes | None = None
        if isinstance(body, str):
            headers["Content-Type"], content = "application/yaml", body.encode()
        elif body is not None:
            headers["Content-Type"], content = "application/json", json.dumps(body, allow_nan=False).encode()
        try:
            return self._checked(
                self._http.request(method, path, params=_known(query), content=content, headers=headers)
            )
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    @contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """Open a GET whose body is read as it comes; errors are raised as by `get`, without repeats."""
        timeout = httpx.Timeout(EVENTS_READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            with self._http.stream("GET", path, headers=dict(headers or {}), timeout=timeout) as response:
                if response.is_error:
                    response.read()
                yield self._checked(response)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_error:
            raise error_from(response.status_code, response.content)
        if response.is_redirect:
            raise NasError(f"{self.url} redirects to {response.headers.get('location')!r}; set NAS_URL to that address")
        return response

    def _unreachable(self, error: httpx.TransportError) -> RetryableError:
        what = str(error) or type(error).__name__
        return RetryableError(
            f"no answer from the service at {self.url} ({what}); look at `nas status`, start it with `nas up`"
        )


def json_of(response: httpx.Response) -> Any:
    """Return an answer's JSON.

    Raises:
        NasError: The body is no JSON, so something else than the service answered.
    """
    try:
        return response.json()
    except ValueError:
        raise NasError(
            f"{response.url.copy_with(query=None)} answered with {response.headers.get('content-type', 'no type')!r} "
            "instead of JSON; check that NAS_URL is this service's address"
        ) from None


def _known(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (query or {}).items() if value is not None}
