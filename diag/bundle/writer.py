"""Bundles from memory to disk: the same bundle always gives the same bytes, and a file is there whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from diag.bundle.layout import MANIFEST
from diag.bundle.manifest import encode_manifest
from diag.errors import UsageError
from diag.model.bundle import Bundle

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_NOT_WRITTEN = re.compile(r"\.(gz|zst|xz|bz2|7z|rar|html?|pdf|md|json|jsonl|txt|csv)$", re.IGNORECASE)


def check_target(path: str) -> None:
    """Raise UsageError when a bundle cannot be written there, for whoever wants to know before the work is done."""
    target = Path(path)
    if _archive_writer(target.name) is None:
        if _NOT_WRITTEN.search(target.name):
            raise UsageError(f"{path} is not a form of bundle", hint="Use .tar.gz, .tar.zst, .zip, or a folder")
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise UsageError(f"{path} exists already", hint="Name a new folder, or an archive, which is replaced")
    elif target.is_dir():
        raise UsageError(f"{path} is a folder", hint="Name a file")
    if not target.parent.is_dir():
        raise UsageError(f"the folder {target.parent} does not exist", hint="Make it first")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"no permission to write in {target.parent}", hint="Choose another place with -o")


def write_bundle(bundle: Bundle, path: str) -> None:
    """Write a bundle with its manifest; the suffix picks the form: `.tar.gz`, `.tar.zst`, `.tar`, `.zip`, or a folder.

    Files get mode 0600 and folders 0700, for a host's network state is nobody else's business. Replaces an existing
    archive atomically; an existing folder must be empty. Raises UsageError as :func:`check_target` does, and OSError
    when the disk does not take it.
    """
    check_target(path)
    target = Path(path)
    writer = _archive_writer(target.name)
    if writer is None:
        _write_folder(bundle, target)
    else:
        _replace(target, lambda stream: writer(bundle, stream))


def write_tar_gz(bundle: Bundle, stream: BinaryIO) -> None:
    """Write a bundle as `.tar.gz` to a stream."""
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
        write_tar(bundle, cast(IO[bytes], packed))


def _write_tar_zst(bundle: Bundle, stream: BinaryIO) -> None:
    import zstandard

    with zstandard.ZstdCompressor(level=9).stream_writer(stream, closefd=False) as packed:
        write_tar(bundle, cast(IO[bytes], packed))


def _write_zip(bundle: Bundle, stream: BinaryIO) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _members(bundle):
            info = zipfile.ZipInfo(name, _ZIP_EPOCH)
            info.create_system = 3  # Unix, whatever system this is, for the same bytes everywhere
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100600 << 16
            archive.writestr(info, content)


def _archive_writer(name: str) -> Callable[[Bundle, BinaryIO], None] | None:
    lowered = name.lower()
    if lowered.endswith((".tar.gz", ".tgz")):
        return write_tar_gz
    if lowered.endswith((".tar.zst", ".tzst")):
        return _write_tar_zst
    if lowered.endswith(".tar"):
        return write_tar
    if lowered.endswith(".zip"):
        return _write_zip
    return None


def _members(bundle: Bundle, *, checksums: bool = True) -> Iterator[tuple[str, bytes]]:
    """Every file below one top folder, so that unpacking makes one folder and not many."""
    top = "diag-" + (re.sub(r"[^A-Za-z0-9_.-]+", "_", bundle.host)[:64] or "bundle")
    yield f"{top}/{MANIFEST}", encode_manifest(bundle, checksums=checksums)
    for path, content in sorted(bundle.files.items()):
        yield f"{top}/{path}", content


def write_tar(bundle: Bundle, stream: IO[bytes], *, checksums: bool = True) -> None:
    """Write a bundle as `.tar` to a stream; without checksums for whoever has his own, as they do not compress."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, content in _members(bundle, checksums=checksums):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o600
            archive.addfile(info, io.BytesIO(content))


def _replace(target: Path, write: Callable[[BinaryIO], None]) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123  a descriptor
            write(stream)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write_folder(bundle: Bundle, target: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))  # mode 0700
    try:
        for path, content in [(MANIFEST, encode_manifest(bundle)), *bundle.files.items()]:
            file = temporary / path
            for folder in reversed(file.relative_to(temporary).parents[:-1]):
                (temporary / folder).mkdir(mode=0o700, exist_ok=True)
            file.touch(mode=0o600)
            file.write_bytes(content)
        if target.is_dir():
            target.rmdir()
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
