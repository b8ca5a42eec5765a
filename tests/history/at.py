"""A module run as a program, with another clock, or killed at one of its steps.

python -m tests.history.at [--clock SECONDS] [--step N --within DIR] MODULE [ARGUMENT...]

A step is whatever the program does to a file below DIR, and each wait for the disk.
"""

from __future__ import annotations

import argparse
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable

STEPS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.listdir", "sqlite3.connect"})
"""Audit events (docs.python.org/3/library/audit_events.html), raised before what they name is done."""


def shift_clock(seconds: float) -> None:
    """Let `time.time` be that much ahead, or behind."""
    real = time.time
    time.time = lambda: real() + seconds


def die_at(step: int, folder: str) -> None:
    """Be killed before a step, counted from 1. There is no way back."""
    left = step
    fsync: Callable[[int], None] = os.fsync

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        if event in STEPS and folder in str(arguments[0]):
            count()

    def counted(descriptor: int) -> None:
        count()
        fsync(descriptor)

    sys.addaudithook(on_event)
    os.fsync = counted  # type: ignore[assignment]


def main() -> None:
    """Run the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clock", type=float, default=0.0)
    parser.add_argument("--step", type=int, default=0)
    parser.add_argument("--within", default="")
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.clock:
        shift_clock(options.clock)
    if options.step:
        die_at(options.step, options.within)
    sys.argv = [options.module, *options.arguments]
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
