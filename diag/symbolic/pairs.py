"""Pairs of stacks and addresses as sets: from which address and by which bridge each source calls each destination.

What is beyond the host's uplink counts as a stack like any other, and the uplink as its bridge.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator

from diag.model.address import Family, Ip
from diag.model.netfilter import Ranges
from diag.symbolic.ends import Ends
from diag.symbolic.space import PacketSpace, Set
from diag.symbolic.stacks import NOWHERE, Port, Stack, Way

NO_STACK = -1
_FEW = 16
"""Addresses that are joined one by one."""
_Reaches = tuple[tuple[int, int, Way], ...]


class Pairs:
    """What the addresses, links and routes of plain stacks say of every pair.

    Destinations are numbered by address, sources by their stacks.
    """

    def __init__(
        self, stacks: tuple[Stack, ...], ends: Ends, family: Family, world: str = "", *, split: bool = False
    ) -> None:
        """With `split` a stack with several links has a further source for each, which calls the host by that link.

        What DNAT makes of such a call hangs on the link, and no longer on which of the host's addresses was called.
        """
        self.family = family
        self.stacks = stacks
        self.masks = ends.masks
        """Per bridge and uplink the host's address there."""
        listed = [(port.ip, port, number) for number, stack in enumerate(stacks) for port in stack.ports]
        listed += [(port.ip, port, NO_STACK) for port in ends.ports]
        listed.sort(key=lambda item: item[0])
        self.ports: tuple[Port, ...] = tuple(port for _, port, _ in listed)
        self.owner: tuple[int, ...] = tuple(number for _, _, number in listed)
        """The stack of each destination; NO_STACK for the host's addresses."""
        self._ips = [ip for ip, _, _ in listed]
        self.bridge_of = {port.address: port.bridge for port in self.ports}
        several = [n for n, owner in enumerate(self.owner) if owner != NO_STACK and len(stacks[owner].ports) > 1]
        self.by_link = {number: len(stacks) + place for place, number in enumerate(several if split else ())}
        """Of the ports of stacks with several links: the source that calls by this one."""
        self.space = PacketSpace(len(self.ports), len(stacks) + len(self.by_link))
        self.split = self.space.sources_among(self.by_link.values())
        """Pairs of such a source."""
        self._calls = [self._called_by(number) for number in range(len(self.ports))]
        self._counts, self._firsts = [0], {0: self.space.empty}
        self._saddr: dict[tuple[tuple[int, int], ...], Set] = {}
        host = [number for number, port in enumerate(self.ports) if port.netns == "host"]
        self.routed = self.space.destinations_among(n for n, port in enumerate(self.ports) if port.routed)
        """Pairs with an address that the host sends to by its link, or that is its own."""
        self.to_host = self.space.destinations_among(host)
        self._host_on = {self.ports[number].bridge: self.space.destinations(number, number) for number in host}
        self.unseen = self.space.destinations_among(
            n for n, owner in enumerate(self.owner) if owner != NO_STACK and stacks[owner].unseen
        )
        """Pairs with an address in a namespace that was not captured."""
        self.beyond = self.space.destinations_among(n for n, port in enumerate(self.ports) if port.netns == world)
        self.sent = {
            way: self.space.destinations_among(n for n, port in enumerate(self.ports) if port.sent is way)
            for way in (*NOWHERE, Way.LOST)
        }
        """Pairs with an address that the host has no way to, or sends to where nobody answers."""
        self._found: dict[frozenset[str], Set] = {}
        self._numbers: dict[str, list[int]] = defaultdict(list)
        """Destinations by their namespace."""
        for number, port in enumerate(self.ports):
            self._numbers[port.netns].append(number)
        self.near, self.from_bridge, self.to_bridge = self._by_bridge()
        self.bridges = tuple(sorted(self.to_bridge))
        """And the uplink."""
        masks = sorted((ip, bridge) for bridge, ip in self.masks.items() if bridge in self.to_bridge)
        self._mask_ips = [ip for ip, _ in masks]
        self._masks = [self.to_bridge[bridge] for _, bridge in masks]
        self.by_gateway = self.by_gateway_perhaps = self.space.empty
        """Pairs with an address of the host that is not its own on the caller's link, from which it sends there of itself;
        those of whom that is not known."""
        self.request = self._ways_forth()
        self.reply = self._ways_back()
        self.answers_masks = self._answers_masks()

    def _by_bridge(self) -> tuple[dict[str, Set], dict[str, Set], dict[str, Set]]:
        """Pairs per bridge, segment or uplink: with an address that is on it; that come by it; that leave by it, if only to
        where nobody answers."""
        callers: dict[str, list[int]] = defaultdict(list)
        near: dict[str, list[int]] = defaultdict(list)
        lost: dict[str, list[int]] = defaultdict(list)
        for number, port in enumerate(self.ports):
            if port.netns == "host":
                continue
            callers[port.bridge].append(number)
            near[port.bridge].append(number)
            if port.sent is Way.LOST:
                lost[port.sent_by].append(number)
        among = self.space.destinations_among
        on = {bridge: among(numbers) for bridge, numbers in near.items()}
        called = on | {by: among(numbers) | on.get(by, self.space.empty) for by, numbers in lost.items()}
        return on, {bridge: self._from_ports(callers.get(bridge, ())) for bridge in called}, called

    def _on(self, bridge: str) -> Set:
        return self.near.get(bridge, self.space.empty)

    def _found_on(self, around: frozenset[str] | None) -> Set:
        """Pairs with an address of a stack that a question on a link may find. It may answer for all its addresses on each."""
        if around is None:
            return self.space.all
        if around not in self._found:
            numbers = [number for netns in around for number in self._numbers.get(netns, ())]
            self._found[around] = self.space.destinations_among(numbers)
        return self._found[around]

    # Addresses

    def number_of(self, address: Ip) -> int | None:
        """The destination with an address."""
        number = bisect_left(self._ips, address.value)
        return number if number < len(self.ports) and self.ports[number].address == address else None

    def saddr(self, ranges: Ranges) -> Set:
        """Pairs whose source calls from an address in the ranges."""
        spans = tuple([span for low, high in ranges if (span := self._span(low, high))[0] < span[1]])
        if spans not in self._saddr:
            self._saddr[spans] = self.space.union(self._from_range(low, high) for low, high in spans)
        return self._saddr[spans]

    def _from_range(self, low: int, high: int) -> Set:
        """Pairs that call from one of the addresses with these numbers. No pair calls from two."""
        if high - low < _FEW:
            return self._from_ports(range(low, high))
        return self._from_first(high) & ~self._from_first(low)

    def _from_first(self, count: int) -> Set:
        """The same of the lowest addresses; from the next lower count that is known."""
        place = bisect_right(self._counts, count) - 1
        known = self._counts[place]
        if known != count:
            self._firsts[count] = self._firsts[known] | self._from_ports(range(known, count))
            self._counts.insert(place + 1, count)
        return self._firsts[count]

    def daddr(self, ranges: Ranges) -> Set:
        """Pairs whose destination is in the ranges."""
        spans = (self._span(low, high) for low, high in ranges)
        return self.space.union(self.space.destinations(low, high - 1) for low, high in spans if low < high)

    def saddr_where(self, accepts: Callable[[int], bool]) -> Set:
        return self._from_ports(n for n, ip in enumerate(self._ips) if accepts(ip))

    def daddr_where(self, accepts: Callable[[int], bool]) -> Set:
        return self.space.destinations_among(n for n, ip in enumerate(self._ips) if accepts(ip))

    def mask(self, ranges: Ranges) -> Set:
        """Pairs of which the host's own address towards the destination is in the ranges."""
        spans = ((bisect_left(self._mask_ips, low), bisect_right(self._mask_ips, high)) for low, high in ranges)
        return self.space.union(self._masks[n] for first, end in spans for n in range(first, end))

    def mask_where(self, accepts: Callable[[int], bool]) -> Set:
        return self.space.union(to for ip, to in zip(self._mask_ips, self._masks, strict=True) if accepts(ip))

    def _span(self, low: int, high: int) -> tuple[int, int]:
        return bisect_left(self._ips, low), bisect_right(self._ips, high)

    def _from_ports(self, numbers: Iterable[int]) -> Set:
        singles, others = [], []
        for number in numbers:
            calls = self._calls[number]
            if calls is None:
                singles.append(self.owner[number])
            else:
                others.append(calls)
        return self.space.union(others) | self.space.sources_among(singles)

    def calls_by(self, number: int) -> Set:
        """The pairs that a port's stack calls by it."""
        calls = self._calls[number]
        return calls if calls is not None else self.space.sources(self.owner[number], self.owner[number])

    def calls_by_any(self, numbers: Iterable[int]) -> Set:
        """The same of several ports."""
        return self._from_ports(numbers)

    def _called_by(self, number: int) -> Set | None:
        """The pairs that a port's stack calls by it; None: every pair of its stack."""
        if self.owner[number] == NO_STACK:
            return self.space.empty
        port, stack = self.ports[number], self.stacks[self.owner[number]]
        if len(stack.ports) == 1:
            return None
        reached = [(r.first, r.last) for r in stack.reaches if r.link == port.link]
        found = self.space.sources(self.owner[number], self.owner[number]) & self.daddr(tuple(reached))
        source = self.by_link.get(number)
        return found if source is None else found | self.space.sources(source, source)

    def of_stacks(self, flows: Set) -> Set:
        """Flows to the host; those of sources that stand for one link are told of their stacks."""
        stacks = self.space.sources_among({self.owner[number] for number in self.by_link})
        found = [flows & ~self.split & ~stacks]
        for number, source in self.by_link.items():
            mine = flows & self.space.sources(source, source)
            if mine != self.space.empty:
                found.append(self.space.anyone(mine) & self.calls_by(number) & ~self.split)
        return self.space.union(found)

    def split_of(self, stacks: Collection[int]) -> Set:
        """Pairs of the sources that stand for one link of the stacks."""
        return self.space.sources_among(source for n, source in self.by_link.items() if self.owner[n] in stacks)

    def calling(self, source: int, destination: int) -> int:
        """The source that stands for the link by which a stack calls a destination; the stack itself where it has but one."""
        own = {self.ports[n].link: by for n, by in self.by_link.items() if self.owner[n] == source}
        ip = self._ips[destination]
        return next((own.get(r.link, source) for r in self.stacks[source].reaches if r.first <= ip <= r.last), source)

    def troubles(self) -> Iterator[tuple[str, Set]]:
        """Pairs by what is wrong with the links of both sides."""
        callers: dict[str, list[int]] = defaultdict(list)
        called: dict[str, list[int]] = defaultdict(list)
        for number, port in enumerate(self.ports):
            callers[port.trouble[0]].append(number)
            called[port.trouble[1]].append(number)
        destinations = [(trouble, self.space.destinations_among(numbers)) for trouble, numbers in called.items()]
        for here, numbers in callers.items():
            sources = self._from_ports(numbers)
            for there, by in destinations:
                yield f"{here}; {there}", sources & by

    # Routes

    def _ways_forth(self) -> dict[Way, Set]:
        """How each pair's request leaves its source."""
        found: dict[Way, list[Set]] = {way: [] for way in Way}
        by_gateway, perhaps = [], []
        known = self.space.union((self.routed, *self.sent.values()))
        for reaches, numbers in self._alike():
            sources = self.space.sources_among(self.owner[n] for n in numbers)
            port = self.ports[numbers[0]]
            bridge, here = port.bridge, self._host_on.get(port.bridge) if port.routed else None
            for first, last, way in reaches:
                called = self.daddr(((first, last),))
                host, others = sources & called & self.to_host, called & ~self.to_host
                if way is Way.DIRECT:
                    near = host & here if here is not None else self.space.empty
                    found[Way.UP].append(near)
                    found[Way.OTHER].append(host & ~near)
                    elsewhere = sources & others & ~self._on(bridge)
                    if elsewhere != self.space.empty:
                        around = self._found_on(port.around)
                        found[Way.OTHER].append(elsewhere & around)
                        found[Way.LOST].append(elsewhere & ~around)
                    others = others & self._on(bridge)
                elif way is Way.GATEWAY:
                    if here is not None:
                        by_gateway.append(host & ~here)
                    else:
                        perhaps.append(host)
                    found[Way.UP].append(host)
                    found[Way.OTHER].append(sources & others & ~known)
                    others = others & known
                else:
                    found[way].append(host)
                found[way].append(sources & others)
        found[Way.UP].append(self.split & self.to_host)
        found[Way.OTHER].append(self.split & ~self.to_host)
        found[Way.NONE].append(self.space.sources_among(n for n, stack in enumerate(self.stacks) if not stack.ports))
        self.by_gateway, self.by_gateway_perhaps = self.space.union(by_gateway), self.space.union(perhaps)
        return {way: self.space.union(sets) for way, sets in found.items()}

    def _ways_back(self) -> dict[Way, Set]:
        """How each pair's reply leaves its destination by the link that was called. OTHER: by another one."""
        parts: dict[Way, list[Set]] = {way: [] for way in Way}
        for reaches, numbers in self._alike():
            destinations = self.space.destinations_among(numbers)
            bridge = self.ports[numbers[0]].bridge
            for first, last, way in reaches:
                pairs = destinations & self.saddr(((first, last),))
                if way is Way.DIRECT:
                    pairs = pairs & self.from_bridge[bridge]
                parts[way].append(pairs)
        found = {way: self.space.union(sets) for way, sets in parts.items()}
        found[Way.UP] = self.to_host
        found[Way.OTHER] = ~self.space.union(sets for way, sets in found.items() if way is not Way.OTHER)
        return found

    def _answers_masks(self) -> Set:
        """Destinations that send to the host's own address on their link straight back by it."""
        found = self.space.empty
        for reaches, numbers in self._alike():
            mask = self.masks.get(self.ports[numbers[0]].bridge)
            if mask is not None and any(w is Way.DIRECT and first <= mask <= last for first, last, w in reaches):
                found = found | self.space.destinations_among(numbers)
        return found

    def _alike(self) -> Iterator[tuple[_Reaches, list[int]]]:
        """Ports that send alike, by number, with the ranges of addresses that leave by them or nowhere."""
        groups: dict[tuple[str, bool, frozenset[str] | None, _Reaches], list[int]] = defaultdict(list)
        for number, port in enumerate(self.ports):
            if self.owner[number] != NO_STACK:
                stack = self.stacks[self.owner[number]]
                mine = tuple((r.first, r.last, r.way) for r in stack.reaches if r.link in (port.link, ""))
                groups[port.bridge, port.routed, port.around, mine].append(number)
        for (_, _, _, mine), numbers in groups.items():
            yield mine, numbers
