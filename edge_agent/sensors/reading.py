"""Reading one number from sysfs again and again: the file stays open, and every way to fail has its kind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edge_agent.records import SensorFaultKind
from edge_agent.sensors.sensor import SensorError

_GONE = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_MAX_BYTES = 64


class NumberFile:
    """A file that holds one whole number, opened by the first read and then read in place."""

    def __init__(self, path: Path) -> None:
        """Take the path; nothing is opened yet."""
        self.path = path
        self._fd: int | None = None

    def read(self) -> int:
        """Return the number now.

        Raises:
            SensorError: If the file is gone, forbidden, failing, or holds no number.
        """
        try:
            if self._fd is None:
                self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            elif os.fstat(self._fd).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "removed", str(self.path))
            data = os.pread(self._fd, _MAX_BYTES, 0)
        except OSError as error:
            self.close()
            raise SensorError(kind_of(error), f"{self.path}: {error.strerror}") from None
        try:
            return int(data)
        except ValueError:
            raise SensorError("not_a_number", f"{self.path} holds {data[:40]!r} but must hold a number") from None

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def kind_of(error: OSError) -> SensorFaultKind:
    """Return what an error of the operating system says about a sensor."""
    if error.errno in _GONE:
        return "vanished"
    return "forbidden" if error.errno in _FORBIDDEN else "failing"


def read_once(path: Path) -> int:
    """Return the number in a file, which is closed again; raise SensorError as NumberFile does."""
    file = NumberFile(path)
    try:
        return file.read()
    finally:
        file.close()


def text_of(path: Path) -> str | None:
    """Return a file's text without the blanks and zero bytes around it, None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\0\n\t ")
    except OSError:
        return None


def board_model(root: Path) -> str:
    """Return the board's model as its device tree calls it, empty where there is none."""
    return text_of(root / "proc/device-tree/model") or ""


def number_of(path: Path) -> int | None:
    """Return the whole number in a file, None if there is none to read."""
    text = text_of(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
