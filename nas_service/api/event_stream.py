"""A job's events as server-sent events: what there is, then what comes, until the job ends."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
from starlette.concurrency import run_in_threadpool

from nas_service.store.job_record import Job, JobEvent

PAGE = 200


class EventSource(Protocol):
    """Where events and the job's state are read; the store's `JobStore` is one."""

    def events(self, job_id: str, after: int = 0, limit: int = PAGE) -> Sequence[JobEvent]:
        """Return the events after the one numbered `after`, oldest first."""
        ...

    def get(self, job_id: str) -> Job:
        """Return the job."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the store is asked, and how often a silent stream says that it lives."""

    poll_s: float = 0.5
    keep_alive_s: float = 15.0
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep


def event_text(event: JobEvent) -> str:
    """Return one event in the text/event-stream format (WHATWG HTML, section 9.2)."""
    body = {"id": event.id, "kind": event.kind, "message": event.message, "data": event.data, "created_at": event.at}
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(body, allow_nan=False)}\n\n"


async def stream_events(
    source: EventSource, job_id: str, *, after: int = 0, follow: bool = True, pace: Pace | None = None
) -> AsyncIterator[str]:
    """Yield a job's events after the one numbered `after`, and comments while nothing happens.

    The stream ends when the job has ended and its last event was sent, or at once with `follow` off.
    """
    pace = pace or Pace()
    yield ": events\n\n"
    quiet_since_s = time.monotonic()
    while True:
        # The state first: an event that was written before the job ended is then certainly read after it.
        over = not follow or (await run_in_threadpool(source.get, job_id)).state.over
        events = await run_in_threadpool(source.events, job_id, after, PAGE)
        for event in events:
            yield event_text(event)
            after, quiet_since_s = event.id, time.monotonic()
        if len(events) == PAGE:
            continue
        if over:
            yield ": the end\n\n"
            return
        if time.monotonic() - quiet_since_s >= pace.keep_alive_s:
            yield ": still here\n\n"
            quiet_since_s = time.monotonic()
        await pace.sleep(pace.poll_s)
