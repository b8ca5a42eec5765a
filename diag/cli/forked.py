"""Work in several processes, on every processor: the process forks, so that nothing but results is handed over.

Threads of the first process do not run in the others: what works there must not wait for any.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from diag.errors import DiagError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

R = TypeVar("R")
T = TypeVar("T")


def processors() -> int:
    """How many processes are worth it: one where the system cannot fork a process that has libraries loaded."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def by_parts(work: Callable[[Sequence[T]], R], items: Sequence[T], parts: int) -> Iterator[R]:
    """What `work` makes of as many parts of the items, in order; this process does the first part itself.

    Raises DiagError when one of the others fails.
    """
    size = -(-len(items) // parts)
    mine, *others = (items[start : start + size] for start in range(0, len(items), size))
    started = [_start(partial(work, part)) for part in others]
    yield work(mine)
    for wait in started:
        yield wait()


def _start(work: Callable[[], R]) -> Callable[[], R]:
    """Returns what waits for the result: where no process is to be had, the work itself."""
    import multiprocessing  # few commands have so much to do

    fork = multiprocessing.get_context("fork")
    try:
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=_send, args=(theirs, work), daemon=True)
        process.start()
    except OSError:
        return work
    theirs.close()
    return partial(_result, process, ours)


def _result(process: BaseProcess, connection: Connection) -> Any:
    try:
        result, error = connection.recv()
    except EOFError:
        result, error = None, "its process was ended"
    process.join()
    if error:
        raise DiagError("a part of the work was lost", why=error)
    return result


def _send(connection: Connection, work: Callable[[], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process says that it was interrupted
    try:
        connection.send((work(), ""))
    except Exception as error:
        connection.send((None, f"{type(error).__name__}: {error}"))
    finally:
        os._exit(0)  # what waits in a stream is the first process's to write, and a lost thread may hold its lock
