"""Archives as streams of members, read defensively and only in memory.

The standard library's `tarfile` follows every extension of the format and raises whatever its helpers raise; here the
input is hostile, so the few parts of the format that a bundle needs are read directly: ustar headers, GNU long names
and PAX `path` and `size` records. Sparse files and everything else that is not a plain file is reported by its kind and
not read. Format: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import Enum
from typing import IO, BinaryIO, Protocol, cast

from msgspec import Struct

from diag.errors import BundleError
from diag.model.message import say

_MIB = 1 << 20
CHUNK = 1 << 16
_BLOCK = 512


class Limits(Struct, frozen=True):
    """What an archive may cost before it is refused; sizes in bytes."""

    archive: int = 512 * _MIB
    """The compressed file itself."""
    total: int = 512 * _MIB
    """Everything unpacked, files that are not part of a bundle included."""
    file: int = 128 * _MIB
    """One file; a larger one is left out."""
    members: int = 200_000
    ratio: int = 400
    """Unpacked to packed size, looked at once `ratio_from` bytes are unpacked; real bundles stay below 100."""
    ratio_from: int = 64 * _MIB
    name: int = 1024
    """Characters of a member's name."""


class MemberKind(Enum):
    """What an entry is, as a clause."""

    FILE = say("it is a file")
    FOLDER = say("it is a folder")
    LINK = say("it is a link")
    SPECIAL = say("it is a device, a pipe or another special file")
    OVERSIZED = say("it is too large")
    DAMAGED = say("it is damaged")


class Member(Struct, frozen=True):
    """One entry of an archive."""

    name: str
    """As stored; not checked for anything."""
    kind: MemberKind
    content: bytes = b""


class DamagedArchiveError(Exception):
    """Reading cannot go on; what was yielded before stands. The text says what is wrong."""


class Readable(Protocol):
    """The part of a binary file that is used here."""

    def read(self, size: int, /) -> bytes: ...


class Packed:
    """The compressed stream, counted and bounded."""

    def __init__(self, stream: Readable, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self.count = 0

    def read(self, size: int, /) -> bytes:
        try:
            data = self._stream.read(size)
        except OSError as error:
            raise DamagedArchiveError(say("reading failed: {why}", why=error.strerror or error)) from None
        self.count += len(data)
        if self.count > self._limits.archive:
            raise BundleError(f"the archive is larger than {_size(self._limits.archive)}", why="refused as unsafe")
        return data


class Budget:
    """How much an archive has unpacked to, bounded."""

    def __init__(self, packed: Packed, limits: Limits) -> None:
        self._packed = packed
        self._limits = limits
        self._spent = 0

    def spend(self, size: int) -> None:
        """Account for `size` unpacked bytes. Raises BundleError when that is more than is allowed."""
        self._spent += size
        if self._spent > self._limits.total:
            raise BundleError(f"the archive unpacks to more than {_size(self._limits.total)}", why="refused as unsafe")
        if self._spent > self._limits.ratio_from and self._spent > self._limits.ratio * max(self._packed.count, 1):
            why = f"it unpacks to more than {self._limits.ratio} times its size"
            raise BundleError("the archive is refused as unsafe", why=why)


class Unpacked:
    """The unpacked bytes of a stream, counted and bounded against the packed ones."""

    def __init__(self, chunks: Iterator[bytes], budget: Budget) -> None:
        self._chunks = chunks
        self._budget = budget
        self._buffer = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. Raises DamagedArchiveError, or BundleError at a limit."""
        if self._at + size <= len(self._buffer):
            self._at += size
            return self._buffer[self._at - size : self._at]
        parts = [self._buffer[self._at :]]
        missing = size - len(parts[0])
        self._buffer, self._at = b"", 0
        while missing > 0:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._budget.spend(len(chunk))
            if len(chunk) > missing:
                self._buffer, self._at = chunk, missing
                chunk = chunk[:missing]
            parts.append(chunk)
            missing -= len(chunk)
        return b"".join(parts)

    def skip(self, size: int) -> int:
        """Pass over `size` bytes; returns how many there were."""
        left = size
        while left > 0 and (data := self.read(min(left, CHUNK))):
            left -= len(data)
        return size - left


def _size(count: int) -> str:
    return f"{count // _MIB} MiB" if count >= _MIB else f"{count} bytes"


# Decompression


def gunzip(packed: Packed, head: bytes) -> Iterator[bytes]:
    """Unpack gzip, `head` being what was read of it already. Raises DamagedArchiveError after the last good chunk."""
    data = head
    while data:
        unzip = zlib.decompressobj(wbits=31)
        while not unzip.eof:
            data = data or packed.read(CHUNK)
            if not data:
                raise DamagedArchiveError(say("the gzip stream ends early"))
            try:
                chunk = unzip.decompress(data, CHUNK)
            except zlib.error as error:
                raise DamagedArchiveError(say("the gzip stream is damaged ({error})", error=error)) from None
            data = unzip.unconsumed_tail
            if chunk:
                yield chunk
        data = (unzip.unused_data or packed.read(CHUNK)).lstrip(b"\0")


def unzstd(packed: Packed, head: bytes) -> Iterator[bytes]:
    """Unpack Zstandard, as :func:`gunzip` does. A stream that ends early just ends: the tar in it shows that."""
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    source = cast(IO[bytes], _Rejoined(head, packed))
    stream = unpacker.stream_reader(source, read_size=CHUNK, read_across_frames=True)
    while True:
        try:
            chunk = stream.read(CHUNK)
        except (zstandard.ZstdError, MemoryError) as error:
            raise DamagedArchiveError(say("the Zstandard stream is damaged ({error})", error=error)) from None
        if not chunk:
            return
        yield chunk


def plain(packed: Packed, head: bytes) -> Iterator[bytes]:
    """The stream as it is."""
    while head:
        yield head
        head = packed.read(CHUNK)


class _Rejoined:
    """The bytes that detection took, and the rest."""

    def __init__(self, head: bytes, rest: Packed) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._rest.read(size)


# tar

_FOLDER, _LINKS, _LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"5", b"12", b"L", b"K", b"x", b"g"
_PLAIN = (b"0", b"\0", b"7")
_MAX_EXTENSION = _MIB
"""Bytes of a long name or a PAX header."""


def looks_like_tar(head: bytes) -> bool:
    """Whether the first block is a tar header, by its checksum."""
    return len(head) >= _BLOCK and _checksum_ok(head[:_BLOCK])


def read_tar(stream: Unpacked, limits: Limits) -> Iterator[Member]:
    """The members of a tar stream in order.

    Raises DamagedArchiveError where reading cannot go on, and at the end when the end mark is missing.
    """
    name, size = b"", -1
    while True:
        header = stream.read(_BLOCK)
        if header and not any(header):
            # What follows is padding; reading it lets the decompressor check its own checksum.
            while stream.read(CHUNK):
                pass
            return
        if not header:
            raise DamagedArchiveError(say("the archive has no end mark: its end is missing"))
        if len(header) < _BLOCK:
            raise DamagedArchiveError(say("the archive ends in the middle of a header"))
        if not _checksum_ok(header):
            raise DamagedArchiveError(say("a tar header is damaged"))
        kind = header[156:157]
        stored = _number(header[124:136])
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            extension = _read_extension(stream, stored)
            if kind == _LONG_NAME:
                name = extension.rstrip(b"\0")
            elif kind == _PAX:
                name, size = _pax(extension, name, size)
            continue
        full = name or _ustar_name(header)
        yield _member(stream, full, kind, stored if size < 0 else size, limits)
        name, size = b"", -1


def _member(stream: Unpacked, name: bytes, kind: bytes, size: int, limits: Limits) -> Member:
    text = name.decode("utf-8", "surrogateescape")
    if kind in _LINKS or kind in (b"3", b"4", b"6"):
        # A hard link's size may be that of its target, whose bytes are not repeated.
        return Member(text, MemberKind.LINK if kind in _LINKS else MemberKind.SPECIAL)
    if kind == _FOLDER or (kind in _PLAIN and name.endswith(b"/")):
        _skip_padded(stream, size)
        return Member(text, MemberKind.FOLDER)
    if kind not in _PLAIN or size > limits.file:
        _skip_padded(stream, size)
        return Member(text, MemberKind.OVERSIZED if kind in _PLAIN else MemberKind.SPECIAL)
    content = stream.read(size)
    padding = -size % _BLOCK
    if len(content) < size or len(stream.read(padding)) < padding:
        raise DamagedArchiveError(say("the archive ends in the middle of {text}", text=repr(text)))
    return Member(text, MemberKind.FILE, content)


def _skip_padded(stream: Unpacked, size: int) -> None:
    padded = size + -size % _BLOCK
    if stream.skip(padded) < padded:
        raise DamagedArchiveError(say("the archive ends in the middle of a member"))


def _read_extension(stream: Unpacked, size: int) -> bytes:
    if size > _MAX_EXTENSION:
        raise DamagedArchiveError(say("an extended tar header is too large"))
    padded = size + -size % _BLOCK
    content = stream.read(padded)
    if len(content) < padded:
        raise DamagedArchiveError(say("the archive ends in the middle of a header"))
    return content[:size]


def _pax(content: bytes, name: bytes, size: int) -> tuple[bytes, int]:
    """`path` and `size` of PAX records, `LENGTH KEY=VALUE\\n` each; the values given where there is none."""
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 12)
        length = content[at:space] if space > 0 else b""
        if not length.isdigit() or int(length) <= space - at or at + int(length) > len(content):
            raise DamagedArchiveError(say("an extended tar header is damaged"))
        key, _, value = content[space + 1 : at + int(length) - 1].partition(b"=")
        if key == b"path":
            name = value
        elif key == b"size" and value.isdigit() and len(value) < 20:
            size = int(value)
        elif key.startswith(b"GNU.sparse."):
            raise DamagedArchiveError(say("it holds a sparse file, which is not read"))
        at += int(length)
    return name, size


def _ustar_name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _number(field: bytes) -> int:
    """A size: octal digits, or base 256 for large ones. Raises DamagedArchiveError."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not all(0x30 <= d <= 0x37 for d in digits):
        raise DamagedArchiveError(say("a tar header has an impossible size"))
    return int(digits, 8)


def _checksum_ok(header: bytes) -> bool:
    stored = header[148:156].split(b"\0", 1)[0].strip()
    if not stored or not all(0x30 <= d <= 0x37 for d in stored):
        return False
    return int(stored, 8) == sum(header[:148]) + sum(header[156:]) + 8 * 0x20


# Streams


def slurp(packed: Packed, head: bytes) -> bytes:
    """The whole packed stream, for zip, which is read from its end."""
    return b"".join([head, *iter(lambda: packed.read(CHUNK), b"")])


def open_stream(path: str) -> BinaryIO:
    """Open an archive. Raises BundleError."""
    try:
        return open(path, "rb")  # noqa: PTH123  the caller closes it
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read {path}", why=getattr(error, "strerror", None) or str(error)) from None
