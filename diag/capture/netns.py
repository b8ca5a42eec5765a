"""Entering network namespaces, `setns(2)`. Only ever the calling thread enters; see :mod:`diag.capture.steps`."""

from __future__ import annotations

import ctypes
import errno
import os

from diag.capture.steps import UnavailableError

_CLONE_NEWNET = 0x40000000
_NO_PERMISSION = "no permission to enter its network namespace: run as root"


def enter(path: str) -> None:
    """Make `path`, e.g. `/proc/4711/ns/net`, the calling thread's network namespace. Raises UnavailableError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UnavailableError("its network namespace is gone") from None
    except PermissionError:
        raise UnavailableError(_NO_PERMISSION) from None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            permitted = number not in (errno.EPERM, errno.EACCES)
            raise UnavailableError(f"cannot enter {path}: {os.strerror(number)}" if permitted else _NO_PERMISSION)
    finally:
        os.close(descriptor)


def identity(path: str) -> tuple[int, int] | None:
    """What tells one namespace from another; None when `path` may not be looked at."""
    try:
        status = os.stat(path)  # noqa: PTH116  a magic link
    except OSError:
        return None
    return status.st_dev, status.st_ino


OWN = "/proc/self/ns/net"
"""The namespace that the process was started in: its main thread never leaves it."""
