"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

TEMPORARY = ".tmp-"
"""What the name of a file that is being written begins with."""


def write_file(path: Path, content: bytes) -> None:
    """Put a file (mode 0600) in place of what may be there. It is on the disk when this returns. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123  a descriptor
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        put_in_place(Path(temporary), path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a file that is on the disk its name, for good. Raises OSError."""
    os.replace(temporary, path)  # noqa: PTH105
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that were given or taken in a folder last. Raises OSError."""
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary(folder: Path) -> None:
    """Remove what writers that died left in a folder; whoever calls this knows that no other is at work."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            path.unlink()
