"""Pairs of stacks and addresses as sets: from which address and by which bridge each source calls each destination."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from diag.model.netfilter import Ranges
from diag.symbolic.space import PacketSpace, Set
from diag.symbolic.stacks import Port, Stack, Way


class Pairs:
    """What the addresses, links and routes of plain stacks say of every pair.

    Destinations are numbered by address, sources by their stacks.
    """

    def __init__(self, stacks: tuple[Stack, ...]) -> None:
        self.stacks = stacks
        listed = sorted(
            ((port.ip, port, n) for n, s in enumerate(stacks) for port in s.ports), key=lambda item: item[0]
        )
        self.ports: tuple[Port, ...] = tuple(port for _, port, _ in listed)
        self.owner: tuple[int, ...] = tuple(number for _, _, number in listed)
        """The stack of each destination."""
        self._ips = [ip for ip, _, _ in listed]
        self.number = {port.ip: n for n, port in enumerate(self.ports)}
        self.space = PacketSpace(len(self.ports), len(stacks))
        self._calls = [self._called_by(n) for n in range(len(self.ports))]
        self._saddr: dict[tuple[tuple[int, int], ...], Set] = {}
        on: dict[str, list[int]] = defaultdict(list)
        reached: dict[str, list[int]] = defaultdict(list)
        for number, port in enumerate(self.ports):
            on[port.bridge].append(number)
            for bridge in {p.bridge for p in stacks[self.owner[number]].ports}:
                reached[bridge].append(number)
        self.bridges = tuple(sorted(on))
        self.from_bridge = {bridge: self._from_ports(numbers) for bridge, numbers in on.items()}
        self.to_bridge = {bridge: self.space.destinations_among(numbers) for bridge, numbers in on.items()}
        self._answers_on = {bridge: self.space.destinations_among(numbers) for bridge, numbers in reached.items()}
        self.request = self._ways_forth()
        self.reply = self._ways_back()

    # Addresses

    def saddr(self, ranges: Ranges) -> Set:
        """Pairs whose source calls from an address in the ranges."""
        spans = tuple(self._span(low, high) for low, high in ranges)
        if spans not in self._saddr:
            self._saddr[spans] = self._from_ports(n for low, high in spans for n in range(low, high))
        return self._saddr[spans]

    def daddr(self, ranges: Ranges) -> Set:
        """Pairs whose destination is in the ranges."""
        spans = (self._span(low, high) for low, high in ranges)
        return self.space.union(self.space.destinations(low, high - 1) for low, high in spans if low < high)

    def saddr_where(self, accepts: Callable[[int], bool]) -> Set:
        return self._from_ports(n for n, ip in enumerate(self._ips) if accepts(ip))

    def daddr_where(self, accepts: Callable[[int], bool]) -> Set:
        return self.space.destinations_among(n for n, ip in enumerate(self._ips) if accepts(ip))

    def _span(self, low: int, high: int) -> tuple[int, int]:
        return bisect_left(self._ips, low), bisect_right(self._ips, high)

    def _from_ports(self, numbers: Iterable[int]) -> Set:
        singles, found = [], self.space.empty
        for number in numbers:
            calls = self._calls[number]
            if calls is None:
                singles.append(self.owner[number])
            else:
                found = found | calls
        return found | self.space.sources_among(singles)

    def _called_by(self, number: int) -> Set | None:
        """The pairs that a port's stack calls by it; None: every pair of its stack."""
        port, stack = self.ports[number], self.stacks[self.owner[number]]
        if len(stack.ports) == 1:
            return None
        reached = [(r.first, r.last) for r in stack.reaches if r.link == port.link]
        return self.space.sources(self.owner[number], self.owner[number]) & self.daddr(tuple(reached))

    # Routes

    def _ways_forth(self) -> dict[Way, Set]:
        """How each pair's request leaves its source. NONE: there is no route, or nobody has the address."""
        found = dict.fromkeys(Way, self.space.empty)
        for reaches, numbers in self._alike():
            sources = self.space.sources_among(self.owner[n] for n in numbers)
            bridge = self.ports[numbers[0]].bridge
            for first, last, way in reaches:
                pairs = sources & self.daddr(((first, last),))
                if way is Way.DIRECT:
                    elsewhere = pairs & ~self.to_bridge[bridge]
                    found[Way.OTHER] = found[Way.OTHER] | (elsewhere & self._answers_on[bridge])
                    pairs = pairs & self.to_bridge[bridge]
                found[way] = found[way] | pairs
        return found

    def _ways_back(self) -> dict[Way, Set]:
        """How each pair's reply leaves its destination by the link that was called. OTHER: by another one."""
        found = dict.fromkeys(Way, self.space.empty)
        for reaches, numbers in self._alike():
            destinations = self.space.destinations_among(numbers)
            bridge = self.ports[numbers[0]].bridge
            for first, last, way in reaches:
                pairs = destinations & self.saddr(((first, last),))
                if way is Way.DIRECT:
                    pairs = pairs & self.from_bridge[bridge]
                found[way] = found[way] | pairs
        taken = found[Way.DIRECT] | found[Way.GATEWAY] | found[Way.NONE]
        found[Way.OTHER] = ~taken
        return found

    def _alike(self) -> Iterator[tuple[tuple[tuple[int, int, Way], ...], list[int]]]:
        """Ports that send alike, by number, with the ranges of addresses that leave by them or nowhere."""
        groups: dict[tuple[str, tuple[tuple[int, int, Way], ...]], list[int]] = defaultdict(list)
        for number, port in enumerate(self.ports):
            stack = self.stacks[self.owner[number]]
            mine = tuple((r.first, r.last, r.way) for r in stack.reaches if r.link in (port.link, ""))
            groups[port.bridge, mine].append(number)
        for (_, mine), numbers in groups.items():
            yield mine, numbers
