"""Links to pairs: a fragment made of the two names, which is the same in every report that has them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from msgspec import Struct

from diag.model.analysis import Group
from diag.report.shown import shown


class PairLink(Struct, frozen=True):
    """A pair and its anchor."""

    id: str
    source: str
    destination: str


def pair_id(source: str, destination: str) -> str:
    """As an id and as a fragment; names are percent-encoded, so that the slash is between them.

    >>> pair_id("web", "a/b")
    'pair=web/a%2Fb'
    """
    return f"pair={quote(shown(source), safe='')}/{quote(shown(destination), safe='')}"


def pair_links(group: Group) -> Iterator[PairLink]:
    """Of every pair in a group."""
    for source in group.sources:
        for destination in group.destinations:
            if source != destination:
                yield PairLink(pair_id(source, destination), shown(source), shown(destination))
