"""A mailbox served over SFTP: real files below one folder, seen through a table of permissions.

Only the operations below exist; links, attributes, folders and whatever else the protocol knows are refused. Boards
cannot make links, so a real path below the root needs no further check than the table's.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import asyncssh

from cluster.gateway.permission import (
    OUTBOX_LIMIT_FILES,
    Operation,
    Rule,
    allowed,
    rename_allowed,
    rule_for,
    virtual_path,
)
from cluster.gateway.rate import Bucket

log = logging.getLogger(__name__)

OPEN_FILES_LIMIT = 32
WRITES_PER_S = 20.0
WRITES_BURST = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpRoot:
    """What one user sees: a real folder, the rules over it, and whom to tell when a file arrives."""

    user: str
    folder: Path
    rules: Sequence[Rule]
    arrived: Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class OpenFile:
    """A file that the client holds open; `limit_bytes` is None where it may only be read."""

    path: str
    file: FileIO
    limit_bytes: int | None


class MailboxServer(asyncssh.SFTPServer):
    """One SFTP session inside one mailbox."""

    def __init__(self, channel: asyncssh.SSHServerChannel, root: SftpRoot) -> None:
        super().__init__(channel)
        self._root = root
        self._open_files = 0
        self._writes = Bucket(per_s=WRITES_PER_S, burst=WRITES_BURST)

    def _check(self, operation: Operation, path: bytes) -> tuple[str, Path]:
        try:
            virtual = virtual_path(path)
        except ValueError:
            raise asyncssh.SFTPPermissionDenied("this path is not served") from None
        if not allowed(operation, virtual, self._root.rules):
            self._audit("refused", operation, virtual)
            raise asyncssh.SFTPPermissionDenied(f"{operation} is not allowed here")
        return virtual, self._real(virtual)

    def _real(self, virtual: str) -> Path:
        return self._root.folder / virtual.lstrip("/")

    def _audit(self, verdict: str, operation: str, virtual: str) -> None:
        level = logging.DEBUG if virtual.startswith("/heartbeat") and verdict == "did" else logging.INFO
        log.log(level, "sftp user=%s %s %s %r", self._root.user, verdict, operation, virtual)

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> OpenFile:
        """Open a file to read, or one of the uploads to write."""
        write = bool(pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND | asyncssh.FXF_CREAT | asyncssh.FXF_TRUNC))
        virtual, real = self._check("write" if write else "read", path)
        if self._open_files >= OPEN_FILES_LIMIT:
            raise asyncssh.SFTPFailure(f"{OPEN_FILES_LIMIT} files are open; close some first")
        flags = os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_RDWR if write else os.O_RDONLY)
        if write:
            if not self._writes.take(time.monotonic()):
                self._audit("refused", "write, too many a second", virtual)
                raise asyncssh.SFTPFailure(f"more than {WRITES_PER_S:g} files a second; wait a moment")
            self._check_count(real)
            flags |= os.O_CREAT if pflags & asyncssh.FXF_CREAT else 0
            flags |= os.O_TRUNC if pflags & asyncssh.FXF_TRUNC else 0
            flags |= os.O_EXCL if pflags & asyncssh.FXF_EXCL else 0
            self._audit("did", "write", virtual)
        rule = rule_for(virtual, self._root.rules)
        limit_bytes = rule.limit_bytes if write and rule is not None else None
        file = FileIO(os.open(real, flags, 0o640), "r+b" if write else "rb")
        self._open_files += 1
        return OpenFile(virtual, file, limit_bytes)

    @staticmethod
    def _check_count(real: Path) -> None:
        if real.exists() or real.parent.name != "outbox":
            return
        if sum(1 for _ in os.scandir(real.parent)) >= OUTBOX_LIMIT_FILES:
            raise asyncssh.SFTPFailure(f"the outbox holds {OUTBOX_LIMIT_FILES} files; wait until they are fetched")

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Refuse the open request of later protocol versions, which this server never announces."""
        raise asyncssh.SFTPOpUnsupported("this server speaks SFTP version 3")

    def close(self, file_obj: object) -> None:
        """Close a file."""
        self._open_files -= 1
        _file(file_obj).file.close()

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset`."""
        return os.pread(_file(file_obj).file.fileno(), size, offset)

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Write `data` at `offset`, within the limit of the file."""
        opened = _file(file_obj)
        if opened.limit_bytes is None:
            raise asyncssh.SFTPPermissionDenied("this file is open for reading only")
        if offset + len(data) > opened.limit_bytes:
            self._audit("refused", "oversized write", opened.path)
            raise asyncssh.SFTPFailure(f"a file here holds at most {opened.limit_bytes} bytes")
        return os.pwrite(opened.file.fileno(), data, offset)

    def fsync(self, file_obj: object) -> None:
        """Flush a file to the disk."""
        os.fsync(_file(file_obj).file.fileno())

    def lstat(self, path: bytes) -> os.stat_result:
        """Return the attributes of a file or folder."""
        _, real = self._check("stat", path)
        return os.lstat(real)

    def stat(self, path: bytes) -> os.stat_result:
        """Return the attributes of a file or folder; there are no links to follow."""
        return self.lstat(path)

    def fstat(self, file_obj: object) -> os.stat_result:
        """Return the attributes of an open file."""
        return os.fstat(_file(file_obj).file.fileno())

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Accept modes and times of an upload without taking them over; refuse anything else."""
        self._check("write", path)
        _refuse_size(attrs)

    def lsetstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """As `setstat`."""
        self.setstat(path, attrs)

    def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        """As `setstat`, for an open file."""
        if _file(file_obj).limit_bytes is None:
            raise asyncssh.SFTPPermissionDenied("this file is open for reading only")
        _refuse_size(attrs)

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """Yield the entries of a folder that the table lets be seen."""
        virtual, real = self._check("list", path)
        for name in (b".", b".."):
            yield asyncssh.SFTPName(name, attrs=asyncssh.SFTPAttrs.from_local(os.lstat(real)))
        with os.scandir(real) as entries:
            for entry in entries:
                if not allowed("stat", f"{virtual.rstrip('/')}/{entry.name}", self._root.rules):
                    continue
                try:
                    attrs = asyncssh.SFTPAttrs.from_local(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
                yield asyncssh.SFTPName(os.fsencode(entry.name), attrs=attrs)

    def realpath(self, path: bytes) -> bytes:
        """Return the path without `.` and `..`, decided without looking at the disk."""
        try:
            return virtual_path(path).encode()
        except ValueError:
            raise asyncssh.SFTPPermissionDenied("this path is not served") from None

    def remove(self, path: bytes) -> None:
        """Remove an upload that was not finished."""
        virtual, real = self._check("remove", path)
        real.unlink()
        self._audit("did", "remove", virtual)

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Finish an upload whose final name is free."""
        _, real = self._check("rename_to", newpath)
        if real.exists():
            raise asyncssh.SFTPFailure("a file of that name exists; use posix-rename to replace it")
        await self.posix_rename(oldpath, newpath)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Finish an upload: `X.part` becomes `X`, whole, and whoever waits for it is told."""
        old, old_real = self._check("rename_from", oldpath)
        new, new_real = self._check("rename_to", newpath)
        if not rename_allowed(old, new, self._root.rules):
            self._audit("refused", "rename", f"{old} -> {new}")
            raise asyncssh.SFTPPermissionDenied("an upload X.part may only become X")
        os.replace(old_real, new_real)
        self._audit("did", "rename", new)
        await self._root.arrived(new)

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Refuse."""
        raise asyncssh.SFTPPermissionDenied("folders cannot be made here")

    def rmdir(self, path: bytes) -> None:
        """Refuse."""
        raise asyncssh.SFTPPermissionDenied("folders cannot be removed here")

    def readlink(self, path: bytes) -> bytes:
        """Refuse."""
        raise asyncssh.SFTPPermissionDenied("there are no links here")

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        """Refuse."""
        raise asyncssh.SFTPPermissionDenied("links cannot be made here")

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        """Refuse."""
        raise asyncssh.SFTPPermissionDenied("links cannot be made here")

    def statvfs(self, path: bytes) -> os.statvfs_result:
        """Refuse: the host's disks are not a board's business."""
        raise asyncssh.SFTPOpUnsupported("statvfs is not served")

    def fstatvfs(self, file_obj: object) -> os.statvfs_result:
        """Refuse, as `statvfs`."""
        raise asyncssh.SFTPOpUnsupported("statvfs is not served")

    def format_user(self, uid: int | None) -> str:
        """Return no account name: the host's accounts are not a board's business."""
        return "-"

    def format_group(self, gid: int | None) -> str:
        """Return no group name."""
        return "-"


def _file(file_obj: object) -> OpenFile:
    assert isinstance(file_obj, OpenFile)
    return file_obj


def _refuse_size(attrs: asyncssh.SFTPAttrs) -> None:
    if attrs.size is not None:
        raise asyncssh.SFTPOpUnsupported("a file cannot be truncated; write it anew")
