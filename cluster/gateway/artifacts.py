"""The files of a board's leases, as they lie in its mailbox: links into the file store, or copies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cluster.gateway.folders import write_whole
from nas_service.errors import InvalidRequestError
from nas_service.store.files import FileStore


def place(files: FileStore, sha256: str, target: Path, *, mode: int | None = None) -> None:
    """Put the file with this hash at `target`, checked, and whole from its first moment; with a `mode`, as a copy.

    Raises:
        NotFoundError: The store has no such file.
        CorruptFileError: The store's file no longer has this hash.
    """
    try:
        source = files.path(sha256)
    except InvalidRequestError:  # the store is not on this machine
        source = None
    if source is None or mode is not None:  # a link would carry the store's owner and mode with it
        write_whole(target, files.get(sha256), mode=mode)
        return
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    try:
        os.link(source, draft)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, draft)
    os.replace(draft, target)
    draft.unlink(missing_ok=True)  # os.replace keeps both names if they are links to one file
