"""Sets of flows as binary decision diagrams.

A flow is (destination address, source stack, protocol, destination port), each but the protocol a number below a bound.
The destination is decided first, then the source: below these levels stand the distinct behaviours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from diag.model.flow import Protocol
from diag.model.netfilter import Ranges

if TYPE_CHECKING:
    from oxidd.bdd import BDDFunction

    Set = BDDFunction
else:
    Set = object  # the library is imported by the first space: one pair is explained without it

PORT_BITS = 16
PROTOCOLS = (Protocol.ICMP, Protocol.TCP, Protocol.UDP)
_NODES = 1 << 25
"""Of all diagrams together. Memory is taken as they grow."""
_CACHE = 1 << 18


class PacketSpace:
    """The variables, and sets made of ranges of their values. Diagrams that grow too large raise MemoryError."""

    def __init__(self, destinations: int, sources: int) -> None:
        from oxidd.bdd import BDDManager

        self.manager = BDDManager(_NODES, _CACHE, 1)
        self.empty, self.all = self.manager.false(), self.manager.true()
        self._destination = self._variables(max(1, (destinations - 1).bit_length()))
        self._source = self._variables(max(1, (sources - 1).bit_length()))
        self._protocol = self._variables(2)
        self._port = self._variables(PORT_BITS)
        self._cubes: dict[tuple[str, int, int], Set] = {}
        self._lower_bits: dict[tuple[str, int, int], Set] = {}
        """By how many bits they are."""
        self._of_pair = self._every((*self._destination, *self._source))
        self._of_source = self._every(self._source)
        self._of_destination = self._every(self._destination)
        self._destination_and_port = self._every((*self._destination, *self._port))
        self.protocol = {
            name: self._cube("protocol", self._protocol, code, code) for code, name in enumerate(PROTOCOLS)
        }
        self.flows = (
            self.destinations(0, destinations - 1)
            & self.sources(0, sources - 1)
            & ~self._cube("protocol", self._protocol, len(PROTOCOLS), 3)
        )
        """All that there are: numbers and protocols that stand for something."""
        self.with_ports = self.protocol[Protocol.TCP] | self.protocol[Protocol.UDP]

    def _variables(self, count: int) -> list[Set]:
        return [self.manager.var(number) for number in self.manager.add_vars(count)]

    def _every(self, variables: Iterable[Set]) -> Set:
        found = self.all
        for variable in variables:
            found = found & variable
        return found

    def codes(self, count: int) -> tuple[int, list[Set]]:
        """One disjoint set per code, in variables of their own below all others; and the first of their levels."""
        level = self.manager.num_vars()
        variables = self._variables(max(1, (count - 1).bit_length()))
        return level, [self._cube(f"code from {level}", variables, code, code) for code in range(count)]

    @property
    def pair_levels(self) -> int:
        """How many levels decide the pair."""
        return len(self._destination) + len(self._source)

    @property
    def destination_levels(self) -> int:
        return len(self._destination)

    def destinations(self, first: int, last: int) -> Set:
        """Destinations by their numbers, inclusive."""
        return self._cube("destination", self._destination, first, last)

    def sources(self, first: int, last: int) -> Set:
        return self._cube("source", self._source, first, last)

    def destinations_among(self, numbers: Iterable[int]) -> Set:
        return self.union(self.destinations(*run) for run in runs(numbers))

    def sources_among(self, numbers: Iterable[int]) -> Set:
        return self.union(self.sources(*run) for run in runs(numbers))

    def ports(self, ranges: Ranges) -> Set:
        """Destination ports in any of the ranges."""
        within = ((max(low, 0), min(high, 65535)) for low, high in ranges)
        return self.union(self._cube("port", self._port, low, high) for low, high in within if low <= high)

    def ports_of(self, flows: Set) -> Set:
        """The protocols and ports of any of the flows, with every pair."""
        return flows.exists(self._of_pair)

    def anywhere(self, flows: Set, *, any_port: bool) -> Set:
        """The same flows to every destination, and with `any_port` to every port."""
        return flows.exists(self._destination_and_port if any_port else self._of_destination)

    def anyone(self, flows: Set) -> Set:
        """The same flows from every source."""
        return flows.exists(self._of_source)

    def union(self, sets: Iterable[Set]) -> Set:
        """By halves: small sets are joined with small ones."""
        left = list(sets)
        while len(left) > 1:
            odd = left[-1:] if len(left) % 2 else []
            left = [one | other for one, other in zip(left[::2], left[1::2], strict=False)] + odd
        return left[0] if left else self.empty

    def union_of_disjoint(self, sets: Iterable[Set]) -> Set | None:
        """The same; None where a flow is in two of them."""
        left = list(sets)
        while len(left) > 1:
            odd = left[-1:] if len(left) % 2 else []
            both = list(zip(left[::2], left[1::2], strict=False))
            if any(one & other != self.empty for one, other in both):
                return None
            left = [one | other for one, other in both] + odd
        return left[0] if left else self.empty

    def _cube(self, name: str, variables: list[Set], first: int, last: int) -> Set:
        key = (name, first, last)
        found = self._cubes.get(key)
        if found is None:
            top = (1 << len(variables)) - 1
            if first == last:
                found = self._number(name, variables, first)
            else:
                low = self._bound(variables, first, upper=False) if first > 0 else self.all
                high = self._bound(variables, last, upper=True) if last < top else self.all
                found = low & high
            self._cubes[key] = found
        return found

    def _number(self, name: str, variables: list[Set], value: int) -> Set:
        """One number. Its lower bits are shared with others."""
        start, found = len(variables), self.all
        for bits in range(len(variables), 0, -1):
            known = self._lower_bits.get((name, bits, value & (1 << bits) - 1))
            if known is not None:
                start, found = len(variables) - bits, known
                break
        for position in range(start - 1, -1, -1):
            bits = len(variables) - position
            variable = variables[position]
            found = (variable if value >> bits - 1 & 1 else ~variable) & found
            self._lower_bits[name, bits, value & (1 << bits) - 1] = found
        return found

    def _bound(self, variables: list[Set], value: int, *, upper: bool) -> Set:
        """Numbers up to a value, or from it: bit by bit from the lowest."""
        found = self.all
        for position, variable in enumerate(reversed(variables)):
            literal = ~variable if upper else variable
            same = bool(value >> position & 1) != upper
            found = literal & found if same else literal | found
        return found


def runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Sorted numbers as inclusive ranges.

    >>> list(runs([1, 2, 3, 7]))
    [(1, 3), (7, 7)]
    """
    first = last = None
    for number in sorted(numbers):
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = number
    if first is not None and last is not None:
        yield first, last


def intervals(root: Set, above: int, bits: int, count: int) -> Iterator[tuple[int, int, Set]]:
    """A diagram's `bits` levels after `above`, as (first, last, what is below) with numbers below `count`."""
    end, held_first, held_last, held = above + bits, 0, -1, None
    waiting = [(root, above, 0)]
    while waiting:
        node, level, first = waiting.pop()
        if first >= count:
            break
        found = node.node_level()
        if found is not None and found < end:
            yes, no = (node.cofactors() or (node, node)) if found == level else (node, node)
            waiting.append((yes, level + 1, first + (1 << end - level - 1)))
            waiting.append((no, level + 1, first))
            continue
        if held is not None and held != node:
            yield held_first, held_last, held
            held = None
        if held is None:
            held, held_first = node, first
        held_last = min(first + (1 << end - level), count) - 1
    if held is not None:
        yield held_first, held_last, held
