r"""One snapshot as a file that describes itself and checks itself.

::

    0      4  magic of a Zstandard skippable frame, 5D 2A 4D 18
    4      4  N, length of the rest of this frame, little endian
    8     32  SHA-256 of everything that follows
    40  N-32  header, JSON
    8+N       one Zstandard frame: the bundle as a tar, its manifest without the checksums of the files

Decompressors pass over the first frame, so that a snapshot that stands alone is an ordinary `.tar.zst` bundle. The others
are packed with the tar of one that stands alone as dictionary (raw content): `zstd -d --patch-from=BASE.tar` unpacks them.
Format: RFC 8878, 3.1.2 "Skippable Frames", 5 "Dictionary".
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from typing import Any, BinaryIO, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from diag.bundle.archive import Limits
from diag.bundle.reader import read_archive
from diag.bundle.writer import write_tar
from diag.errors import BundleError
from diag.model.bundle import Bundle
from diag.model.history import Record
from diag.model.provenance import Gap

VERSION = 1
"""Of the header."""
_PREFIX = struct.Struct("<II32s")
_MAGIC = 0x184D2A5D
_MAX_HEADER = 16 << 20
_LEVEL = 12
"""Lower ones lose sight of a base of some 30 MiB; higher ones take ten times as long for a tenth less."""
_WINDOW_LOG = 27
_WINDOW = 1 << _WINDOW_LOG
"""Bytes of base and content that a difference can span; also what a foreign file may make a reader allocate."""


class DamagedSnapshotError(Exception):
    """The file is not what was written. The text says how that shows."""


class NewerSnapshotError(Exception):
    """Another release wrote the file."""


class Base(Struct, frozen=True):
    """The snapshot whose tar is the dictionary."""

    id: int
    digest: str
    """SHA-256 of its file's header and frame, in hex."""


class Header(Struct, frozen=True):
    """What a file says of itself."""

    version: int
    id: int
    record: Record
    size: int
    """Bytes of the tar."""
    sha256: str
    """Of the tar, in hex."""
    base: Base | None = None
    gaps: tuple[Gap, ...] = ()
    """What reading the bundle found wrong when it was first read."""


class Opened(Struct, frozen=True):
    """A file whose checksum is right."""

    header: Header
    digest: str
    """SHA-256 of header and frame, in hex."""
    frame: bytes
    size: int
    """Bytes of the file."""


class Standing(Struct, frozen=True):
    """A snapshot that stands alone, unpacked: what others can be differences to."""

    base: Base
    tar: bytes


def tar_of(bundle: Bundle) -> bytes:
    """The bytes that are stored: the same for equal bundles."""
    stream = io.BytesIO()
    write_tar(bundle, stream, checksums=False)
    return stream.getvalue()


def fits(base: Standing, tar: bytes) -> bool:
    """Whether differences between these two can be told."""
    return len(base.tar) + len(tar) <= _WINDOW


def pack(number: int, record: Record, tar: bytes, gaps: tuple[Gap, ...], base: Standing | None = None) -> bytes:
    """The file of a snapshot."""
    import zstandard

    header = Header(
        VERSION, number, record, len(tar), hashlib.sha256(tar).hexdigest(), base.base if base else None, gaps
    )
    text = _json(header)
    options: dict[str, Any] = {"write_checksum": True}
    if base:
        size = len(base.tar) + len(tar)
        options["window_log"] = max(10, min(_WINDOW_LOG, size.bit_length()))
    parameters = zstandard.ZstdCompressionParameters.from_level(_LEVEL, source_size=len(tar), **options)
    frame = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(base)).compress(tar)
    digest = hashlib.sha256(text)
    digest.update(frame)
    return _PREFIX.pack(_MAGIC, 32 + len(text), digest.digest()) + text + frame


def _json(header: Header) -> bytes:
    """Halves of surrogate pairs, which a host's texts may hold, have no UTF-8 and are replaced."""
    try:
        return msgspec.json.encode(header, enc_hook=str)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(header, enc_hook=str)
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace")


def open_file(content: bytes) -> Opened:
    """Check a file. Raises DamagedSnapshotError, NewerSnapshotError."""
    if len(content) < _PREFIX.size:
        raise DamagedSnapshotError("its beginning is missing" if content else "it is empty")
    magic, length, digest = _PREFIX.unpack_from(content)
    end = 8 + length
    if magic != _MAGIC or not _PREFIX.size <= end <= min(len(content), _MAX_HEADER):
        raise DamagedSnapshotError("its beginning is damaged")
    if hashlib.sha256(memoryview(content)[_PREFIX.size :]).digest() != digest:
        raise DamagedSnapshotError("its SHA-256 is not the one that it was written with")
    return Opened(_header(content[_PREFIX.size : end]), digest.hex(), content[end:], len(content))


def _header(text: bytes) -> Header:
    try:
        version = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("version", msgspec.Raw())
        if msgspec.json.decode(version, type=int) > VERSION:
            raise NewerSnapshotError
        header = msgspec.json.decode(text, type=Header)
    except (msgspec.MsgspecError, RecursionError):
        raise DamagedSnapshotError("its header makes no sense") from None
    if header.id < 1 or (header.base is not None and not 0 < header.base.id < header.id):
        raise DamagedSnapshotError("its header contradicts itself")
    return header


def unpack(opened: Opened, base: Standing | None, limits: Limits = Limits()) -> bytes:  # noqa: B008  frozen
    """The tar of a snapshot, given its base if it has one. Raises DamagedSnapshotError."""
    import zstandard

    header = opened.header
    if header.base != (base.base if base else None):
        raise DamagedSnapshotError("the snapshot that it holds the differences to is another one")
    if header.size > limits.total:
        raise DamagedSnapshotError(f"it unpacks to more than {limits.total >> 20} MiB")
    unpacker = zstandard.ZstdDecompressor(dict_data=_dictionary(base), max_window_size=_WINDOW)
    try:
        with unpacker.stream_reader(opened.frame) as stream:
            tar = stream.read(header.size + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise DamagedSnapshotError(f"it cannot be unpacked ({error})") from None
    if len(tar) != header.size or hashlib.sha256(tar).hexdigest() != header.sha256:
        raise DamagedSnapshotError("what it unpacks to is not what was stored")
    return tar


def standing(opened: Opened) -> Standing:
    """A snapshot as base of others. Raises DamagedSnapshotError, also for one that has a base itself."""
    if opened.header.base is not None:
        raise DamagedSnapshotError("a base has a base itself")
    return Standing(Base(opened.header.id, opened.digest), unpack(opened, None))


def bundle_of(opened: Opened, tar: bytes, source: str) -> Bundle:
    """The bundle in a tar, read as a foreign archive is. Raises DamagedSnapshotError."""
    try:
        bundle = read_archive(source, cast(BinaryIO, io.BytesIO(tar)))
    except BundleError as error:
        raise DamagedSnapshotError(str(error)) from None
    return replace(bundle, gaps=(*opened.header.gaps, *bundle.gaps))


def _dictionary(base: Standing | None) -> Any:
    import zstandard

    if base is None:
        return None
    return zstandard.ZstdCompressionDict(base.tar, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
