"""The picture of the networks, cut between its lanes into drawings that fit a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from diag.report.topology import WIDTH, LaneDrawing, Picture

PAGES = 3
"""Drawings of one host; more are left to the HTML report."""


def picture_pages(picture: Picture, ratio: float) -> tuple[str, ...]:
    """The picture, or parts of it, no higher than `ratio` times their width; none where that would be too many."""
    room = WIDTH * ratio
    if picture.height <= room:
        return (picture.whole(),)
    parts = list(_parts(picture.lanes, room))
    return tuple(picture.part(lanes) for lanes in parts) if len(parts) <= PAGES else ()


def _parts(lanes: Sequence[LaneDrawing], room: float) -> Iterator[list[LaneDrawing]]:
    part: list[LaneDrawing] = []
    for lane in lanes:
        if part and lane.bottom - part[0].top > room:
            yield part
            part = []
        part.append(lane)
    if part:
        yield part
