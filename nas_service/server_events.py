"""Server-sent events as values: the text/event-stream format (WHATWG HTML, section 9.2), read line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from nas_service.errors import NasError


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One line of a job's log: monotone id, kind, message, data, and when it was written (unix seconds)."""

    id: int
    kind: str
    message: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    at_unix_s: float | None = None


def read_events(lines: Iterable[str]) -> Iterator[JobEvent]:
    """Yield the events of a stream's lines (without their line ends); comments and unfinished events are dropped.

    Raises:
        NasError: An event's id is no number or its data no JSON object.
    """
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield _event(fields)
            fields = {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in fields:
            fields["data"] += "\n" + value
        elif name:
            fields[name] = value


def _event(fields: dict[str, str]) -> JobEvent:
    try:
        number, body = int(fields.get("id", "")), json.loads(fields["data"])
    except ValueError:
        raise NasError(
            f"the service sent an event that cannot be read: {fields!r:.200}; update the older side"
        ) from None
    if not isinstance(body, dict):
        raise NasError(f"the service sent event {number} with {type(body).__name__} as data; an object is expected")
    data, at = body.get("data"), body.get("created_at")
    return JobEvent(
        id=number,
        kind=str(fields.get("event") or body.get("kind") or "message"),
        message=str(body.get("message") or ""),
        data=data if isinstance(data, dict) else {},
        at_unix_s=float(at) if isinstance(at, (int, float)) else None,
    )
