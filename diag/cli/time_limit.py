"""A limit of time for a whole command, whatever hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from diag.cli import FAILED
from diag.errors import DiagError

_GRACE = 10.0
"""Seconds to clean up in; what does not even listen to that is ended hard."""


class _OutOfTime(BaseException):
    """Not an Exception: nothing on the way takes it for an error of its own."""


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raise DiagError after so many seconds; end the process :data:`_GRACE` seconds later if that did not help.

    Where there is no SIGALRM (Windows), and outside of the main thread, the process is ended only.
    """
    text = f"{what} took longer than {seconds:g} s"
    ended = threading.Timer(seconds + _GRACE, _end, (text,))
    ended.daemon = True
    ended.start()
    listens = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, _raise) if listens else None
    try:
        if listens:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    except _OutOfTime:
        raise DiagError(text, hint="Something hangs, or --timeout is too short for this host") from None
    finally:
        if listens:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        ended.cancel()


def _raise(_number: int, _frame: FrameType | None) -> None:
    raise _OutOfTime


def _end(text: str) -> None:
    print(f"diag: {text}, and would not end", file=sys.stderr, flush=True)
    os._exit(FAILED)
