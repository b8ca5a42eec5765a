"""The option `-f/--from` and what it stands for: a captured bundle, or this host, captured into memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from diag.model.bundle import Bundle

F = TypeVar("F", bound=Callable[..., Any])
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and how many there are."""

LIVE = "live"


def source_option(function: F) -> F:
    """Add `-f/--from SOURCE` to a command, as its parameter `source`."""
    return click.option(
        "-f",
        "--from",
        "source",
        default=LIVE,
        show_default=True,
        metavar="SOURCE",
        help="A bundle folder or archive (.tar.gz, .tar.zst, .zip), - for an archive on standard input, or live.",
    )(function)


def load_bundle(source: str, labels: frozenset[str] = frozenset()) -> Bundle:
    """Read a bundle, or capture this host (`live`), with a progress bar on a terminal.

    `labels`: keys of container labels that a capture keeps. A folder that is itself called `live` is `./live`. Raises
    BundleError or CaptureError.
    """
    if source == LIVE:
        from diag.capture.live import CaptureOptions, capture_live

        with capture_progress() as progress:
            return capture_live(CaptureOptions(labels=labels), progress)
    from diag.bundle.reader import read_bundle

    return read_bundle(source)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on standard error while something takes its time; nothing where that is not a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def capture_progress() -> Iterator[Progress | None]:
    """A progress bar on standard error; None where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("capturing {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield show
