"""JSON as text: two spaces, `": "` after keys, in UTF-8."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def on_lines(value: Any, depth: int = 0) -> bytes:
    """The value with every item on a line of its own, `depth` levels deep in a document."""
    try:
        text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    except UnicodeEncodeError:
        text = _escaped(value, indent=2)
    return text.replace(b"\n", b"\n" + b"  " * depth) if depth else text


def on_one_line(value: Any) -> bytes:
    """The value without a line break."""
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=0)
    except UnicodeEncodeError:
        return _escaped(value)


def array_of(items: list[bytes], depth: int) -> bytes:
    """An array of texts, each on a line of its own, `depth` levels deep in a document."""
    if not items:
        return b"[]"
    start = b"\n" + b"  " * (depth + 1)
    return b"[" + start + (b"," + start).join(items) + start[:-2] + b"]"


def object_of(items: dict[str, bytes], depth: int) -> bytes:
    """The same for an object and the texts of its values."""
    start = b"\n" + b"  " * (depth + 1)
    members = (b'"%s": %s' % (key.encode(), text) for key, text in items.items())
    return b"{" + start + (b"," + start).join(members) + start[:-2] + b"}"


def _escaped(value: Any, indent: int | None = None) -> bytes:
    """Half a surrogate pair has no UTF-8, so that it is written as JSON's escape."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace")
