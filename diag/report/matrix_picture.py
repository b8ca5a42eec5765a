"""The matrix of pairs as a drawing: some thousand cells are slow as a table on paper, and one path each kind as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

from diag.model.reasons import Reachability
from diag.report.columns import clipped
from diag.report.language import Language
from diag.report.matrix_view import CellView, RowView
from diag.report.view import ReportView

CELL, LABEL, HEAD = 18, 190, 22
"""Width of a cell, of the names, height of the numbers over the columns; in pixels."""
LEAST = 24
"""Columns that the drawing has room for at least, so that few containers do not make giant cells."""
_NAME = 23
"""Columns of text that a name may take."""

_SHAPES: dict[str, str] = {
    Reachability.REACHABLE.value: "m5 9.5l3 3l5.5-7",
    Reachability.PARTIAL.value: "m9 4.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9m0 2v5m1.8-4.4v3.8",
    Reachability.UNREACHABLE.value: "m5.5 5.5l7 7m0-7l-7 7",
    Reachability.UNKNOWN.value: "m6.5 6.8a2.5 2.3 0 1 1 3.6 2.1q-1.1.6-1.1 1.9m0 2v.4",
}
"""The marks of :data:`diag.report.words.MARKS` as lines in a cell."""


def matrix_svg(view: ReportView, language: Language, style: str) -> str:
    """An `<svg>` element; empty for a host whose matrix is folded. The groups of pairs say the same in words."""
    rows = tuple(row for block in view.grid.blocks for row in block.rows)
    if view.grid.folded or not rows:
        return ""
    size = len(rows)
    width = LABEL + max(size, LEAST) * CELL + 1
    height = HEAD + size * CELL + 1
    title = language.say("Matrix of {n} containers: rows call columns", n=size)
    return (
        f'<svg class="matrix" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title><style>{style}</style>'
        + "".join((*_names(rows), *_cells(rows)))
        + "</svg>"
    )


def _names(rows: tuple[RowView, ...]) -> Iterator[str]:
    for number, row in enumerate(rows, 1):
        middle = HEAD + (number - 1) * CELL + 13
        name = clipped(row.source, _NAME)
        yield f'<text x="0" y="{middle}" class="name">{escape(name)}</text>'
        yield f'<text x="{LABEL - 6}" y="{middle}" class="number end">{number}</text>'
        yield f'<text x="{LABEL + number * CELL - CELL // 2}" y="{HEAD - 6}" class="number middle">{number}</text>'


def _key(cell: tuple[int, CellView]) -> str:
    return cell[1].key


def _cells(rows: tuple[RowView, ...]) -> Iterator[str]:
    """Cells of a row that are alike are one stripe, and white lines part them."""
    stripes: dict[str, list[str]] = {}
    marks: dict[str, list[str]] = {}
    for i, row in enumerate(rows):
        y = HEAD + i * CELL
        for key, run in groupby(enumerate(row.cells), _key):
            columns = tuple(j for j, _ in run)
            x = LABEL + columns[0] * CELL
            stripes.setdefault(key, []).append(f"M{x} {y}h{len(columns) * CELL}v{CELL}h-{len(columns) * CELL}z")
            if key in _SHAPES:
                marks.setdefault(key, []).extend(f"M{LABEL + j * CELL} {y}{_SHAPES[key]}" for j in columns)
    for key, parts in stripes.items():
        yield f'<path class="cell {key}" d="{"".join(parts)}"/>'
    size = len(rows) * CELL
    steps = range(0, size + 1, CELL)
    lines = (f"M{LABEL + at} {HEAD}v{size}M{LABEL} {HEAD + at}h{size}" for at in steps)
    yield f'<path class="grid" d="{"".join(lines)}"/>'
    for key, parts in marks.items():
        yield f'<path class="shape {key}" d="{"".join(parts)}"/>'
