"""The service's client: a method for every endpoint; what comes back is the endpoint's JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias
from urllib.parse import quote

import httpx

from nas_service.connection import API_PREFIX, Connection, json_of
from nas_service.errors import InvalidRequestError, NasError, RetryableError
from nas_service.home import Home
from nas_service.server_events import JobEvent, read_events
from nas_service.settings import Settings

Json: TypeAlias = dict[str, Any]

ENDED_STATES = frozenset({"finished", "failed", "stopped"})
PAGE_SIZE = 200
EVENT_RETRIES = 30
EVENT_RETRY_DELAY_S = 1.0


class Client:
    """Talks to one running service.

    Every method raises RetryableError when nobody answers, InvalidRequestError for what can never be right,
    NotFoundError, ConflictError, or NasError with the service's own words.

    Args:
        url: Where the service listens, such as http://127.0.0.1:8700.
        token: Bearer token; None reaches only what is open to all.
        transport: What carries the requests; None is the network.
        sleep: Waits between repeats, seconds.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = Connection(url, token=token, transport=transport, sleep=sleep)
        self._sleep = sleep
        self.url = self._connection.url

    @classmethod
    def from_environment(cls) -> Client:
        """Return the client of NAS_URL and NAS_TOKEN, else of the service that runs in NAS_HOME.

        Raises:
            NasError: Neither names a service.
        """
        settings = Settings.from_environment()
        home = Home(settings.home)
        state = home.read_state()
        url = settings.url or (state.api_url if state else None)
        if not url:
            raise NasError("no service is running; start it with `nas up`, or set NAS_URL to one elsewhere")
        local = state is not None and url.rstrip("/") == (state.api_url or "").rstrip("/")
        return cls(url, settings.token or (home.read_admin_token() if local else None))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._connection.close()

    # Jobs

    def submit(self, spec: Mapping[str, Any] | str, *, dry_run: bool = False) -> Json:
        """Create a job from a spec (a mapping, or YAML text) and return it; `dry_run` returns what would run."""
        body = spec if isinstance(spec, str) else dict(spec)
        return self._send("POST", "/jobs", body=body, query={"dry_run": "true"} if dry_run else None)

    def jobs(self, *, limit: int = 50) -> list[Json]:
        """Return the newest `limit` jobs, newest first."""
        return self._list("/jobs", "jobs", query={"limit": limit})

    def job(self, job_id: str) -> Json:
        """Return one job with its state and progress."""
        return self._get(f"/jobs/{_part(job_id)}")

    def stop(self, job_id: str) -> Json:
        """Ask a job to stop; what it has found stays."""
        return self._send("POST", f"/jobs/{_part(job_id)}/stop")

    def resume(self, job_id: str) -> Json:
        """Continue a job that stopped, failed, or whose driver died; nothing measured is repeated."""
        return self._send("POST", f"/jobs/{_part(job_id)}/resume")

    def events(self, job_id: str, *, after: int = 0) -> Iterator[JobEvent]:
        """Yield a job's events after the one numbered `after`, as they happen, until the job ends.

        A stream that breaks is taken up again after the last event seen, so none is lost and none comes twice.
        """
        failures = 0
        while True:
            try:
                for event in self._event_stream(job_id, after):
                    failures = 0
                    if event.id > after:
                        after = event.id
                        yield event
                if self.job(job_id)["state"] in ENDED_STATES:
                    return
            except (RetryableError, httpx.TransportError):
                failures += 1
                if failures > EVENT_RETRIES:
                    raise
            self._sleep(EVENT_RETRY_DELAY_S)

    def past_events(self, job_id: str, *, after: int = 0) -> Iterator[JobEvent]:
        """Yield the events that a job has had so far, and wait for none."""
        yield from self._event_stream(job_id, after, follow=False)

    def candidates(self, job_id: str, *, finalists: bool | None = None, status: str | None = None) -> list[Json]:
        """Return all candidates of a job, by number; optionally only finalists, or those with one status."""
        query = {"status": status, "finalists": None if finalists is None else str(finalists).lower()}
        return self._pages(f"/jobs/{_part(job_id)}/candidates", "candidates", query)

    def front(self, job_id: str, *, filters: Mapping[str, Any] | None = None) -> Json:
        """Return a job's front; `filters` are board, max_latency_ms, max_energy_mj, max_memory_kib, min_accuracy."""
        return self._get(f"/jobs/{_part(job_id)}/front", query=filters)

    def front_csv(self, job_id: str, *, filters: Mapping[str, Any] | None = None) -> str:
        """Return a job's front as CSV text; filters as for `front`."""
        query = {**(filters or {}), "format": "csv"}
        return self._connection.get(f"{API_PREFIX}/jobs/{_part(job_id)}/front", query=query).text

    # Candidates

    def candidate(self, candidate_id: str) -> Json:
        """Return one candidate with its curve."""
        return self._get(f"/candidates/{_part(candidate_id)}")

    def bundle(self, candidate_id: str, target: IO[bytes]) -> int:
        """Write a finalist's bundle (a zip) to `target`; return its size in bytes."""
        size_bytes = 0
        with self._connection.stream(f"{API_PREFIX}/candidates/{_part(candidate_id)}/bundle") as response:
            for chunk in response.iter_bytes():
                size_bytes += target.write(chunk)
        return size_bytes

    # Boards and measurements

    def boards(self) -> list[Json]:
        """Return the boards with state, class and when they were last heard from."""
        return self._list("/boards", "boards")

    def expected_boards(self) -> list[Json]:
        """Return the boards that were added and may still enrol: name, class, when their code ends."""
        return self._list("/boards", "expected")

    def add_board(self, name: str, *, board_class: str, settings: Json | None = None) -> Json:
        """Prepare a board's enrolment and return its one-time code, shown only now; a new class gets `settings`."""
        body = {"name": name, "board_class": board_class, "settings": settings}
        return self._send("POST", "/boards", body=body)

    def drain_board(self, name: str) -> None:
        """Give a board no further work; what it measures now may finish."""
        self._connection.send("POST", f"{API_PREFIX}/boards/{_part(name)}/drain")

    def undrain_board(self, name: str) -> None:
        """Give a drained or quarantined board work again."""
        self._connection.send("POST", f"{API_PREFIX}/boards/{_part(name)}/undrain")

    def host_key(self, *, switch: bool = False, force: bool = False) -> Json:
        """Tell the boards of the gateway's next host key, or switch to it; return which boards know it."""
        return self._send("POST", "/gateway/host-key", body={"switch": switch, "force": force})

    def remove_board(self, name: str) -> None:
        """Remove a board and revoke its key at once; its measurements stay."""
        self._connection.send("DELETE", f"{API_PREFIX}/boards/{_part(name)}")

    def board_agreement(self, board_class: str) -> Json:
        """Return how far each board of a class measures beside the others, by what two or more of them measured."""
        return self._get(f"/board-classes/{_part(board_class)}/agreement")

    def measurements(self, *, board_class: str | None = None) -> list[Json]:
        """Return the boards' results, newest first; optionally those of one class."""
        return self._pages("/measurements", "measurements", {"board_class": board_class})

    # Tokens and the service itself

    def tokens(self) -> list[Json]:
        """Return the tokens' names and roles; their secrets are not stored."""
        return self._list("/tokens", "tokens")

    def create_token(self, name: str, *, role: str) -> Json:
        """Create a token and return it with its secret, shown only now."""
        return self._send("POST", "/tokens", body={"name": name, "role": role})

    def revoke_token(self, name: str) -> None:
        """Revoke a token at once."""
        self._connection.send("DELETE", f"{API_PREFIX}/tokens/{_part(name)}")

    def require_healthy(self) -> None:
        """Raise RetryableError unless the service answers and reaches its store."""
        self._connection.get("/readyz")

    def version(self) -> str:
        """Return the version of the service."""
        return str(self._get("/healthz").get("version"))

    def metrics(self) -> str:
        """Return the service's figures in Prometheus text format."""
        return self._connection.get("/metrics").text

    # Shapes

    def _get(self, path: str, *, query: Mapping[str, Any] | None = None) -> Json:
        return _object(json_of(self._connection.get(API_PREFIX + path, query=query)), path)

    def _send(self, method: str, path: str, *, body: Any = None, query: Mapping[str, Any] | None = None) -> Json:
        return _object(json_of(self._connection.send(method, API_PREFIX + path, body=body, query=query)), path)

    def _list(self, path: str, key: str, *, query: Mapping[str, Any] | None = None) -> list[Json]:
        return _rows(self._get(path, query=query), key, path)

    def _pages(self, path: str, key: str, query: Mapping[str, Any]) -> list[Json]:
        rows: list[Json] = []
        while True:
            page = self._list(path, key, query={**query, "offset": len(rows), "limit": PAGE_SIZE})
            rows += page
            if len(page) < PAGE_SIZE:
                return rows

    def _event_stream(self, job_id: str, after: int, *, follow: bool = True) -> Iterator[JobEvent]:
        path = f"{API_PREFIX}/jobs/{_part(job_id)}/events" + ("" if follow else "?follow=false")
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._connection.stream(path, headers=headers) as response:
            yield from read_events(response.iter_lines())


def save_bundle(client: Client, candidate_id: str, path: Path) -> int:
    """Write a finalist's zip to the file `path` and return its size in bytes."""
    with path.open("wb") as target:
        return client.bundle(candidate_id, target)


def _part(name: str) -> str:
    if not name or name in (".", ".."):
        raise InvalidRequestError(
            f"{name!r} is no name; give a job's, candidate's or board's name as `nas jobs` shows it"
        )
    return quote(name, safe="")


def _object(value: Any, path: str) -> Json:
    if not isinstance(value, dict):
        raise NasError(
            f"{path} answered with {type(value).__name__} instead of an object; is the service this version?"
        )
    return value


def _rows(answer: Json, key: str, path: str) -> list[Json]:
    rows = answer.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NasError(f"{path} answered without a list of {key}; is the service this version?")
    return rows
