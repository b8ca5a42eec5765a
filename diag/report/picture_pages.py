"""The picture of the networks, cut between its lanes into drawings that fit a page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

PAGES = 3
"""Drawings of one host; more are left to the HTML report."""
_LANES = re.compile(r'(?=<g class="lane )')
_FRAME = re.compile(r'<rect [^>]*?\by="([\d.]+)"[^>]*?\bheight="([\d.]+)"')
_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)" width="[\d.]+" height="[\d.]+"')


def picture_pages(svg: str, ratio: float) -> tuple[str, ...]:
    """The picture, or parts of it, no higher than `ratio` times their width; none where that would be too many."""
    size = _VIEW_BOX.search(svg)
    if size is None:
        return (svg,)
    width, height = float(size[1]), float(size[2])
    if height <= width * ratio:
        return (svg,)
    head, *lanes = _LANES.split(svg.removesuffix("</svg>"))
    parts = list(_parts(lanes, width * ratio))
    return tuple(_drawing(head, part, width) for part in parts) if len(parts) <= PAGES else ()


def _span(lane: str) -> tuple[float, float]:
    """Where a lane starts and ends: its frame is what it draws first."""
    frame = _FRAME.search(lane)
    return (float(frame[1]), float(frame[1]) + float(frame[2])) if frame else (0.0, 0.0)


def _parts(lanes: Sequence[str], room: float) -> Iterator[list[str]]:
    part: list[str] = []
    for lane in lanes:
        if part and _span(lane)[1] - _span(part[0])[0] > room:
            yield part
            part = []
        part.append(lane)
    if part:
        yield part


def _drawing(head: str, lanes: Sequence[str], width: float) -> str:
    top, bottom = _span(lanes[0])[0] - 1, _span(lanes[-1])[1] + 1
    size = f'viewBox="0 {top:g} {width:g} {bottom - top:g}" width="{width:g}" height="{bottom - top:g}"'
    return f"{_VIEW_BOX.sub(size, head, count=1)}{''.join(lanes)}</svg>"
