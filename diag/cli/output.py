"""Files that a command writes: whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from diag.errors import DiagError

_BUFFER = 1 << 20
"""Bytes that are written at once."""


def write_file(name: str | Path, parts: Iterable[bytes], mode: int | None = None) -> None:
    """Write a file in one step: whoever reads it sees the old one until the new one is complete.

    `mode` are its permissions; without, those that the umask leaves. Links are followed, and what is no regular file,
    such as a pipe or `/dev/stdout`, is written to. Raises DiagError.
    """
    path = Path(name)
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            with path.open("wb", buffering=_BUFFER) as file:
                file.writelines(parts)
        else:
            _replace(path, parts, mode)
    except OSError as error:
        raise DiagError(f"cannot write {name}", why=error.strerror or str(error)) from error


def _replace(path: Path, parts: Iterable[bytes], mode: int | None) -> None:
    """By way of a file beside it that is new: in a folder of everybody's, one that is there may be anybody's."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    try:
        with partial.open("xb", buffering=_BUFFER) as file:
            file.writelines(parts)
            if mode is not None:
                # The open file, whatever has its name by now; Windows knows names only.
                os.chmod(file.fileno() if os.chmod in os.supports_fd else partial, mode)  # noqa: PTH101
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
