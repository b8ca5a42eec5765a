"""Pairs with the host and the world on few lines: what one source can do with many destinations, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from diag.model.reasons import Reachability
from diag.reach.beyond import WORLD
from diag.report.members_view import MembersView
from diag.report.pairs_view import EndpointView


class EndpointRow(Struct, frozen=True):
    """Groups of pairs that have the same result, and the same sources or the same destinations."""

    key: str
    mark: str
    allowed: str
    sources: tuple[MembersView, ...]
    destinations: tuple[MembersView, ...]
    explanations: tuple[str, ...]
    """Of the first group."""

    @property
    def exposed(self) -> bool:
        """Whether the world gets in."""
        return self.sources[0].first == WORLD and self.key != Reachability.UNREACHABLE.value


def endpoint_rows(endpoints: Iterable[EndpointView]) -> list[EndpointRow]:
    """What the world can reach first."""
    rows = [EndpointRow(e.key, e.mark, e.allowed, (e.sources,), (e.destinations,), e.explanations) for e in endpoints]
    rows = _merged(_merged(rows, lambda row: row.sources), lambda row: row.destinations)
    return sorted(rows, key=lambda row: not row.exposed)


def _merged(rows: Iterable[EndpointRow], same: Callable[[EndpointRow], object]) -> list[EndpointRow]:
    found: dict[object, list[EndpointRow]] = {}
    for row in rows:
        found.setdefault((same(row), row.key, row.allowed), []).append(row)
    return [
        replace(
            alike[0],
            sources=tuple(dict.fromkeys(some for row in alike for some in row.sources)),
            destinations=tuple(dict.fromkeys(some for row in alike for some in row.destinations)),
        )
        for alike in found.values()
    ]
