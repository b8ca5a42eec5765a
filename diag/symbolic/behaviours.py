"""Reading a solution: the distinct behaviours of pairs, and which pair has which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from diag.model.address import Family, Ip
from diag.model.analysis import Allowed, PortSet
from diag.model.flow import Protocol
from diag.symbolic.engine import Kind, Kinds, Solution
from diag.symbolic.pairs import Pairs
from diag.symbolic.space import PORT_BITS, PROTOCOLS, Set, intervals


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What all flows of a pair do."""

    flows: tuple[tuple[Protocol, tuple[tuple[int, int, Kind], ...]], ...]
    """Per protocol: ranges of ports, in order, each with its kind; one range for ICMP."""

    @property
    def covered(self) -> bool:
        return all(kind.covered for _, spans in self.flows for _, _, kind in spans)

    @property
    def allowed(self) -> Allowed:
        """What is delivered and answered."""
        open_to = {
            protocol: PortSet(_joined([(low, high) for low, high, kind in spans if kind.delivered]))
            for protocol, spans in self.flows
        }
        return Allowed(bool(open_to[Protocol.ICMP]), open_to[Protocol.TCP], open_to[Protocol.UDP])

    def delivers(self, protocol: Protocol, port: int) -> bool:
        """Whether one flow arrives and is answered; 0 is the port of ICMP."""
        spans = dict(self.flows)[protocol]
        return next((kind.delivered for low, high, kind in spans if low <= port <= high), False)


@dataclass(frozen=True, slots=True)
class Row:
    """One destination: sources by number, first to last, with the behaviour of their pairs."""

    destination: int
    spans: tuple[tuple[int, int, Behaviour], ...]


def rows(solution: Solution) -> Iterator[Row]:
    """Every destination in order. Equal behaviours are one object."""
    return _rows(solution.pairs, solution.kinds)


def _rows(pairs: Pairs, kinds: Kinds) -> Iterator[Row]:
    space = pairs.space
    level, codes = space.codes(len(kinds))
    coded = space.union(flows & code for (_, flows), code in zip(kinds, codes, strict=True))
    reader = _Reader(pairs, tuple(kind for kind, _ in kinds), level)
    count = len(pairs.ports)
    for first, last, node in intervals(coded, 0, space.destination_levels, count):
        spans = reader.spans(node)
        for number in range(first, last + 1):
            yield Row(number, spans)


class Decisions:
    """A solution that can be asked about single pairs."""

    def __init__(self, solution: Solution) -> None:
        self._stacks = {stack.netns: number for number, stack in enumerate(solution.pairs.stacks)}
        self._ports = solution.pairs.ports
        self._rows = {self._ports[row.destination].ip: row for row in rows(solution)}
        self._from_host = {
            self._ports[row.destination].ip: row.spans[0][2] for row in _rows(solution.pairs, solution.from_host)
        }

    def behaviour(self, netns: str, ip: Ip) -> Behaviour | None:
        """What a namespace's flows to an address do; None: the engine does not cover the pair.

        Flows to an address of the host count as delivered where the host's own stack takes them, not a container's.
        """
        number = self._stacks.get(netns)
        row = self._rows.get(ip.value) if ip.family is Family.IPV4 else None
        if number is None or row is None or self._ports[row.destination].netns == netns:
            return None
        behaviour = next(b for first, last, b in row.spans if first <= number <= last)
        return behaviour if behaviour.covered else None

    def from_host(self, ip: Ip) -> Behaviour | None:
        """What the host's own flows to an address do."""
        behaviour = self._from_host.get(ip.value) if ip.family is Family.IPV4 else None
        return behaviour if behaviour is not None and behaviour.covered else None


class _Reader:
    def __init__(self, pairs: Pairs, kinds: tuple[Kind, ...], code_level: int) -> None:
        self.space = pairs.space
        self.sources = len(pairs.stacks)
        self.code_level = code_level
        self.kinds = kinds
        self.code_bits = max(1, (len(kinds) - 1).bit_length())
        self._spans: dict[Set, tuple[tuple[int, int, Behaviour], ...]] = {}
        self._behaviours: dict[Set, Behaviour] = {}
        self._equal: dict[Behaviour, Behaviour] = {}

    def spans(self, node: Set) -> tuple[tuple[int, int, Behaviour], ...]:
        """Below the destination: sources with their behaviours."""
        if node not in self._spans:
            above, bits = self.space.destination_levels, self.space.pair_levels - self.space.destination_levels
            found = intervals(node, above, bits, self.sources)
            self._spans[node] = tuple((first, last, self._behaviour(below)) for first, last, below in found)
        return self._spans[node]

    def _behaviour(self, node: Set) -> Behaviour:
        if node not in self._behaviours:
            made = self._read(node)
            self._behaviours[node] = self._equal.setdefault(made, made)
        return self._behaviours[node]

    def _read(self, node: Set) -> Behaviour:
        level = self.space.pair_levels
        by_protocol: dict[int, Set] = {}
        for first, last, below in intervals(node, level, 2, len(PROTOCOLS)):
            by_protocol.update(dict.fromkeys(range(first, last + 1), below))
        found = []
        for code, protocol in enumerate(PROTOCOLS):
            spans = intervals(by_protocol[code], level + 2, PORT_BITS, 1 << PORT_BITS)
            read = [(first, last, self._kind(below)) for first, last, below in spans]
            if protocol is Protocol.ICMP:
                read = [(0, 0, read[0][2])]
            found.append((protocol, _same_kind([(max(1, a), b, k) for a, b, k in read if b] or read)))
        return Behaviour(tuple(found))

    def _kind(self, node: Set) -> Kind:
        """The code that a diagram of code bits alone holds."""
        level, code = self.code_level, 0
        for position in range(self.code_bits):
            code <<= 1
            if node.node_level() == level + position:
                branches = node.cofactors()
                assert branches is not None
                if branches[0] != self.space.empty:
                    code, node = code | 1, branches[0]
                else:
                    node = branches[1]
        return self.kinds[code]


def _same_kind(spans: list[tuple[int, int, Kind]]) -> tuple[tuple[int, int, Kind], ...]:
    joined: list[tuple[int, int, Kind]] = []
    for low, high, kind in spans:
        if joined and joined[-1][2] == kind:
            joined[-1] = (joined[-1][0], high, kind)
        else:
            joined.append((low, high, kind))
    return tuple(joined)


def _joined(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for low, high in ranges:
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return tuple(joined)
