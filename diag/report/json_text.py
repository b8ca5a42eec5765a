"""JSON as text: two spaces, `": "` after keys, in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(enc_hook=str)
"""Messages are texts to JSON."""


def on_lines(value: Any, depth: int = 0) -> bytes:
    """The value with every item on a line of its own, `depth` levels deep in a document."""
    try:
        text = msgspec.json.format(_encoder.encode(value), indent=2)
    except UnicodeEncodeError:
        text = _escaped(value, indent=2)
    return text.replace(b"\n", b"\n" + b"  " * depth) if depth else text


def on_one_line(value: Any) -> bytes:
    """The value without a line break."""
    try:
        return msgspec.json.format(_encoder.encode(value), indent=0)
    except UnicodeEncodeError:
        return _escaped(value)


def lines_of(items: Iterable[bytes], depth: int) -> bytes:
    """An array of texts, each on a line of its own, `depth` levels deep in a document."""
    start = b"\n" + b"  " * (depth + 1)
    text = (b"," + start).join(items)
    return b"[" + start + text + start[:-2] + b"]" if text else b"[]"


def members_of(members: Mapping[str, bytes], depth: int) -> bytes:
    """The same for an object of at least one member."""
    start = b"\n" + b"  " * (depth + 1)
    text = (b"," + start).join([b'"%s": %s' % (key.encode(), value) for key, value in members.items()])
    return b"{" + start + text + start[:-2] + b"}"


def array_of(items: Iterable[Iterable[bytes]], depth: int) -> Iterator[bytes]:
    """An array part by part, of items that come in parts."""
    start = b"\n" + b"  " * (depth + 1)
    before = b"[" + start
    for item in items:
        yield before
        yield from item
        before = b"," + start
    yield start[:-2] + b"]" if before.startswith(b",") else b"[]"


def object_of(members: Iterable[tuple[str, Iterable[bytes]]], depth: int) -> Iterator[bytes]:
    """The same for an object of at least one member; the parts are those of its values."""
    start = b"\n" + b"  " * (depth + 1)
    before = b"{" + start
    for key, value in members:
        yield b'%s"%s": ' % (before, key.encode())
        yield from value
        before = b"," + start
    yield start[:-2] + b"}"


def _escaped(value: Any, indent: int | None = None) -> bytes:
    """Half a surrogate pair has no UTF-8, so that it is written as JSON's escape."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace")
