"""What boards have put into their outboxes: results, or what claims to be one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.gateway.permission import OUTBOX_LIMIT_FILES, RESULT_LIMIT_BYTES
from edge_agent.records import RecordError, Result, check_name

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One file from an outbox: the result that it holds, or the problem with it."""

    path: Path
    result_id: str
    result: Result | None = None
    problem: str | None = None


def read_letters(outbox: Path) -> Iterator[Letter]:
    """Yield the finished uploads, in order of name; whatever they hold, nothing is raised for it.

    A board that floods its outbox keeps nobody waiting: the rest of its files comes next time.
    """
    try:
        names = sorted(name for name in os.listdir(outbox) if name.endswith(_SUFFIX))
    except FileNotFoundError:
        return
    for name in names[:OUTBOX_LIMIT_FILES]:
        path, result_id = outbox / name, name.removesuffix(_SUFFIX)
        try:
            check_name(result_id, what="result_id")
        except RecordError:
            path.unlink(missing_ok=True)  # no acknowledgement can have this name, and no board makes such a file
            continue
        try:
            yield Letter(path=path, result_id=result_id, result=_result(path, result_id))
        except FileNotFoundError:
            continue
        except (RecordError, OSError) as error:
            yield Letter(path=path, result_id=result_id, problem=str(error))


def _result(path: Path, result_id: str) -> Result:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(RESULT_LIMIT_BYTES + 1)
    if len(data) > RESULT_LIMIT_BYTES:
        raise RecordError(f"the file has more than {RESULT_LIMIT_BYTES} bytes; a result must fit")
    result = Result.from_json(data)
    if result.result_id != result_id:
        raise RecordError(f"result_id is {result.result_id!r} but the file is named for {result_id!r}")
    return result
