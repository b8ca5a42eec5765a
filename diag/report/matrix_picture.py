"""The matrix of pairs as a drawing: some thousand cells are slow as a table on paper, and one path each kind as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from diag.model.reasons import Reachability
from diag.report.columns import clipped
from diag.report.language import Language
from diag.report.matrix_view import RowView
from diag.report.view import ReportView

CELL, LABEL, HEAD = 18, 190, 22
"""Width of a cell, of the names, height of the numbers over the columns; in pixels."""
LEAST = 24
"""Columns that the drawing has room for at least, so that few containers do not make giant cells."""
_NAME = 23
"""Columns of text that a name may take."""

_SHAPES = {
    Reachability.REACHABLE: "m5 9.5l3 3l5.5-7",
    Reachability.PARTIAL: "m9 4.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9m0 2v5m1.8-4.4v3.8",
    Reachability.UNREACHABLE: "m5.5 5.5l7 7m0-7l-7 7",
    Reachability.UNKNOWN: "m6.5 6.8a2.5 2.3 0 1 1 3.6 2.1q-1.1.6-1.1 1.9m0 2v.4",
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


def _cells(rows: tuple[RowView, ...]) -> Iterator[str]:
    squares: dict[str, list[str]] = {}
    marks: dict[str, list[str]] = {}
    for i, row in enumerate(rows):
        for j, cell in enumerate(row.cells):
            at = f"M{LABEL + j * CELL} {HEAD + i * CELL}"
            squares.setdefault(cell.key, []).append(f"{at}m1 1h{CELL - 2}v{CELL - 2}h-{CELL - 2}z")
            if cell.mark:
                marks.setdefault(cell.key, []).append(at + _SHAPES[Reachability(cell.key)])
    for key, parts in squares.items():
        yield f'<path class="cell {key}" d="{"".join(parts)}"/>'
    for key, parts in marks.items():
        yield f'<path class="shape {key}" d="{"".join(parts)}"/>'
