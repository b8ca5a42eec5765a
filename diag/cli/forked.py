"""One kind of work on many items, on every processor: the process forks, so that nothing that was read is copied."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import TypeVar

from diag.errors import DiagError

T = TypeVar("T")
R = TypeVar("R")


def processors() -> int:
    """How many processes are worth it: one where the system cannot fork a process that has libraries loaded."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def by_parts(work: Callable[[Sequence[T]], R], items: Sequence[T], parts: int) -> Iterator[R]:
    """What `work` makes of as many parts of the items, in order; this process does the first part itself.

    Raises DiagError when one of the others fails. No threads may run, for none of them would in the other processes.
    """
    import multiprocessing  # few commands have so much to do

    size = -(-len(items) // parts)
    mine, *others = (items[start : start + size] for start in range(0, len(items), size))
    fork = multiprocessing.get_context("fork")
    sys.stdout.flush()  # what waits there would be written by every process
    started = []
    for part in others:
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=_send, args=(theirs, work, part), daemon=True)
        process.start()
        theirs.close()
        started.append((process, ours))
    yield work(mine)
    for process, ours in started:
        try:
            result, error = ours.recv()
        except EOFError:
            result, error = None, "its process was ended"
        process.join()
        if error:
            raise DiagError("a part of the work was lost", why=error)
        yield result


def _send(connection: Connection, work: Callable[[Sequence[T]], R], items: Sequence[T]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process says that it was interrupted
    try:
        connection.send((work(items), ""))
    except Exception as error:
        connection.send((None, f"{type(error).__name__}: {error}"))
