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
from collections.abc import Iterator
from enum import Enum, auto
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from diag.model.message import say
from diag.model.provenance import Gap, GapKind
from diag.parse.result import Parsed


class Item(Struct, frozen=True):
    """One object of the array and the 1-based line where it starts."""

    line: int
    body: dict[str, Any]


class Ending(Enum):
    """How reading an array ended."""

    CLOSED = auto()
    CUT = auto()
    """The file ends first."""
    BROKEN = auto()
    """What follows is no JSON."""


class Elements(Struct, frozen=True):
    """As much of an array as could be read."""

    values: tuple[tuple[int, Any], ...]
    """Each with the 1-based line where it starts."""
    line: int
    """Where reading ended."""
    ending: Ending
    error: str = ""
    """Name of the exception for BROKEN."""


_DECODER = json.JSONDecoder()
_ARRAY = Decoder(list)
_OBJECTS = Decoder(list[dict[str, Any]])
_PIECES = Decoder(list[Raw])
_VALUE = Decoder()
"""These take less than :data:`_DECODER`, neither NaN nor half of a surrogate pair, and give the same for what they take."""
MOST_DIGITS = 4300
"""A number of so many is none for Python."""
_BOM = b"\xef\xbb\xbf"


def decode(data: bytes) -> str:
    """Bytes of any origin as text: a byte order mark is dropped, what is no UTF-8 is replaced."""
    return data.removeprefix(_BOM).decode("utf-8", "replace")


def read_array(text: str, start: int) -> Elements:
    """The array whose `[` is at `start`; commas may be missing or too many. Never raises."""
    line = 1 + text.count("\n", 0, start)
    try:
        return _read_at_once(text[start : text.rfind("]") + 1], line)
    except (ValueError, RecursionError):  # what is damaged, or laxer than strict JSON, is read piece by piece
        return read_one_by_one(text, start, line)


def _read_at_once(array: str, line: int) -> Elements:
    """An array and nothing else, which begins in a line. Raises ValueError or RecursionError unless it is strict JSON."""
    if "\n" not in array:
        return Elements(tuple([(line, value) for value in _ARRAY.decode(array)]), line, Ending.CLOSED)
    braces = array.count("{")
    if array.startswith("[{") and array.count("\n{") == array.count("\n") == braces - 1:
        objects = _OBJECTS.decode(array)
        if len(objects) == braces:  # none is within another: each begins one of the lines
            return Elements(tuple(enumerate(objects, line)), line + braces - 1, Ending.CLOSED)
    if not array.isascii():
        raise ValueError("the pieces are counted in bytes")
    values = tuple([(line + before, _VALUE.decode(piece)) for before, piece in _pieces(array)])
    return Elements(values, line + array.count("\n"), Ending.CLOSED)


def _pieces(array: str) -> Iterator[tuple[int, Raw]]:
    """The elements of an ASCII text, each with the number of line breaks before it."""
    lines, position = 0, 1
    for piece in _PIECES.decode(array):
        begin = _skip(array, position)
        lines += array.count("\n", position, begin)
        yield lines, piece
        position = begin + len(memoryview(piece))
        lines += array.count("\n", begin, position)


def read_one_by_one(text: str, start: int, line: int) -> Elements:
    """The same, given the line of the `[`, for any array: the elements before the damage, NaN, commas too many."""
    values: list[tuple[int, Any]] = []
    position = counted = start + 1
    while True:
        if not text.startswith("{", position):
            position = _skip(text, position)
            if position >= len(text) or text[position] == "]":
                ending = Ending.CUT if position >= len(text) else Ending.CLOSED
                return Elements(tuple(values), line + text.count("\n", counted, position), ending)
        line += text.count("\n", counted, position)
        counted = position
        try:
            value, position = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            return Elements(tuple(values), line, Ending.BROKEN, type(error).__name__)
        values.append((line, value))
        if text.startswith(",\n", position):
            position += 2


def one_on_each_line(data: bytes) -> list[str] | None:
    """The objects of an array that has each on a line of its own, as text; None for every other layout.

    Namespaces share many such lines, which need to be read once only. The first stands in line 1. Whether each is JSON
    by itself is left to :func:`object_of`.

    >>> one_on_each_line(b'[{"a": 1},\\n{"a": 2}]\\n')
    ['{"a": 1}', '{"a": 2}']
    """
    text = decode(data).rstrip("\n")
    if not text.startswith("[{") or not text.endswith("}]"):
        return None
    lines = text[1:-1].split(",\n")
    return lines if text.count("\n") == len(lines) - 1 and (len(lines) > 1 or "},{" not in text) else None


def object_of(line: str) -> dict[str, Any]:
    """One of :func:`one_on_each_line`. Raises ValueError or RecursionError when it is not one object."""
    if not line.startswith("{") or not line.endswith("}"):
        raise ValueError("not one object")
    try:
        value = _VALUE.decode(line)
    except ValueError:
        value, end = _DECODER.raw_decode(line)
        if end != len(line):
            raise ValueError("more than one object") from None
    assert isinstance(value, dict)
    return value


T = TypeVar("T")
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""A field of a Struct: a number as :func:`number_of` gives it."""


def struct_of(decoder: Decoder[T], line: str) -> T | None:
    """The same as a Struct, without what that does not name; None for what it does not take, which may be an object still.

    >>> class Named(Struct): name: str = ""
    >>> struct_of(Decoder(Named), '{"name": "eth0", "mtu": 1500}'), struct_of(Decoder(Named), '{"name": 1}')
    (Named(name='eth0'), None)
    """
    if len(line) >= MOST_DIGITS or not line.startswith("{"):  # a number too long is passed over like any other
        return None
    try:
        return decoder.decode(line)
    except (ValueError, RecursionError):
        return None


def json_items(data: bytes, file: str, affects: str = "") -> Parsed[tuple[Item, ...]]:
    """The objects of a top-level array; a lone object counts as an array of one. Never raises."""
    text = decode(data)
    start = _skip(text, 0)
    if start >= len(text):
        return Parsed((), () if not text else (Gap(GapKind.UNREADABLE, file, 0, say("the file is empty"), affects),))
    elements = read_array(text, start) if text[start] == "[" else _read_lone(text, start)
    items: list[Item] = []
    gaps: list[Gap] = []
    for line, value in elements.values:
        if isinstance(value, dict):
            items.append(Item(line, value))
        elif value is not None:
            gaps.append(
                Gap(
                    GapKind.UNREADABLE, file, line, say("an object was expected, not {type}", type=type(value).__name__)
                )
            )
    if elements.ending is not Ending.CLOSED:
        what = _WHAT_ENDED[elements.ending]
        gaps.append(Gap(GapKind.UNREADABLE, file, elements.line, what, affects))
    return Parsed(tuple(items), tuple(gaps))


_WHAT_ENDED = {
    Ending.CUT: say("the file ends before its list does"),
    Ending.BROKEN: say("it is no JSON from here on, what comes after is lost"),
}


def _read_lone(text: str, start: int) -> Elements:
    line = 1 + text.count("\n", 0, start)
    if text[start] == "]":
        return Elements((), line, Ending.CLOSED)
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        return Elements((), line, Ending.BROKEN, type(error).__name__)
    return Elements(((line, value),), line, Ending.CLOSED)


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
    if value is None or isinstance(value, bool):
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
