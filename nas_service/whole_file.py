"""Files that are whole or as they were before: written beside their place, synced, then moved there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes, *, mode: int = 0o644, folder_mode: int = 0o755) -> None:
    """Write `data` so that a reader, or whoever comes after a crash, sees all of it or what was there before.

    Args:
        path: Where to write; its folder is made if it is missing.
        data: The whole content.
        mode: Permission bits of the file; until it is whole, only its owner reads it.
        folder_mode: Permission bits of a folder that had to be made.
    """
    path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, mode)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
