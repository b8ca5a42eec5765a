"""Reading a solution: the distinct behaviours of pairs, and which pair has which."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from diag.model.address import Family, Ip
from diag.model.analysis import Allowed, PortSet
from diag.model.flow import Protocol
from diag.model.netfilter import Ranges
from diag.model.provenance import Evidence
from diag.symbolic.answered import with_answers
from diag.symbolic.coded import Coded, Spans, of_pair
from diag.symbolic.kinds import FlowSets, Kind, Kinds
from diag.symbolic.pairs import Pairs
from diag.symbolic.rules import About, Translation
from diag.symbolic.space import Set, intervals

Flows = tuple[tuple[Protocol, tuple[tuple[int, int, Kind], ...]], ...]
"""Per protocol: ranges of ports, in order, each with its kind; one range for ICMP."""


class Behaviour(Struct, frozen=True, eq=False, dict=True):
    """What all flows of a pair do. Of one solution equal behaviours are one object."""

    flows: Flows

    @cached_property
    def covered(self) -> bool:
        """Whether the engine can tell."""
        return all(kind.covered for _, spans in self.flows for _, _, kind in spans)

    @cached_property
    def partial(self) -> bool:
        """Whether the engine can tell of some flows only."""
        return not self.covered and any(kind.covered for _, spans in self.flows for _, _, kind in spans)

    @cached_property
    def allowed(self) -> Allowed:
        """What is delivered and answered."""
        known = {protocol: _ports(spans, lambda kind: kind.delivered) for protocol, spans in self.flows}
        unknown = {protocol: _ports(spans, lambda kind: kind.unknown) for protocol, spans in self.flows}
        icmp, tcp, udp = Protocol.ICMP, Protocol.TCP, Protocol.UDP
        ping = None if unknown[icmp] else bool(known[icmp])
        return Allowed(ping, known[tcp], known[udp], unknown[tcp], unknown[udp])

    @cached_property
    def by_kind(self) -> tuple[tuple[Protocol, Kind, Ranges], ...]:
        """Per protocol and kind, in order of their first port."""
        found: dict[tuple[Protocol, Kind], list[tuple[int, int]]] = {}
        for protocol, spans in self.flows:
            for low, high, kind in spans:
                found.setdefault((protocol, kind), []).append((low, high))
        return tuple((protocol, kind, tuple(ranges)) for (protocol, kind), ranges in found.items())

    def kind(self, protocol: Protocol, port: int) -> Kind:
        """What becomes of one flow; 0 is the port of ICMP."""
        spans = dict(self.flows)[protocol]
        return next(kind for low, high, kind in spans if low <= port <= high)


class Row(Struct, frozen=True):
    """One destination: sources by number, first to last, with the behaviour of their pairs."""

    destination: int
    spans: tuple[tuple[int, int, Behaviour], ...]


class Taken(Struct, frozen=True):
    """Flows to one address, and who gets them."""

    protocol: Protocol
    ports: tuple[int, int]
    """That are called, first to last; (0, 0) for ICMP."""
    netns: str
    """Whose stack they are for, after DNAT."""
    kind: Kind
    """How they fare on their way to it and back."""
    by: Evidence | None = None
    """The rule that sends them there, where one does."""


def _rows(pairs: Pairs, kinds: Kinds) -> Iterator[Row]:
    """Every destination in order; none where there are no flows. Equal behaviours are one object."""
    if not kinds:
        return
    space = pairs.space
    coded = Coded(space, (flows for _, flows in kinds))
    reader = _Reader(coded, tuple(kind for kind, _ in kinds), len(pairs.stacks))
    for first, last, node in intervals(coded.diagram, 0, space.destination_levels, len(pairs.ports)):
        spans = reader.spans(node)
        for number in range(first, last + 1):
            yield Row(number, spans)


class Decisions:
    """Solutions that can be asked about single pairs."""

    def __init__(self, solutions: Mapping[Family, Solution]) -> None:
        self._by_family = solutions

    def behaviour(self, netns: str, ip: Ip) -> Behaviour | None:
        """What a namespace's flows to an address do; None: the engine does not cover all of them.

        Flows to an address of the host count as delivered where the host's own stack takes them, not a container's.
        """
        found = self.known(netns, ip)
        return found if found is not None and found.covered else None

    def known(self, netns: str, ip: Ip) -> Behaviour | None:
        """The same where it may cover a part of them, or none."""
        decided = self._by_family.get(ip.family)
        if decided is None:
            return None
        return decided.from_host.get(ip.value) if netns == "host" else decided.known(netns, ip.value)

    def from_host(self, ip: Ip) -> Behaviour | None:
        """The same of the host's own flows."""
        return self.behaviour("host", ip)

    def to_host(self, netns: str, ip: Ip) -> Behaviour | None:
        """The same of an address of the host, where what containers take of the flows counts as it fares."""
        decided = self._by_family.get(ip.family)
        return decided.to_host(netns, ip.value) if decided is not None else None

    def fate(self, netns: str, ip: Ip, protocol: Protocol, port: int) -> Taken | None:
        """One flow of a namespace; None: the engine cannot tell, or docker-proxy takes it."""
        decided = self._by_family.get(ip.family)
        return decided.fate(netns, ip.value, protocol, port) if decided is not None else None

    def blocker(self, kind: Kind, ip: Ip) -> Evidence | None:
        """The rule that stops requests of a kind to an address; None where it may be one of several, or is none."""
        decided = self._by_family.get(ip.family)
        return decided.blocker(kind, ip) if decided is not None else None

    def taken(self, netns: str, ip: Ip) -> tuple[Taken, ...] | None:
        """What containers get of a namespace's flows to an address of the host; None where the engine cannot tell.

        What docker-proxy takes of them cannot be told.
        """
        decided = self._by_family.get(ip.family)
        return decided.taken(netns, ip.value) if decided is not None else None


class Solution:
    """What all pairs of plain stacks of one family do."""

    def __init__(self, sets: FlowSets) -> None:
        """Raises DDMemoryError where the diagrams grow too large."""
        self._sets = sets
        self.pairs = pairs = sets.pairs
        self.rows = tuple(_rows(pairs, sets.kinds))
        """Every destination in order."""
        self.from_host = {pairs.ports[row.destination].ip: row.spans[0][2] for row in _rows(pairs, sets.from_host)}
        """What the host's own flows to each address do."""
        self._stacks = {stack.netns: number for number, stack in enumerate(pairs.stacks)}
        self._ports = pairs.ports
        self._rows = {pairs.ports[row.destination].ip: row for row in self.rows}
        self._published = _Published(sets)
        self._blockers = sets.blockers
        self._rules_are_lost = sets.rules_are_lost

    def known(self, netns: str, ip: int) -> Behaviour | None:
        """As :meth:`Decisions.known`; so the others."""
        number, row = self._stacks.get(netns), self._rows.get(ip)
        if number is None or row is None or self._ports[row.destination].netns == netns:
            return None
        return _of(number, row)

    @cached_property
    def _to_host(self) -> Mapping[int, Row]:
        rows = _rows(self.pairs, with_answers(self._sets))
        return {port.ip: row for row in rows if (port := self._ports[row.destination]).netns == "host"}

    def to_host(self, netns: str, ip: int) -> Behaviour | None:
        number, row = self._stacks.get(netns), self._to_host.get(ip)
        return _of(number, row) if number is not None and row is not None else None

    def blocker(self, kind: Kind, ip: Ip) -> Evidence | None:
        """As :meth:`Decisions.blocker`."""
        abouts: tuple[About, ...] = (ip, self.pairs.bridge_of.get(ip), None)
        found = [self._blockers[kind.blocker, about] for about in abouts if (kind.blocker, about) in self._blockers]
        return found[0] if len(found) == 1 else None

    def fate(self, netns: str, ip: int, protocol: Protocol, port: int) -> Taken | None:
        behaviour, number = self.known(netns, ip), self._stacks.get(netns)
        if behaviour is None or number is None:
            return None
        kind, destination = behaviour.kind(protocol, port), self._rows[ip].destination
        if not kind.covered:
            return None
        if not kind.elsewhere:
            return Taken(protocol, (port, port), self._ports[destination].netns, kind)
        found = self._published.fate(destination, number, protocol, port)
        return found if found is not None and found.kind.covered else None

    def taken(self, netns: str, ip: int) -> tuple[Taken, ...] | None:
        behaviour, number = self.known(netns, ip), self._stacks.get(netns)
        if behaviour is None or number is None or not behaviour.covered or self._rules_are_lost:
            return None
        found = tuple(self._published.taken(self._rows[ip].destination, number))
        elsewhere = sum(high - low + 1 for _, spans in behaviour.flows for low, high, kind in spans if kind.elsewhere)
        if sum(t.ports[1] - t.ports[0] + 1 for t in found) != elsewhere:
            return None
        return found if all(t.kind.covered for t in found) else None


def _of(source: int, row: Row) -> Behaviour:
    return next(behaviour for first, last, behaviour in row.spans if first <= source <= last)


class _Published:
    """The flows to the host that DNAT sends on, and how they fare."""

    def __init__(self, sets: FlowSets) -> None:
        space, self._pairs = sets.pairs.space, sets.pairs
        self._numbers = {port.ip: number for number, port in enumerate(self._pairs.ports)}
        self._translations = sets.translations
        self._diverting = sets.diverting
        self._kinds = tuple(kind for kind, _ in sets.translated)
        self._fates = Coded(space, (flows for _, flows in sets.translated))

    @functools.cached_property
    def _called(self) -> Coded:
        return Coded(self._pairs.space, (found.flows & self._diverting for _, found in self._translations))

    def taken(self, destination: int, source: int) -> Iterator[Taken]:
        """Everything that a source calls at one of the host's addresses, by their numbers, and a container gets."""
        space, caller = self._pairs.space, self._pairs.calling(source, destination)
        diverting = of_pair(space, self._diverting, destination, source)
        called = []
        below: dict[Set, Set] = {}
        for translation, found in self._translations:
            if found.pairs not in below:
                below[found.pairs] = of_pair(space, found.pairs, destination, source) & diverting
            flows = below[found.pairs] if found.ports is None else below[found.pairs] & found.ports
            if flows != space.empty:
                called.append((translation, flows))
        coded = Coded(space, (flows for _, flows in called))
        parts = sorted(
            (number, place, (low, high), protocol)
            for place, (protocol, spans) in enumerate(coded.spans(coded.diagram))
            for low, high, number in spans
            if number is not None
        )
        for number, _, ports, protocol in parts:
            yield from self._taken(protocol, ports, called[number][0], caller)

    def fate(self, destination: int, source: int, protocol: Protocol, port: int) -> Taken | None:
        """One such flow; None: no container gets it by DNAT."""
        number = self._called.at(self._called.of_pair(destination, source), protocol, port)
        if number is None:
            return None
        caller = self._pairs.calling(source, destination)
        return next(self._taken(protocol, (port, port), self._translations[number][0], caller))

    def _taken(
        self, protocol: Protocol, called: tuple[int, int], translation: Translation, source: int
    ) -> Iterator[Taken]:
        there = self._numbers.get(translation.ip)
        if there is None:
            yield Taken(protocol, called, "", Kind(delivered=False, covered=False), translation.evidence)
            return
        netns, below = self._pairs.ports[there].netns, self._fates.of_pair(there, source)
        if translation.port is not None:
            kind = self._kind(self._fates.at(below, protocol, translation.port))
            yield Taken(protocol, called, netns, kind, translation.evidence)
            return
        spans = dict(self._fates.spans(below))[protocol]
        for low, high, number in spans:
            first, last = max(low, called[0]), min(high, called[1])
            if first <= last:
                yield Taken(protocol, (first, last), netns, self._kind(number), translation.evidence)

    def _kind(self, number: int | None) -> Kind:
        return Kind(delivered=False, covered=False) if number is None else self._kinds[number]


class _Reader:
    def __init__(self, coded: Coded, kinds: tuple[Kind, ...], sources: int) -> None:
        self.coded = coded
        self.kinds = kinds
        self.sources = sources
        self._spans: dict[Set, tuple[tuple[int, int, Behaviour], ...]] = {}
        self._behaviours: dict[Set, Behaviour] = {}
        self._equal: dict[Flows, Behaviour] = {}

    def spans(self, node: Set) -> tuple[tuple[int, int, Behaviour], ...]:
        """Below the destination: sources with their behaviours."""
        if node not in self._spans:
            space = self.coded.space
            above = space.destination_levels
            found = intervals(node, above, space.pair_levels - above, self.sources)
            self._spans[node] = tuple((first, last, self._behaviour(below)) for first, last, below in found)
        return self._spans[node]

    def _behaviour(self, node: Set) -> Behaviour:
        if node not in self._behaviours:
            flows = tuple((protocol, self._named(spans)) for protocol, spans in self.coded.spans(node))
            if flows not in self._equal:
                self._equal[flows] = Behaviour(flows)
            self._behaviours[node] = self._equal[flows]
        return self._behaviours[node]

    def _named(self, spans: Spans) -> tuple[tuple[int, int, Kind], ...]:
        """Every flow is of some kind."""
        return tuple((low, high, self.kinds[number or 0]) for low, high, number in spans)


def _ports(spans: tuple[tuple[int, int, Kind], ...], holds: Callable[[Kind], bool]) -> PortSet:
    return PortSet(_joined([(low, high) for low, high, kind in spans if holds(kind)]))


def _joined(ranges: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for low, high in ranges:
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return tuple(joined)
