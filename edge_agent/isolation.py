"""Taking the network away from the process that calls, for good: a model from elsewhere has nobody to talk to. Linux.

A network namespace of its own holds nothing but a loopback interface that is down, whatever way a socket is made.
Where the kernel or a container forbids it, a seccomp filter refuses every socket but local ones.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from pathlib import Path
from typing import Any

NONE = "none"

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SPEC_ALLOW = 1 << 2
_AF_UNIX, _EACCES = 1, 13
_IO_URING_SETUP = 425  # the same everywhere; a ring makes sockets that no filter sees
_X32_BIT = 0x40000000
_ARCHITECTURES = {"x86_64": (0xC000003E, 41, 317), "aarch64": (0xC00000B7, 198, 277)}  # audit's name, socket, seccomp
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | _EACCES


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def cut_network() -> str:
    """Take the network away; return how: `namespace`, `filter`, or `none` with what forbade both.

    To be called while the process has one thread only.
    """
    refusals = []
    for name, cut in (("namespace", enter_empty_namespace), ("filter", refuse_sockets)):
        try:
            cut()
        except OSError as error:
            refusals.append(f"{name}: {error.strerror}")
        else:
            return name
    return f"{NONE} ({', '.join(refusals)})"


def enter_empty_namespace() -> None:
    """Move into a user and a network namespace of our own, as the same user.

    Raises:
        OSError: If the kernel or a container's rules forbid it.
    """
    user, group = os.geteuid(), os.getegid()
    _check(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
    with contextlib.suppress(OSError):  # unmapped ids are only displayed wrongly; files open as before
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def refuse_sockets() -> None:
    """Have the kernel refuse all sockets but local ones from now on, and io_uring, which could make them unseen.

    Raises:
        OSError: If the kernel has no seccomp filters, or this processor's system calls are not known here.
    """
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        raise OSError(0, f"system calls of {platform.machine()} are not known")
    architecture, socket_call, seccomp_call = known
    code = _filter(architecture, socket_call=socket_call)
    program = _Program(len(code), (_Instruction * len(code))(*code))
    libc = _libc()
    libc.syscall.argtypes = [ctypes.c_long, ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(_Program)]
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    # Older x86 kernels slow filtered processes down against speculation unless told not to: that would be measured.
    for flags in (_SPEC_ALLOW, 0):
        status = libc.syscall(seccomp_call, _SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program))
        if status == 0:
            return
    _check(status)


def _filter(architecture: int, *, socket_call: int) -> list[_Instruction]:
    """Return the filter's program; jumps count the instructions to skip."""
    return [
        _Instruction(_LOAD, 0, 0, _ARCH),
        _Instruction(_EQUAL, 0, 7, architecture),  # another architecture's calls have other numbers
        _Instruction(_LOAD, 0, 0, _NUMBER),
        _Instruction(_AT_LEAST, 5, 0, _X32_BIT),
        _Instruction(_EQUAL, 4, 0, _IO_URING_SETUP),
        _Instruction(_EQUAL, 0, 2, socket_call),
        _Instruction(_LOAD, 0, 0, _FIRST_ARGUMENT),
        _Instruction(_EQUAL, 0, 1, _AF_UNIX),
        _Instruction(_RETURN, 0, 0, _ALLOW),
        _Instruction(_RETURN, 0, 0, _REFUSE),
    ]


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _check(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
