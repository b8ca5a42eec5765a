"""What rules can see of the packets of every pair at one hook of the host, as sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

from msgspec import Struct

from diag.kernel import sysctl
from diag.kernel.fib import Fib, RouteNotCapturedError
from diag.model.address import Family
from diag.model.enums import Word
from diag.model.flow import ICMP, ICMPV6, TCP, UDP, Protocol
from diag.model.netfilter import (
    PORT_OF,
    AddrType,
    AnyBit,
    AnyOf,
    CtState,
    CtStatus,
    FibOif,
    Field,
    Hook,
    InSet,
    Masked,
    Match,
    Named,
    NamedSet,
    Opaque,
    Ranges,
    SetElement,
    Within,
)
from diag.model.netns import Netns
from diag.symbolic.pairs import Pairs
from diag.symbolic.space import Set
from diag.symbolic.stacks import Way

_NUMBERS = {
    family: {protocol: protocol.number(family) for protocol in Protocol} for family in (Family.IPV4, Family.IPV6)
}
_ECHO = {Family.IPV4: (8, 0), Family.IPV6: (128, 129)}
"""Types of the request and the reply."""
_ICMP_FIELDS = {
    Family.IPV4: (Field.ICMP_TYPE, Field.ICMP_CODE),
    Family.IPV6: (Field.ICMPV6_TYPE, Field.ICMPV6_CODE),
}
_NFPROTO = {Family.IPV4: 2, Family.IPV6: 10}
_SYN, _ACK = 2, 16


class Packet(Word):
    """Which packet of a flow."""

    REQUEST = "request"
    REPLY = "reply"
    THIRD = "third"
    """The ACK that ends TCP's handshake."""


class OfProtocol(Struct, frozen=True):
    """A field that differs by protocol; protocols without it are left out."""

    values: dict[Protocol, int]


Constant = int | OfProtocol
"""A field that is the same for all flows, or for all of a protocol."""
_FLAGS = {Packet.REQUEST: _SYN, Packet.REPLY: _SYN | _ACK, Packet.THIRD: _ACK}
_STATUS = {
    Packet.REQUEST: 0,
    Packet.REPLY: CtStatus.SEEN_REPLY | CtStatus.CONFIRMED,
    Packet.THIRD: CtStatus.SEEN_REPLY | CtStatus.CONFIRMED | CtStatus.ASSURED,
}
_CALLER = frozenset({Field.CT_ORIG_SADDR, Field.CT_REPL_DADDR})
_CALLED = frozenset({Field.CT_ORIG_DADDR, Field.CT_REPL_SADDR})
_CALLED_PORT = frozenset({Field.CT_ORIG_DPORT, Field.CT_REPL_SPORT})
_CALLER_PORT = frozenset({Field.CT_ORIG_SPORT, Field.CT_REPL_DPORT})
_OF_CONNECTION = (
    frozenset({Field.CT_MARK, Field.CT_STATUS, Field.CT_PROTOCOL, Field.CT_DIRECTION})
    | _CALLER
    | _CALLED
    | _CALLED_PORT
    | _CALLER_PORT
)

OF_PORTS = (
    frozenset({Field.PROTOCOL, Field.SPORT, Field.DPORT, Field.TCP_FLAGS, Field.CT_PROTOCOL})
    | {where for fields in _ICMP_FIELDS.values() for where in fields}
    | _CALLED_PORT
    | _CALLER_PORT
)
"""Fields that say nothing of the pair; all others say nothing of protocol and port."""
_OF_EACH_FLOW = frozenset({Field.SADDR, Field.DADDR, Field.SPORT, Field.DPORT})
"""Most matches look at these."""
_DIMENSIONS = frozenset({"ip", "net", "port"})
"""Of ipsets, as far as they are turned into sets of flows."""
_OF_ADDRESSES = frozenset({Field.SADDR, Field.DADDR})
_TYPES = frozenset({Field.SADDR_TYPE, Field.DADDR_TYPE, Field.SADDR_TYPE_IIF, Field.DADDR_TYPE_IIF})
_NAMELESS = {Field.OIFNAME: (Hook.PREROUTING, Hook.INPUT), Field.IIFNAME: (Hook.OUTPUT,)}
"""Hooks at which there is no such interface."""
_CONSTANT = {Field.MARK: 0, Field.CT_MARK: 0, Field.PKTTYPE: 0, Field.FRAGMENT: 0}


class View:
    """The packets of one kind at one hook. A set that cannot be told exactly is None: the interpreter decides there."""

    def __init__(
        self,
        pairs: Pairs,
        host: Netns,
        packet: Packet,
        hook: Hook,
        *,
        tracked: bool,
        unknown: frozenset[Field] = frozenset(),
        to_host: bool = False,
        from_host: bool = False,
        routed: bool = False,
        framed: tuple[Set, Set] | None = None,
    ) -> None:
        self.pairs = pairs
        self.space = pairs.space
        self.packet = packet
        self.hook = hook
        self.tracked = tracked
        """Whether the packet has met conntrack."""
        self._unknown = unknown
        """Fields that NAT makes other than what they would be without it."""
        self._to_host = to_host
        """Its destination is the host's own address on the link, and not the caller's."""
        self._from_host = from_host
        """The caller is the host, from its address on the destination's bridge."""
        self._routed = routed
        """All packets are routed, whatever the way to the destination without NAT."""
        self._framed = framed
        """Pairs whose packets, or replies, come in by a port of a bridge that calls iptables; None: not told."""
        self.family = pairs.family
        self._host = host
        self._ephemeral = sysctl.local_port_range(host)
        self._known: dict[Match, Set | None] = {}

    @cached_property
    def _fib(self) -> Fib:
        return Fib(self._host, self.family)

    def holds(self, match: Match, find_set: Callable[[InSet], NamedSet | None]) -> Set | None:
        """The flows whose packet fits a match."""
        if isinstance(match, InSet):
            return self._in_set(match, find_set(match))
        if isinstance(match, AnyOf):
            return self._any_of(match, find_set)
        return self.plain(match)

    def plain(self, match: Match) -> Set | None:
        """The same of a match that looks nothing up."""
        try:
            return self._known[match]
        except KeyError:
            found = self._known[match] = self._plain(match)
            return found

    def element(self, fields: tuple[Field, ...], element: SetElement) -> Set | None:
        """The flows whose fields are in an element of a set."""
        if len(fields) != len(element.key):
            return self.space.empty
        found = self.space.all
        for where, key in zip(fields, element.key, strict=True):
            part = self._plain(Named(where, (key,)) if isinstance(key, str) else Within(where, (key,)))
            if part is None:
                return None
            found = found & part
        return found

    def _any_of(self, match: AnyOf, find_set: Callable[[InSet], NamedSet | None]) -> Set | None:
        found = self.space.empty
        for alternative in match.alternatives:
            both = self.space.all
            for part in alternative:
                holds = self.holds(part, find_set)
                if holds is None:
                    return None
                both = both & holds
            found = found | both
        return ~found if match.negated else found

    def _in_set(self, match: InSet, named: NamedSet | None) -> Set | None:
        if named is None or named.unmodelled or any(e.negated for e in named.elements):
            return None
        if match.ipset and not _DIMENSIONS.issuperset(named.dimensions):
            return None
        found = self._in_ranges(match.fields[0], named) if len(match.fields) == 1 else None
        if found is None:
            found = self._in_elements(match, named)
        if found is None or not match.negated:
            return found
        present = self._present(match.fields)
        return present & ~found if present is not None else None

    def _in_ranges(self, where: Field, named: NamedSet) -> Set | None:
        """All elements of one dimension at once; None where they are not plain ranges of the field."""
        keys = [element.key[0] for element in named.elements if len(element.key) == 1]
        ranges = tuple(key for key in keys if not isinstance(key, str))
        if named.dimensions not in ((), ("ip",), ("net",)) or len(ranges) < len(named.elements):
            return None
        return self._plain(Within(where, ranges))

    def _in_elements(self, match: InSet, named: NamedSet) -> Set | None:
        found = self.space.empty
        for element in named.elements:
            part = (
                self._ipset_element(match.fields, named, element)
                if match.ipset
                else self.element(match.fields, element)
            )
            if part is None:
                return None
            found = found | part
        return found

    def _ipset_element(self, fields: tuple[Field, ...], named: NamedSet, element: SetElement) -> Set | None:
        """The same of an ipset, whose ports have the number of their protocol before them."""
        if len(fields) != len(element.key):
            return self.space.empty
        found = self.space.all
        for where, dimension, key in zip(fields, named.dimensions, element.key, strict=True):
            if dimension == "port":
                part = self._ipset_ports(where, key)
            else:
                part = None if isinstance(key, str) else self._plain(Within(where, (key,)))
            if part is None:
                return None
            found = found & part
        return found

    def _ipset_ports(self, where: Field, key: tuple[int, int] | str) -> Set | None:
        if isinstance(key, str) or key[0] >> 16 in (ICMP, ICMPV6):
            return None
        protocol = {TCP: Protocol.TCP, UDP: Protocol.UDP}.get(key[0] >> 16)
        if protocol is None:
            return self.space.empty
        ports = self._plain(Within(PORT_OF[where], ((key[0] & 0xFFFF, key[1] & 0xFFFF),)))
        return self.space.protocol[protocol] & ports if ports is not None else None

    def _present(self, fields: tuple[Field, ...]) -> Set | None:
        found = self.space.all
        for where in fields:
            everything = self._plain(Within(where, ((0, (1 << 128) - 1),)))
            if everything is None and where not in (Field.IIFNAME, Field.OIFNAME):
                return None
            found = found & everything if everything is not None else found
        return found

    def _plain(self, match: Match) -> Set | None:
        match match:
            case Within(where, ranges, negated):
                return self._where(where, ranges, lambda value: _within(value, ranges), negated=negated)
            case Masked(where, mask, wanted, negated):
                return self._where(where, None, lambda value: value & mask == wanted, negated=negated)
            case AnyBit(where, mask, negated):
                return self._where(where, None, lambda value: bool(value & mask), negated=negated)
            case Named(where, patterns, negated):
                found = self._named(where, patterns)
                return ~found if negated and found is not None else found
            case FibOif() | Opaque() | InSet() | AnyOf():
                return None

    def _where(
        self, where: Field, ranges: Ranges | None, accepts: Callable[[int], bool], *, negated: bool
    ) -> Set | None:
        """Flows that have the field with a value that is accepted, or is not; `ranges` says the same where it can."""
        value = self._value(where)
        if isinstance(value, OfProtocol):
            fitting = (name for name, number in value.values.items() if accepts(number) != negated)
            return self.space.union(self.space.protocol[name] for name in fitting)
        if value is not None:
            return self.space.all if accepts(value) != negated else self.space.empty
        present, inside = self._computed(where, ranges, accepts)
        if inside is None:
            return None
        return present & ~inside if negated else present & inside

    def _value(self, where: Field) -> Constant | None:
        """A field that is the same for all flows, or for all of a protocol."""
        if where in _OF_EACH_FLOW:
            return None
        if where in _OF_CONNECTION and not self.tracked:
            return OfProtocol({})
        if where in self._unknown:
            return None
        if where in _CONSTANT:
            return _CONSTANT[where]
        match where:
            case Field.NFPROTO:
                return _NFPROTO[self.family]
            case Field.PROTOCOL | Field.CT_PROTOCOL:
                return OfProtocol(_NUMBERS[self.family])
            case Field.ICMP_TYPE | Field.ICMP_CODE | Field.ICMPV6_TYPE | Field.ICMPV6_CODE:
                return self._icmp(where)
            case Field.TCP_FLAGS:
                return OfProtocol({Protocol.TCP: _FLAGS[self.packet]})
            case Field.CT_STATE:
                if not self.tracked:
                    return CtState.INVALID
                return CtState.NEW if self.packet is Packet.REQUEST else CtState.ESTABLISHED
            case Field.CT_STATUS:
                return _STATUS[self.packet]
            case Field.CT_DIRECTION:
                return int(self.packet is Packet.REPLY)
        return None

    def _icmp(self, where: Field) -> OfProtocol:
        kind, code = _ICMP_FIELDS[self.family]
        if where not in (kind, code):
            return OfProtocol({})
        return OfProtocol({Protocol.ICMP: _ECHO[self.family][self.packet is Packet.REPLY] if where is kind else 0})

    def _computed(self, where: Field, ranges: Ranges | None, accepts: Callable[[int], bool]) -> tuple[Set, Set | None]:
        """Flows that have a field, and those of them whose value is accepted."""
        everything = self.space.all
        back = self.packet is Packet.REPLY
        if where in self._unknown:
            return everything, self._mask(ranges, accepts) if where is Field.DADDR and self._to_host else None
        if where in _OF_ADDRESSES:
            return everything, self._address(ranges, accepts, caller=(where is Field.SADDR) != back)
        if where in _CALLER or where in _CALLED:
            return everything, self._address(ranges, accepts, caller=where in _CALLER)
        if where in _TYPES:
            caller = (where in (Field.SADDR_TYPE, Field.SADDR_TYPE_IIF)) != back
            if where is Field.DADDR_TYPE_IIF and not back and self.hook in _NAMELESS[Field.OIFNAME]:
                return everything, self._type_on_input(accepts)
            return everything, self._address(None, lambda ip: accepts(self._type(ip)), caller=caller)
        if where in _OF_EACH_FLOW or where in _CALLED_PORT or where in _CALLER_PORT:
            called = where in _CALLED_PORT or where is (Field.SPORT if back else Field.DPORT)
            ping = where in _OF_CONNECTION and accepts(0)
            present = everything if where in _OF_CONNECTION else self.space.with_ports
            inside = self._port(ranges, called=called)
            if inside is not None:
                inside = inside & self.space.with_ports
                inside = inside | self.space.protocol[Protocol.ICMP] if ping else inside
            return present, inside
        return everything, None

    def _address(self, ranges: Ranges | None, accepts: Callable[[int], bool], *, caller: bool) -> Set:
        if caller and self._from_host:
            return self._mask(ranges, accepts)
        if ranges is not None:
            return self.pairs.saddr(ranges) if caller else self.pairs.daddr(ranges)
        return self.pairs.saddr_where(accepts) if caller else self.pairs.daddr_where(accepts)

    def _mask(self, ranges: Ranges | None, accepts: Callable[[int], bool]) -> Set:
        return self.pairs.mask_where(accepts) if ranges is None else self.pairs.mask(ranges)

    def _type_on_input(self, accepts: Callable[[int], bool]) -> Set:
        """Pairs of which the type of the address that is called is accepted, where it has to be the input interface's."""
        pairs = self.pairs
        inside = pairs.daddr_where(lambda ip: accepts(self._type(ip))) & ~pairs.to_host
        for bridge in pairs.bridges:
            own = (n for n, p in enumerate(pairs.ports) if p.netns == "host" and accepts(self._type(p.ip, bridge)))
            inside = inside | (pairs.from_bridge[bridge] & self.space.destinations_among(own))
        return inside

    def _type(self, ip: int, dev: str = "") -> int:
        try:
            return AddrType[self._fib.address_type(ip, dev).name]
        except RouteNotCapturedError:
            return AddrType.UNICAST

    def _port(self, ranges: Ranges | None, *, called: bool) -> Set | None:
        if ranges is None:
            return None
        if called:
            return self.space.ports(ranges)
        low, high = self._ephemeral
        if any(first <= low and high <= last for first, last in ranges):
            return self.space.all
        return self.space.empty if all(last < low or high < first for first, last in ranges) else None

    def _named(self, where: Field, patterns: tuple[str, ...]) -> Set | None:
        if where in (Field.PHYSIN, Field.PHYSOUT):
            return self._by_port(where, patterns)
        if where not in (Field.IIFNAME, Field.OIFNAME):
            return None
        nameless = self.space.all if any(fits("", pattern) for pattern in patterns) else self.space.empty
        if self.hook in _NAMELESS[where] or (
            self._from_host and where is Field.IIFNAME and self.packet is not Packet.REPLY
        ):
            return nameless
        back = self.packet is Packet.REPLY
        by = self.pairs.from_bridge if (where is Field.IIFNAME) != back else self.pairs.to_bridge
        names = {name for pattern in patterns for name in self._named_by(pattern)}
        found = self.space.union(by[name] for name in sorted(names))
        if where is Field.IIFNAME and self.hook is Hook.POSTROUTING:  # a bridged packet shows none any more
            ways = self.pairs.reply if back else self.pairs.request
            routed = self.space.all if self._routed else ways[Way.GATEWAY]
            return (found & routed) | (nameless & ~routed)
        return found

    def _by_port(self, where: Field, patterns: tuple[str, ...]) -> Set | None:
        """By the port of a bridge that packets come in by, or leave by where they are not routed (br_netfilter_hooks.c)."""
        if self._framed is None:
            return None
        pairs, back = self.pairs, self.packet is Packet.REPLY
        shown = self.space.empty if self.hook is Hook.OUTPUT or (self._from_host and not back) else self._framed[back]
        if where is Field.PHYSOUT and self.hook not in (Hook.FORWARD, Hook.POSTROUTING):
            shown = self.space.empty
        elif where is Field.PHYSOUT:
            shown = shown & (pairs.reply if back else pairs.request)[Way.DIRECT]
        numbers = [n for n, port in enumerate(pairs.ports) if any(fits(port.outside, pattern) for pattern in patterns)]
        caller = (where is Field.PHYSIN) != back
        found = pairs.calls_by_any(numbers) if caller else self.space.destinations_among(numbers)
        nameless = self.space.all if any(fits("", pattern) for pattern in patterns) else self.space.empty
        return (found & shown) | (nameless & ~shown)

    def _named_by(self, pattern: str) -> Iterable[str]:
        if not pattern.endswith("*"):
            return (pattern,) if pattern in self.pairs.to_bridge else ()
        return (name for name in self.pairs.bridges if fits(name, pattern))


def _within(value: int, ranges: Ranges) -> bool:
    return any(low <= value <= high for low, high in ranges)


def fits(name: str, pattern: str) -> bool:
    """Whether an interface's name is the pattern's, which may end in a star."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
