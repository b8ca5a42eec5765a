"""Disjoint sets of flows as one diagram, which can be read and asked: its lowest levels are the number of the set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diag.model.flow import Protocol
from diag.symbolic.space import PORT_BITS, PROTOCOLS, PacketSpace, Set, intervals

Spans = tuple[tuple[int, int, int | None], ...]
"""Ranges of ports, first to last, in order, each with the number of its set, if it is in one; (0, 0) for ICMP."""


class Coded:
    """Some sets of one space, by their position."""

    def __init__(self, space: PacketSpace, sets: Iterable[Set]) -> None:
        listed = list(sets)
        self.space = space
        self._bits = max(1, (len(listed) - 1).bit_length())
        self._level, codes = space.codes(len(listed))
        self.diagram = space.union(flows & code for flows, code in zip(listed, codes, strict=True))
        self._numbers: dict[Set, int | None] = {}
        self._of_pair: dict[tuple[int, int], Set] = {}

    def of_pair(self, destination: int, source: int) -> Set:
        """What is below one pair."""
        pair = destination, source
        if pair not in self._of_pair:
            self._of_pair[pair] = of_pair(self.space, self.diagram, destination, source)
        return self._of_pair[pair]

    def spans(self, below: Set) -> Iterator[tuple[Protocol, Spans]]:
        """The flows below a pair, protocol by protocol."""
        for protocol, spans in flow_spans(self.space, below):
            yield protocol, _joined([(low, high, self._number(inner)) for low, high, inner in spans])

    def at(self, below: Set, protocol: Protocol, port: int) -> int | None:
        """The set that one flow below a pair is in."""
        level = self.space.pair_levels
        inner = _descend(below, level, 2, PROTOCOLS.index(protocol))
        return self._number(_descend(inner, level + 2, PORT_BITS, port))

    def _number(self, node: Set) -> int | None:
        """The code that a diagram of code bits alone holds."""
        if node not in self._numbers:
            self._numbers[node] = self._read(node)
        return self._numbers[node]

    def _read(self, node: Set) -> int | None:
        if node == self.space.empty:
            return None
        code = 0
        for position in range(self._bits):
            code <<= 1
            if node.node_level() == self._level + position:
                branches = node.cofactors()
                assert branches is not None
                yes, no = branches
                code, node = (code | 1, yes) if yes != self.space.empty else (code, no)
        return code


def of_pair(space: PacketSpace, flows: Set, destination: int, source: int) -> Set:
    """What a diagram has below one pair."""
    below = _descend(flows, 0, space.destination_levels, destination)
    above = space.destination_levels
    return _descend(below, above, space.pair_levels - above, source)


def flow_spans(space: PacketSpace, below: Set) -> Iterator[tuple[Protocol, list[tuple[int, int, Set]]]]:
    """A diagram below a pair, protocol by protocol: ranges of ports with what is below them; (0, 0) for ICMP."""
    level = space.pair_levels
    by_protocol: dict[int, Set] = {}
    for first, last, inner in intervals(below, level, 2, len(PROTOCOLS)):
        by_protocol.update(dict.fromkeys(range(first, last + 1), inner))
    for code, protocol in enumerate(PROTOCOLS):
        found = intervals(by_protocol[code], level + 2, PORT_BITS, 1 << PORT_BITS)
        if protocol is Protocol.ICMP:
            yield protocol, [(0, 0, next(found)[2])]
        else:
            yield protocol, [(max(1, low), high, inner) for low, high, inner in found if high]


def _descend(node: Set, level: int, bits: int, value: int) -> Set:
    """The part of a diagram in which a number of `bits` levels has a value."""
    for position in range(bits):
        if node.node_level() == level + position:
            branches = node.cofactors()
            assert branches is not None
            node = branches[0] if value >> (bits - 1 - position) & 1 else branches[1]
    return node


def _joined(spans: list[tuple[int, int, int | None]]) -> Spans:
    joined: list[tuple[int, int, int | None]] = []
    for low, high, number in spans:
        if joined and joined[-1][2] == number:
            joined[-1] = (joined[-1][0], high, number)
        else:
            joined.append((low, high, number))
    return tuple(joined)
