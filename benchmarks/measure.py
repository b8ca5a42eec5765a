"""One process from start to end: how long, how much processor, how much memory."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took, with all children that it waited for."""

    wall: float
    """Seconds from start to end."""
    cpu: float
    """Seconds of processor, user and system."""
    rss: float
    """Peak resident memory in MiB. The kernel counts the moment before the program is loaded, too, when the process
    still shares its parent's memory: no figure is below the parent's own peak."""
    status: int
    """Exit status; negative for a signal."""
    in_time: bool
    """False when it was ended for taking longer than its limit."""


def measure(
    command: Sequence[str],
    limit: float,
    stdout: Path | None = None,
    stderr: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Usage:
    """Run a command, and kill it and its children when it takes longer than `limit` seconds.

    Output goes into files, or nowhere. The environment is this process's where none is given.
    """
    nowhere = Path(os.devnull)
    with (stdout or nowhere).open("wb") as out, (stderr or nowhere).open("wb") as err:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, start_new_session=True
        )
    in_time = False
    try:
        in_time = _ended(process.pid, limit)
    finally:
        if not in_time:
            # Not reaped, so that the number is still its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode, in_time)


def _ended(pid: int, limit: float) -> bool:
    """Wait until a process is over, at most `limit` seconds; it is not reaped."""
    descriptor = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([descriptor], [], [], limit)
    finally:
        os.close(descriptor)
    return bool(ready)
