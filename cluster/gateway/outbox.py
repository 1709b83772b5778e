"""What boards have put into their outboxes: results, or what claims to be one."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cluster.gateway.permission import OUTBOX_LIMIT_FILES
from edge_agent.records import RESULT_LIMIT_BYTES, RecordError, Result, check_name

log = logging.getLogger(__name__)

_SUFFIX = ".json"
_KEPT_ASIDE = 16


_LEASE_ID = re.compile(rb'"lease_id"\s*:\s*"([a-z0-9][a-z0-9._-]{0,62})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a letter is not taken in, and whether that is the board's fault or ours."""

    reason: str
    fault: Literal["board", "infra"] = "board"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One file from an outbox: the result that it holds, or why it is none; and the lease that it names."""

    path: Path
    result_id: str
    result: Result | None = None
    refusal: Refusal | None = None
    lease_id: str | None = None


def read_letters(outbox: Path) -> Iterator[Letter]:
    """Yield the finished uploads, in order of name; whatever they hold, nothing is raised for it.

    A board that floods its outbox keeps nobody waiting: the rest of its files comes next time.
    """
    for path in _uploads(outbox)[:OUTBOX_LIMIT_FILES]:
        result_id = path.name.removesuffix(_SUFFIX)
        try:
            check_name(result_id, what="result_id")
        except RecordError:
            discard(path)  # no acknowledgement can have this name, and no board makes such a file
            continue
        try:
            data = _read(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            refusal = Refusal(reason=f"the gateway cannot read it: {error.strerror or error}", fault="infra")
            yield Letter(path=path, result_id=result_id, refusal=refusal)
            continue
        yield _letter(path, result_id, data)


def _uploads(outbox: Path) -> list[Path]:
    try:
        with os.scandir(outbox) as found:
            entries = sorted((e for e in found if e.name.endswith(_SUFFIX)), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    files = [entry for entry in entries if not entry.is_dir(follow_symlinks=False)]
    for folder in set(entries) - set(files):  # no server of ours lets a board make one, but any may serve
        discard(Path(folder.path))
    return [Path(entry.path) for entry in files]


def discard(path: Path) -> None:
    """Remove what a board has put somewhere, whatever it is, as far as that can be done."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(path, ignore_errors=True)


def set_aside(path: Path, folder: Path) -> None:
    """Move a refused upload into `folder`, where a person may look at the latest 16; drop what cannot be moved."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if path.is_symlink():
            discard(path)
        else:
            os.replace(path, folder / path.name)
    except OSError as error:
        log.warning("refused upload %s is not kept: %s", path.name, error)
        discard(path)
    for old in sorted(folder.iterdir(), key=lambda kept: kept.lstat().st_ctime_ns)[:-_KEPT_ASIDE]:
        discard(old)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(RESULT_LIMIT_BYTES + 1)


def _letter(path: Path, result_id: str, data: bytes) -> Letter:
    named = _LEASE_ID.search(data)  # also of what is no JSON, so that nobody waits for its lease's deadline
    lease_id = named[1].decode() if named else None
    try:
        if len(data) > RESULT_LIMIT_BYTES:
            raise RecordError(f"the file has more than {RESULT_LIMIT_BYTES} bytes; a result must fit")
        result = Result.from_json(data)
        if result.result_id != result_id:
            raise RecordError(f"result_id is {result.result_id!r} but the file is named for {result_id!r}")
    except RecordError as error:
        return Letter(path=path, result_id=result_id, refusal=Refusal(reason=str(error)), lease_id=lease_id)
    return Letter(path=path, result_id=result_id, result=result, lease_id=result.lease_id)
