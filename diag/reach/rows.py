"""The rows of `diag pairs`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diag.interpreter.trace import Tracer
from diag.model.analysis import Allowed, PortSet
from diag.model.snapshot import Snapshot
from diag.names.resolver import Resolver
from diag.reach.beyond import with_world
from diag.reach.pairs import PairAnalyser, PathFacts
from diag.reach.reserved import ReservedPairs


@dataclass(frozen=True, slots=True)
class PairRow:
    """One ordered pair and destination address."""

    source: str
    destination: str
    path: PathFacts
    names: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The keys of a JSON Lines row."""
        target = self.path.target
        return {
            "source": self.source,
            "destination": self.destination,
            "family": target.ip.family.label if target else "",
            "address": str(target.ip) if target else "",
            "reachability": self.path.reachability.value,
            "allowed": allowed_json(self.path.allowed),
            "reason": self.path.reason.value,
            "names": list(self.names),
        }

    def as_text(self) -> tuple[str, ...]:
        """The columns of a CSV row."""
        row = self.as_json()
        row["allowed"] = str(self.path.allowed)
        row["names"] = " ".join(self.names)
        return tuple(str(value) for value in row.values())


def reserved_rows(snapshot: Snapshot) -> Iterator[PairRow]:
    """The same for every pair with `@host` or `@world`, which have no names."""
    augmented = with_world(snapshot)
    pairs = ReservedPairs(snapshot, PairAnalyser(augmented, Tracer(augmented)))
    for pair in pairs.all_pairs():
        for path in pair.paths:
            yield PairRow(pair.source, pair.destination, path, ())


def pair_rows(snapshot: Snapshot) -> Iterator[PairRow]:
    """Every ordered pair of containers, each destination address in a row of its own."""
    pairs = PairAnalyser(snapshot, Tracer(snapshot))
    resolver = Resolver(snapshot)
    for pair in pairs.all_pairs():
        names = resolver.names_for(pair.source, pair.destination)
        for path in pair.paths:
            address = str(path.target.ip) if path.target else ""
            yield PairRow(pair.source, pair.destination, path, tuple(n.name for n in names if address in n.addresses))


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
