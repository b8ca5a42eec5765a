"""The rows of `diag pairs`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from diag.interpreter.trace import Tracer
from diag.model.analysis import Allowed, PortSet
from diag.model.snapshot import Snapshot
from diag.names.resolver import Resolver
from diag.reach.matrix import PairMatrix, bits
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


def reserved_rows(snapshot: Snapshot) -> Iterator[PairRow]:
    """The same for every pair with `@host` or `@world`, which have no names."""
    for pair in ReservedPairs.of(snapshot).all_pairs():
        for path in pair.paths:
            yield PairRow(pair.source, pair.destination, PathText(path), ())


def pair_rows(snapshot: Snapshot) -> Iterator[PairRow]:
    """Every ordered pair of containers, each destination address in a row of its own."""
    names = [container.name for container in snapshot.containers]
    resolver = Resolver(snapshot)
    for source, by_destination in zip(names, _texts(snapshot), strict=True):
        nameable = resolver.nameable(source)
        for destination, texts in zip(names, by_destination, strict=True):
            if texts:
                answers = resolver.names_for(source, destination) if destination in nameable else ()
                for text in texts:
                    usable = tuple(n.name for n in answers if text.address in n.addresses) if answers else ()
                    yield PairRow(source, destination, text, usable)


def _texts(snapshot: Snapshot) -> list[list[tuple[PathText, ...]]]:
    """By source and destination; nothing for a container and itself."""
    count = len(snapshot.containers)
    table: list[list[tuple[PathText, ...]]] = [[()] * count for _ in range(count)]
    matrix = PairMatrix(snapshot, PairAnalyser(snapshot, Tracer(snapshot)))
    for column in matrix.columns():
        for cell in column.cells:
            texts = tuple(PathText(path) for path in cell.paths)
            for position in bits(cell.sources):
                table[position][column.position] = texts
    return table


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
