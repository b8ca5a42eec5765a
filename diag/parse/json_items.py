"""Arrays of JSON objects, element by element: what `ip -j`, `bridge -j` and `docker inspect` print.

Every element knows the line it starts on, and a file that is cut in half still gives the elements before the cut.

>>> for item in json_items(b'[{"a": 1},\\n {"a": 2}, {"a"', "host/ip-addr.json").value: print(item)
Item(line=1, body={'a': 1})
Item(line=2, body={'a': 2})
>>> print(json_items(b'[{"a": 1}, {"a"', "host/ip-addr.json").gaps[0])
host/ip-addr.json:1: it is no JSON from here on, what comes after is lost
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from diag.model.provenance import Gap, GapKind
from diag.parse.result import Parsed


@dataclass(frozen=True, slots=True)
class Item:
    """One object of the array and the 1-based line where it starts."""

    line: int
    body: dict[str, Any]


def decode(data: bytes) -> str:
    """Bytes of any origin as text: a byte order mark is dropped, what is no UTF-8 is replaced."""
    return data.decode("utf-8-sig", errors="replace")


def json_items(data: bytes, file: str, affects: str = "") -> Parsed[tuple[Item, ...]]:
    """The objects of a top-level array; a lone object counts as an array of one. Never raises."""
    text = decode(data)
    decoder = json.JSONDecoder()
    position = _skip(text, 0)
    if position >= len(text):
        return Parsed((), () if not text else (Gap(GapKind.UNREADABLE, file, 0, "the file is empty", affects),))
    in_array = text[position] == "["
    if in_array:
        position += 1
    items: list[Item] = []
    gaps: list[Gap] = []
    line, counted = 1, 0
    while True:
        position = _skip(text, position)
        line += text.count("\n", counted, position)
        counted = position
        if position >= len(text):
            if in_array:
                gaps.append(Gap(GapKind.UNREADABLE, file, line, "the file ends before its list does", affects))
            break
        if text[position] == "]":
            break
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            gaps.append(
                Gap(GapKind.UNREADABLE, file, line, "it is no JSON from here on, what comes after is lost", affects)
            )
            break
        if isinstance(value, dict):
            items.append(Item(line, value))
        elif value is not None:
            gaps.append(Gap(GapKind.UNREADABLE, file, line, f"an object was expected, not {type(value).__name__}"))
        if not in_array:
            break
    return Parsed(tuple(items), tuple(gaps))


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n,":
        position += 1
    return position


def text_of(body: dict[str, Any], key: str) -> str:
    """A string field; empty when it is missing or of another type."""
    value = body.get(key)
    return value if isinstance(value, str) else ""


def number_of(body: dict[str, Any], key: str, default: int = 0) -> int:
    """An integer field, also where it is written as text; the default for anything else or out of range."""
    value = body.get(key)
    if isinstance(value, bool):
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else default


def list_of(body: dict[str, Any], key: str) -> list[Any]:
    """A list field; empty when it is missing or of another type."""
    value = body.get(key)
    return value if isinstance(value, list) else []


def dict_of(body: dict[str, Any], key: str) -> dict[str, Any]:
    """An object field; empty when it is missing or of another type."""
    value = body.get(key)
    return value if isinstance(value, dict) else {}
