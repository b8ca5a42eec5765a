"""Lines of a terminal: wide characters take two columns (Unicode's East Asian Width), and lines break between them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

COLUMNS = 80
_CLOSING = "，。、：；！？）》」』”’％"
_PIECES = re.compile(rf"\s+|[^\s⺀-￯]+[{_CLOSING}]*|.[{_CLOSING}]*", re.DOTALL)
"""Blanks, words, and characters that a line may break after: those of scripts that have no blanks between words."""


def width(text: str) -> int:
    """The columns that a text takes.

    >>> width("web"), width("网络")
    (3, 4)
    """
    return cell_len(text)


def clipped(text: str, columns: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if width(text) <= columns else f"{chop_cells(text, columns - 1)[0]}…"


def wrapped(text: str, indent: str = "", first: str = "", end: str = "") -> list[str]:
    """Lines of at most :data:`COLUMNS`, the first after `first`, the others after `indent`; `end` is where they break.

    >>> wrapped("docker network connect " + "n" * 60, indent="  ")
    ['docker network connect', '  nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn']
    """
    lines, line, gap, used = [], first, False, width(first)
    start = used
    for piece in _pieces(text, COLUMNS - max(width(indent), width(first)) - width(end)):
        if piece.isspace():
            gap = used > start
            continue
        size = width(piece)
        if used > start and used + gap + size > COLUMNS - width(end):
            lines.append(line + end)
            line, used, gap = indent, width(indent), False
            start = used
        line += " " * gap + piece
        used += gap + size
        gap = False
    return [*lines, line] if used > start else lines


def _pieces(text: str, longest: int) -> Iterator[str]:
    """What no line breaks within, unless it is too long for one."""
    for found in _PIECES.finditer(text):
        piece = found[0]
        if width(piece) <= longest:
            yield piece
        else:
            yield from chop_cells(piece, longest)


def command_lines(command: str, indent: str) -> list[str]:
    """A command that can still be pasted: it goes on after a backslash, unless that could be inside quotes."""
    quoted = re.search(r"[\"'\\]", command)
    return wrapped(command, f"{indent}  ", indent, "" if quoted else " \\")
