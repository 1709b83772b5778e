"""Questions to a Raspberry Pi's firmware: through its mailbox device, else by running `vcgencmd`.

The mailbox takes one property message (little-endian words: size, 0, tag, buffer size, 0, 0, text, 0) and writes the
answer over it; word 1 becomes 0x80000000 if it was understood and word 5 is the command's own status. Device, request
number and tag as in raspberrypi/utils, vcgencmd.c. /dev/vcio_gencmd of newer kernels carries this one tag; the group
`video` may open it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

from edge_agent.sensors.reading import board_model, kind_of
from edge_agent.sensors.sensor import SensorError

DEVICES = ("dev/vcio_gencmd", "dev/vcio")
IOCTL_MBOX_PROPERTY = 0xC0086400  # _IOWR(100, 0, char *), 64-bit
TAG_GET_GENCMD_RESULT = 0x00030080
TEXT_BYTES = 4096
_HEADER = struct.Struct("<6I")
_SUCCESS = 0x80000000
_COMMAND_TIMEOUT_S = 2.0

Ioctl = Callable[[int, int, bytearray], int]


def is_raspberry_pi(root: Path) -> bool:
    """Return whether this board is a Raspberry Pi of any kind."""
    return board_model(root).startswith("Raspberry Pi")


class Mailbox:
    """The firmware's mailbox device, opened by the first question."""

    def __init__(self, device: Path, *, ioctl: Ioctl = fcntl.ioctl) -> None:
        """Take the device, and who makes the system call."""
        self.device = device
        self._ioctl = ioctl
        self._fd: int | None = None

    def ask(self, command: str) -> str:
        """Return the firmware's answer to a command of vcgencmd.

        Raises:
            SensorError: If the device is not there, forbidden, or the firmware does not know the command.
        """
        message = encode(command)
        try:
            if self._fd is None:
                self._fd = os.open(self.device, os.O_RDWR | os.O_CLOEXEC)
            self._ioctl(self._fd, IOCTL_MBOX_PROPERTY, message)
        except OSError as error:
            self.close()
            raise SensorError(kind_of(error), f"{self.device}: {error.strerror}") from None
        return decode(message, command)

    def close(self) -> None:
        """Close the device; the next question opens it again."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None


class Command:
    """The program vcgencmd: a process for every question, so slower and not free."""

    def __init__(self, command: tuple[str, ...]) -> None:
        """Take the program and its first arguments."""
        self._command = command

    def ask(self, command: str) -> str:
        """Return the firmware's answer; raise SensorError if the program is not there or fails."""
        try:
            done = subprocess.run(
                [*self._command, *command.split()], capture_output=True, timeout=_COMMAND_TIMEOUT_S, check=False
            )
        except FileNotFoundError:
            raise SensorError("vanished", f"{self._command[0]} is not installed") from None
        except subprocess.TimeoutExpired:
            raise SensorError("failing", f"{self._command[0]} {command} took over {_COMMAND_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise SensorError(kind_of(error), f"{self._command[0]}: {error.strerror}") from None
        if done.returncode != 0:
            text = " ".join((done.stderr or done.stdout).decode(errors="replace").split())[:200]
            raise SensorError("failing", f"{self._command[0]} {command} ended with {done.returncode}: {text}")
        return done.stdout.decode(errors="replace")

    def close(self) -> None:
        """Nothing stays open."""


Firmware = Mailbox | Command


def open_firmware(root: Path, *, vcgencmd: tuple[str, ...], ioctl: Ioctl = fcntl.ioctl) -> Firmware:
    """Return a way to the firmware that answers, the mailbox before the program.

    Raises:
        SensorError: If neither answers; its text names both reasons.
    """
    ways: list[Firmware] = [Mailbox(root / name, ioctl=ioctl) for name in DEVICES if (root / name).exists()]
    reasons: list[SensorError] = []
    for way in [*ways, Command(vcgencmd)]:
        try:
            way.ask("get_throttled")
            return way
        except SensorError as error:
            reasons.append(error)
    kind = next((error.kind for error in reasons if error.kind == "forbidden"), reasons[-1].kind)
    raise SensorError(kind, "; ".join(map(str, reasons)))


def encode(command: str) -> bytearray:
    """Return the property message that asks for a command's result."""
    text = command.encode()
    if len(text) + 1 >= TEXT_BYTES:
        raise ValueError(f"a firmware command has {len(text)} bytes but must be shorter than {TEXT_BYTES - 1}")
    size = _HEADER.size + TEXT_BYTES + 4
    message = bytearray(size)
    _HEADER.pack_into(message, 0, size, 0, TAG_GET_GENCMD_RESULT, TEXT_BYTES, 0, 0)
    message[_HEADER.size : _HEADER.size + len(text)] = text
    return message


def decode(message: bytearray, command: str) -> str:
    """Return the text that the firmware wrote into a message; raise SensorError if it did not understand."""
    _, response, _, _, _, status = _HEADER.unpack_from(message)
    if response != _SUCCESS or status != 0:
        raise SensorError("failing", f"the firmware answered {command!r} with {response:#x}, status {status}")
    return bytes(message[_HEADER.size : _HEADER.size + TEXT_BYTES]).split(b"\0", 1)[0].decode(errors="replace")
