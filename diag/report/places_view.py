"""From evidence and from fixes back to the groups of pairs that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from diag.report.evidence_view import PlacesView
from diag.report.pairs_view import FixView, GroupView, PathView

MOST = 8
"""Places that are listed; the rest are counted."""


class FixedView(Struct, frozen=True):
    """A command, and the groups that it is a fix for."""

    fix: FixView
    places: PlacesView
    title: str
    """The first group."""


def places_of_evidence(groups: Iterable[GroupView]) -> Mapping[str, PlacesView]:
    """The groups that cite a line, by the line's anchor."""
    found: dict[str, dict[str, None]] = {}
    for group in groups:
        for path in group.paths:
            for anchor in _anchors(path):
                found.setdefault(anchor, {})[group.id] = None
    return {anchor: _places(ids) for anchor, ids in found.items()}


def fixed_views(groups: Iterable[GroupView]) -> Iterator[FixedView]:
    """Every command once, those first that help what is first in the report."""
    found: dict[FixView, dict[str, None]] = {}
    titles: dict[FixView, str] = {}
    for group in groups:
        for path in group.paths:
            for fix in path.fixes:
                found.setdefault(fix, {})[group.id] = None
                titles.setdefault(fix, f"{group.sources.short} → {group.destinations.short}")
    for fix, ids in found.items():
        yield FixedView(fix, _places(ids), titles[fix])


def _anchors(path: PathView) -> Iterator[str]:
    for cited in (path.cited, *(hop.cited for hop in (*path.hops, *path.hops_back))):
        if cited is not None and cited.anchor:
            yield cited.anchor


def _places(ids: Iterable[str]) -> PlacesView:
    every = tuple(ids)
    return PlacesView(every[:MOST], max(0, len(every) - MOST))
