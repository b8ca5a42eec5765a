"""The picture of a host as SVG, drawn without scripts: lanes with a bus each, and boxes that hang from it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from msgspec import Struct

from diag.model.analysis import Analysis
from diag.report.language import Language
from diag.report.topology_view import BoxView, LaneView, topology_view

WIDTH, PAD, GAP = 1168, 14, 12
"""Width of the picture, space inside a lane and between lanes; in pixels, as all below."""
LABEL, BOX, WIRE = 206, 178, 30
"""Width of a lane's label and of a box; length of the wire from bus to box."""
LINE, HEAD = 16, 24
"""Height of a line of text, and of a box's title."""
ACROSS = (WIDTH - LABEL - PAD - 8 + GAP) // (BOX + GAP)
"""Boxes side by side."""


class LaneDrawing(Struct, frozen=True):
    """A lane as SVG, and where it is."""

    svg: str
    top: int
    bottom: int


class Picture(Struct, frozen=True):
    """A drawn host; all text in it is escaped."""

    title: str
    style: str
    lanes: tuple[LaneDrawing, ...]

    @property
    def height(self) -> int:
        return self.lanes[-1].bottom + GAP

    def whole(self) -> str:
        """An `<svg>` element of all lanes."""
        return self._svg(self.lanes, 0, self.height)

    def part(self, lanes: Sequence[LaneDrawing]) -> str:
        """One of some neighbouring lanes."""
        return self._svg(lanes, lanes[0].top - 1, lanes[-1].bottom + 1)

    def _svg(self, lanes: Iterable[LaneDrawing], top: int, bottom: int) -> str:
        height = bottom - top
        return (
            f'<svg class="topology" viewBox="0 {top} {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
            f'aria-label="{self.title}" xmlns="http://www.w3.org/2000/svg"><title>{self.title}</title>'
            + (f"<style>{self.style}</style>" if self.style else "")
            + "".join(lane.svg for lane in lanes)
            + "</svg>"
        )


def draw(analysis: Analysis, language: Language, style: str = "") -> Picture:
    """The picture of a host. `style` is put inside it, for renderers that look nowhere else."""
    view = topology_view(analysis, language)
    lanes: list[LaneDrawing] = []
    top = 1
    for lane in view.lanes:
        drawn, height = _lane(lane, top)
        lanes.append(LaneDrawing("".join(drawn), top, top + height))
        top += height + GAP
    return Picture(escape(view.title), style, tuple(lanes))


def _lane(lane: LaneView, top: int) -> tuple[list[str], int]:
    """The lane, and its height."""
    label = list(_label(lane, top))
    ports, below = _ports(lane.ports, top + PAD)
    boxes = list(_boxes(lane, below))
    low = max((bottom for _, bottom in boxes), default=below)
    height = max(low, top + PAD + LINE * len(label) + 4) + PAD - top
    parts = [f'<g class="lane lane-{lane.kind}"><rect x="1" y="{top}" width="{WIDTH - 2}" height="{height}" rx="10"/>']
    parts += label
    parts += ports
    parts += _bus(lane, below)
    parts += (drawn for drawn, _ in boxes)
    parts.append("</g>")
    return parts, height


def _label(lane: LaneView, top: int) -> Iterator[str]:
    yield _text(PAD, top + PAD + 10, lane.title, "lane-title", 19)
    lines = [(line, "lane-line") for line in lane.lines] + ([(lane.trouble, "trouble")] if lane.trouble else [])
    for number, (line, style) in enumerate(lines, 1):
        yield _text(PAD, top + PAD + 10 + LINE * number, line, style, 27)


def _ports(ports: Iterable[str], top: int) -> tuple[list[str], int]:
    """Published ports in rows, and where the space below them starts."""
    parts: list[str] = []
    x, y = LABEL, top
    for port in ports:
        text = _short(port, 40)
        width = 18 + round(8.1 * _letters(text))
        if x + width > WIDTH - PAD and x > LABEL:
            x, y = LABEL, y + 26
        parts.append(
            f'<g class="port"><title>{escape(port)}</title><rect x="{x}" y="{y}" width="{width}" height="20" rx="10"/>'
            f'<text x="{x + 8}" y="{y + 14}">{escape(text)}</text></g>'
        )
        x += width + 8
    return parts, y + 32 if parts else y


def _rows(lane: LaneView, top: int) -> Iterator[tuple[int, tuple[BoxView, ...], int]]:
    """Where each row of boxes starts, with the wires above it, the boxes, and the height of the highest."""
    for start in range(0, len(lane.boxes), ACROSS):
        row = lane.boxes[start : start + ACROSS]
        height = max(_height(box) for box in row)
        yield top, row, height
        top += _wire(lane) + height + GAP


def _wire(lane: LaneView) -> int:
    return WIRE if lane.kind in ("net", "other", "down") else 0


def _bus(lane: LaneView, top: int) -> Iterator[str]:
    """A line above each row of boxes, all of one piece."""
    if not _wire(lane):
        return
    ends = [y + 6 for y, _, _ in _rows(lane, top)] or [top + 6]
    for y in ends:
        yield f'<line x1="{LABEL}" y1="{y}" x2="{WIDTH - PAD if lane.boxes else LABEL + BOX}" y2="{y}" class="bus"/>'
    if len(ends) > 1:
        yield f'<line x1="{LABEL}" y1="{ends[0]}" x2="{LABEL}" y2="{ends[-1]}" class="bus"/>'


def _boxes(lane: LaneView, top: int) -> Iterator[tuple[str, int]]:
    """Each box and where its row ends."""
    for y, row, height in _rows(lane, top):
        for position, box in enumerate(row):
            x = LABEL + 8 + position * (BOX + GAP)
            yield "".join(_box(box, x, y + _wire(lane))), y + _wire(lane) + height


def _height(box: BoxView) -> int:
    return HEAD + LINE * (len(box.lines) + len(box.joined) + bool(box.trouble)) + 8


def _box(box: BoxView, x: int, y: int) -> Iterator[str]:
    at = f' data-at="{",".join(map(str, box.at))}"' if box.at else ""
    title = ", ".join((box.title, *box.joined, *box.lines, *((box.trouble,) if box.trouble else ())))
    yield f'<g class="box box-{box.kind}"{at}><title>{escape(title)}</title>'
    if box.kind in ("ok", "down") and box.at:
        yield f'<line x1="{x + 14}" y1="{y - WIRE + 6}" x2="{x + 14}" y2="{y}" class="wire"/>'
        if box.veth:
            yield _text(x + 20, y - 6, box.veth, "veth", 24)
    yield f'<rect x="{x}" y="{y}" width="{BOX}" height="{_height(box)}" rx="6"/>'
    yield _text(x + 10, y + 19, box.title, "box-title", 18)
    lines = [(f"+ {name}", "box-title") for name in box.joined] + [(line, "box-line") for line in box.lines]
    lines += [(box.trouble, "trouble")] if box.trouble else []
    for number, (line, style) in enumerate(lines, 1):
        yield _text(x + 10, y + 19 + LINE * number, line, style, 22 if style == "box-line" else 20)
    yield "</g>"


def _text(x: int, y: int, text: str, style: str, limit: float) -> str:
    return f'<text x="{x}" y="{y}" class="{style}">{escape(_short(text, limit))}</text>'


def _short(text: str, limit: float) -> str:
    """What fits into as many letters of common width."""
    if _letters(text) <= limit:
        return text
    kept, room = "", limit - 1
    for character in text:
        room -= _letters(character)
        if room < 0:
            break
        kept += character
    return f"{kept}…"


def _letters(text: str) -> float:
    """The width of a text, in letters of common width."""
    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else _WIDTHS.get(c, 1.2 if c.isupper() else 1) for c in text
    )


_WIDTHS = dict.fromkeys("ijl.,:;'|!()[]/ftr -", 0.65) | dict.fromkeys("mwMW@%", 1.55)
