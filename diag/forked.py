"""Work in several processes, on every processor: the process forks, so that nothing that was read is copied.

Threads of the first process do not run in the others: what works there must not wait for any.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from msgspec import Struct

from diag.errors import DiagError

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")
T = TypeVar("T")


def processors() -> int:
    """How many processes are worth it: one where the system cannot fork a process that has libraries loaded."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def at_once(here: Callable[[], A], there: Callable[[], B]) -> tuple[A, B]:
    """What both make, the second in a process of its own. Raises DiagError when that fails."""
    other = _start(there)
    return here(), other.result()


def by_parts(work: Callable[[Sequence[T]], R], items: Sequence[T], parts: int) -> Iterator[R]:
    """What `work` makes of as many parts of the items, in order; this process does the first part itself.

    Raises DiagError when one of the others fails.
    """
    size = -(-len(items) // parts)
    mine, *others = (items[start : start + size] for start in range(0, len(items), size))
    started = [_start(partial(work, part)) for part in others]
    yield work(mine)
    for other in started:
        yield other.result()


class _Other(Struct, Generic[R]):
    """A process that was started for one piece of work."""

    process: BaseProcess
    connection: Connection

    def result(self) -> R:
        result: R
        try:
            result, error = self.connection.recv()
        except EOFError:
            error = "its process was ended"
        self.process.join()
        if error:
            raise DiagError("a part of the work was lost", why=error)
        return result


def _start(work: Callable[[], R]) -> _Other[R]:
    import multiprocessing  # few commands have so much to do

    fork = multiprocessing.get_context("fork")
    sys.stdout.flush()  # what waits there would be written by every process
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_send, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    return _Other(process, ours)


def _send(connection: Connection, work: Callable[[], R]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process says that it was interrupted
    try:
        connection.send((work(), ""))
    except Exception as error:
        connection.send((None, f"{type(error).__name__}: {error}"))
    connection.close()
    os._exit(0)  # without what else is done at the end: a thread may have held a lock of standard error
