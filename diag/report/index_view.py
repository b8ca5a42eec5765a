"""What the page's script looks up: which group a pair is in, and who is on which network."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from diag.model.analysis import Group
from diag.model.snapshot import Snapshot
from diag.report.classes import Classes, ranges
from diag.report.shown import shown


class IndexView(Struct, frozen=True):
    """Containers are known by their position in `names`, classes by that in nothing but this."""

    names: tuple[str, ...]
    classes: tuple[int, ...]
    """The class of each container: those that no group tells apart have one."""
    networks: tuple[str, ...]
    on: tuple[tuple[int, ...], ...]
    """Positions of the networks of each container."""
    groups: tuple[tuple[str, str], ...]
    """Classes of the sources and of the destinations of each group, as ranges: `0-4,7`."""


def index_view(snapshot: Snapshot, groups: Sequence[Group], classes: Classes) -> IndexView:
    """Of groups in the order of the report."""
    networks = {network.name: number for number, network in enumerate(snapshot.networks)}
    return IndexView(
        tuple(shown(one.name) for one in classes.placed),
        tuple(classes.of[one.name] for one in classes.placed),
        tuple(shown(name) for name in networks),
        tuple(tuple(networks[n] for n in one.networks if n in networks) for one in classes.placed),
        tuple((ranges(classes.numbers(g.sources)), ranges(classes.numbers(g.destinations))) for g in groups),
    )
