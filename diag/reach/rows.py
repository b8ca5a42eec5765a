"""The rows of `diag pairs`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from diag.interpreter.trace import Tracer
from diag.model.analysis import Allowed, PortSet
from diag.model.snapshot import Snapshot
from diag.names.resolver import Resolver
from diag.reach.matrix import Column, PairMatrix, bits
from diag.reach.pairs import PairAnalyser, PathFacts
from diag.reach.reserved import ReservedPairs


class PathText:
    """What rows of one destination address say, for all sources that it is the same for."""

    def __init__(self, path: PathFacts) -> None:
        self.path = path
        target = path.target
        self.family = target.ip.family.label if target else ""
        self.address = str(target.ip) if target else ""
        self.columns = (self.family, self.address, path.reachability.value, str(path.allowed), path.reason.value)


class PairRow(NamedTuple):
    """One ordered pair and destination address."""

    source: str
    destination: str
    text: PathText
    names: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The keys of a JSON Lines row."""
        return {
            "source": self.source,
            "destination": self.destination,
            "family": self.text.family,
            "address": self.text.address,
            "reachability": self.text.path.reachability.value,
            "allowed": allowed_json(self.text.path.allowed),
            "reason": self.text.path.reason.value,
            "names": list(self.names),
        }

    def as_text(self) -> tuple[str, ...]:
        """The columns of a CSV row."""
        return (self.source, self.destination, *self.text.columns, " ".join(self.names))


class SourceRows(Struct, frozen=True):
    """All rows of one source, in the destinations' order."""

    source: str
    paths: list[tuple[str, PathText]]
    """Destinations, with what the row says. Rows that say the same of one destination are one object."""
    names: Mapping[int, tuple[str, ...]]
    """By position in `paths`, what the source may call the destination; most have nothing."""

    def rows(self) -> Iterator[PairRow]:
        """One by one."""
        for position, (destination, text) in enumerate(self.paths):
            yield PairRow(self.source, destination, text, self.names.get(position, ()))


def reserved_rows(snapshot: Snapshot) -> Iterator[PairRow]:
    """The same for every pair with `@host` or `@world`, which have no names."""
    for pair in ReservedPairs.of(snapshot).all_pairs():
        for path in pair.paths:
            yield PairRow(pair.source, pair.destination, PathText(path), ())


def source_rows(snapshot: Snapshot) -> Iterator[SourceRows]:
    """Every ordered pair of containers, each destination address in a row of its own, source by source."""
    names = [container.name for container in snapshot.containers]
    resolver = Resolver(snapshot)
    for source, by_destination in zip(names, _by_source(snapshot), strict=True):
        paths: list[tuple[str, PathText]] = []
        called: dict[int, tuple[str, ...]] = {}
        nameable = resolver.nameable(source)
        for destination, entries in zip(names, by_destination, strict=True):
            if entries and destination in nameable:
                answers = resolver.names_for(source, destination)
                for position, (_, text) in enumerate(entries, len(paths)):
                    usable = tuple(n.name for n in answers if text.address in n.addresses)
                    if usable:
                        called[position] = usable
            paths += entries
        yield SourceRows(source, paths, called)


def pair_rows(snapshot: Snapshot) -> Iterator[PairRow]:
    """The same, row by row."""
    for block in source_rows(snapshot):
        yield from block.rows()


_Entries = tuple[tuple[str, PathText], ...]


def _by_source(snapshot: Snapshot) -> Iterator[tuple[_Entries, ...]]:
    """For each source the entries of every destination; none for a container and itself."""
    matrix = PairMatrix(snapshot, PairAnalyser(snapshot, Tracer(snapshot)))
    return zip(*(_column(column, len(snapshot.containers)) for column in matrix.columns()), strict=True)


def _column(column: Column, count: int) -> list[_Entries]:
    """For each source the entries of one destination: what most have, then the others."""
    name = column.destination.name
    cells = sorted(column.cells, key=lambda cell: cell.sources.bit_count(), reverse=True)
    entries = [tuple((name, PathText(path)) for path in cell.paths) for cell in cells]
    found = [entries[0] if entries else ()] * count
    for cell, mine in zip(cells[1:], entries[1:], strict=True):
        for position in bits(cell.sources):
            found[position] = mine
    found[column.position] = ()
    return found


def allowed_json(allowed: Allowed) -> dict[str, Any]:
    """`{"icmp": true, "tcp": "all", "udp": "1-52,54-65535"}`; what cannot be told is listed under `unknown`."""
    found: dict[str, Any] = {
        "icmp": allowed.icmp is True,
        "tcp": str(allowed.tcp),
        "udp": str(allowed.udp),
    }
    if not allowed.certain:
        found["unknown"] = {
            "icmp": allowed.icmp is None,
            "tcp": _ports(allowed.unknown_tcp),
            "udp": _ports(allowed.unknown_udp),
        }
    return found


def _ports(ports: PortSet) -> str:
    return str(ports)
