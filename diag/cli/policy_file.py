"""Policies and Compose files from disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diag.errors import DiagError

if TYPE_CHECKING:
    from diag.policy.model import Policy

_MAX_BYTES = 4 << 20
"""What is larger is refused by the readers."""


def read_policy(path: str) -> Policy:
    """A policy. Raises DiagError that names every mistake in it."""
    from diag.policy.loader import load_policy

    return load_policy(read_text(path), path)


def read_text(path: str) -> str:
    """A file's text; `-` is standard input. Raises DiagError."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_MAX_BYTES)
        else:
            with Path(path).open("rb") as file:
                data = file.read(_MAX_BYTES)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DiagError(f"cannot read {path}", why=f"it is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise DiagError(f"cannot read {path}", why=error.strerror or str(error)) from None
