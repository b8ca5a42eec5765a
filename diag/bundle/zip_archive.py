"""Zip archives, also those that have lost their directory, read into memory within the limits of an archive."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

from diag.bundle.archive import CHUNK, Budget, DamagedArchiveError, Limits, Member, MemberKind
from diag.errors import BundleError
from diag.model.message import say

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    OSError,
    OverflowError,
    ValueError,
    IndexError,
    KeyError,
    RuntimeError,  # encrypted, or a compression method that is not read
    MemoryError,
)
"""What `zipfile` raises on bad input. UnicodeError is a ValueError, NotImplementedError a RuntimeError."""

_STORED, _DEFLATED = 0, 8
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC = b"PK\x03\x04"
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800


def read_zip(content: bytes, budget: Budget, limits: Limits) -> Iterator[Member]:
    """The members of a zip archive in the order of its directory, or of its data when it has lost its directory."""
    if content.count(b"PK\x01\x02") > limits.members:
        raise BundleError(f"the archive has more than {limits.members} members", why="refused as unsafe")
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _ZIP_ERRORS:
        yield from _read_zip_data(content, budget, limits)
        return
    for info in archive.infolist():
        yield _zip_member(archive, info, budget, limits)


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget, limits: Limits) -> Member:
    name = info.orig_filename
    mode = info.external_attr >> 16 if info.create_system == 3 else 0
    if stat.S_ISLNK(mode):
        return Member(name, MemberKind.LINK)
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return Member(name, MemberKind.SPECIAL)
    if name.endswith("/") or stat.S_ISDIR(mode):
        return Member(name, MemberKind.FOLDER)
    if info.file_size > limits.file:
        return Member(name, MemberKind.OVERSIZED)
    if info.compress_type not in (_STORED, _DEFLATED):
        return Member(name, MemberKind.DAMAGED)
    parts = []
    try:
        with archive.open(info) as stream:
            while chunk := stream.read(CHUNK):
                budget.spend(len(chunk))
                parts.append(chunk)
    except _ZIP_ERRORS:
        return Member(name, MemberKind.DAMAGED)
    return Member(name, MemberKind.FILE, b"".join(parts))


def _read_zip_data(content: bytes, budget: Budget, limits: Limits) -> Iterator[Member]:
    """The members by their local headers, for an archive whose directory (at its end) is missing."""
    at = 0
    while content.startswith(_LOCAL_MAGIC, at) and at + _LOCAL.size <= len(content):
        _, _, flags, method, _, _, crc, packed, size, name_len, extra_len = _LOCAL.unpack_from(content, at)
        start = at + _LOCAL.size + name_len + extra_len
        raw_name = content[at + _LOCAL.size : at + _LOCAL.size + name_len]
        name = raw_name.decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        if start > len(content) or flags & _ENCRYPTED or size > limits.file:
            break
        data, end = _zip_data(content, start, flags, method, packed, limits)
        if data is None or (not flags & _DESCRIPTOR and zlib.crc32(data) != crc):
            raise DamagedArchiveError(
                say("the zip archive ends in the middle of {name}, or is damaged there", name=repr(name))
            )
        budget.spend(len(data))
        yield Member(name, MemberKind.FOLDER if name.endswith("/") else MemberKind.FILE, data)
        at = end
    raise DamagedArchiveError(say("the zip archive has no directory: its end is missing"))


def _zip_data(
    content: bytes, start: int, flags: int, method: int, packed: int, limits: Limits
) -> tuple[bytes | None, int]:
    """The data of a member and where the next one starts; None when it cannot be had."""
    if method == _STORED and not flags & _DESCRIPTOR:
        end = start + packed
        return (content[start:end] if end <= len(content) else None), end
    if method != _DEFLATED:
        return None, start
    inflate = zlib.decompressobj(wbits=-15)
    try:
        data = inflate.decompress(memoryview(content)[start:], limits.file)
    except zlib.error:
        return None, start
    if not inflate.eof:
        return None, start
    end = len(content) - len(inflate.unused_data)
    if flags & _DESCRIPTOR:
        end += 16 if content.startswith(b"PK\x07\x08", end) else 12
    return data, end
