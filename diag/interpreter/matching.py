"""Does a match hold for a packet? Exact where the model knows, asked for where it does not.

A match becomes a function of the packet at its hook once (:func:`compiled`), since thousands of packets meet it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from operator import attrgetter
from typing import assert_never

from msgspec import Struct

from diag.interpreter.choices import Choices
from diag.interpreter.packet import ETHER_TYPES, Packet, Passage, Port, PortKind
from diag.kernel.fib import Fib, FibQuery, RouteNotCapturedError
from diag.model.address import Family, Ip
from diag.model.flow import ICMP, ICMPV6, TCP, UDP
from diag.model.message import said, say
from diag.model.netfilter import (
    PORT_OF,
    AddrType,
    AnyBit,
    AnyOf,
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
    name_fits,
)
from diag.model.netns import RouteType
from diag.model.provenance import Evidence

_TYPE_NUMBERS = {
    RouteType.UNICAST: 1,
    RouteType.LOCAL: 2,
    RouteType.BROADCAST: 3,
    RouteType.ANYCAST: 4,
    RouteType.MULTICAST: 5,
    RouteType.BLACKHOLE: 6,
    RouteType.UNREACHABLE: 7,
    RouteType.PROHIBIT: 8,
    RouteType.THROW: 9,
    RouteType.NAT: 10,
}

_PORT_PROTOCOLS = frozenset({TCP, UDP, 33, 132, 136})
_PORT_FIELDS = frozenset({Field.SPORT, Field.DPORT})
_OF_EVERY_FRAME = frozenset(
    {
        *(Field.MARK, Field.IIFNAME, Field.OIFNAME, Field.PKTTYPE, Field.IBRNAME, Field.OBRNAME),
        *(Field.ETHER_SADDR, Field.ETHER_DADDR, Field.ETHER_TYPE, Field.ARP_OPERATION, Field.ARP_SADDR_IP),
        *(Field.ARP_DADDR_IP, Field.ARP_SADDR_ETHER, Field.ARP_DADDR_ETHER),
    }
)
_NAME_FIELDS = frozenset({Field.IIFNAME, Field.OIFNAME, Field.PHYSIN, Field.PHYSOUT})


class NotShown(Enum):
    """A value that the packet has and the capture does not show."""

    MAC = say("a MAC address that the rule looks at was not captured")


Value = int | str | Port | NotShown


class Window:
    """Destination ports for which everything asked so far comes out the same."""

    def __init__(self) -> None:
        self.low = 0
        self.high = 65535

    def within(self, value: int, ranges: Ranges) -> bool:
        """Whether `value` is in the ranges; the window shrinks to the ports that give the same answer."""
        for first, last in ranges:
            if first <= value <= last:
                self.low, self.high = max(self.low, first), min(self.high, last)
                return True
            if last < value:
                self.low = max(self.low, last + 1)
            else:
                self.high = min(self.high, first - 1)
        return False

    def pin(self, value: int) -> None:
        """The answer may be another for any other port."""
        self.low = self.high = value


class Surroundings(Struct, frozen=True):
    """What rules can ask of the namespace that they are in."""

    netns: str
    fib: Fib
    ephemeral: tuple[int, int]
    """Ports that the namespace gives to its clients."""
    kernel: tuple[int, int] | None
    """Version; None: not captured."""


class LinkView(Struct, frozen=True, gc=False):
    """What the rules of the bridge, netdev and arp families can ask of a frame's way."""

    ibrname: str = ""
    obrname: str = ""
    pkttype: int | None = None
    """As :attr:`Field.PKTTYPE`; None: not captured."""


class Context(Struct):
    """The packet at one hook of one namespace."""

    packet: Packet
    hook: Hook
    passage: Passage
    surroundings: Surroundings
    choices: Choices
    window: Window
    iif: str = ""
    oif: str = ""
    physout: str = ""
    link: LinkView | None = None
    """None: the rules are of a family of layer 3."""
    arp: int = 0
    """As :attr:`Frame.arp`."""
    gateway: Ip | None = None
    """Of the route that the packet takes."""
    rule: Evidence | None = None
    """The rule under evaluation, which a question cites."""

    def ask(self, cause: str, *, key: object = None) -> bool:
        text = say("{cause} ({rule})", cause=cause, rule=self.rule) if self.rule else cause
        return self.choices.ask((key or text, self.surroundings.netns, self.passage.direction, self.packet.tuple), text)

    def port_within(self, port: Port, ranges: Ranges) -> bool:
        """Whether a port is in the ranges; a port that the kernel chooses is asked for."""
        if port.kind == PortKind.FIXED:
            return any(first <= port.value <= last for first, last in ranges)
        if port.kind == PortKind.ASKED:
            return self.window.within(port.value, ranges)
        low, high = self.surroundings.ephemeral if port.kind == PortKind.EPHEMERAL else (port.low, port.high)
        if any(first <= low and high <= last for first, last in ranges):
            return True
        if all(last < low or high < first for first, last in ranges):
            return False
        return self.ask(say("the rule looks at a port that the kernel chooses"), key=("port", port, ranges))

    def not_shown(self, value: NotShown) -> bool:
        """Whether a match on a value that the capture does not show holds."""
        return self.ask(value.value)

    def value(self, where: Field) -> Value | None:
        """The field's value; None where this packet has no such field."""
        return None if self.arp and where not in _OF_EVERY_FRAME else _READERS[where](self)


def _icmp(protocol: int, attribute: str) -> Callable[[Context], int | None]:
    def read(context: Context) -> int | None:
        return getattr(context.packet, attribute) if context.packet.protocol == protocol else None

    return read


def _address_type(attribute: str, *, limited: bool) -> Callable[[Context], int]:
    def read(context: Context) -> int:
        value = getattr(context.packet, attribute)
        try:
            return _TYPE_NUMBERS[context.surroundings.fib.address_type(value, context.iif if limited else "")]
        except RouteNotCapturedError as missing:
            local = context.ask(say("the type of an address: {why}", why=said(missing)), key=("type", attribute))
            return AddrType.LOCAL if local else AddrType.UNICAST

    return read


def _tuple_field(reply: bool, attribute: str) -> Callable[[Context], int | Port | None]:
    def read(context: Context) -> int | Port | None:
        connection = context.passage.connection
        if connection is None:
            return None
        found: int | Port = getattr(connection.reply if reply else connection.original, attribute)
        return found

    return read


def _packet_type(context: Context) -> int | NotShown:
    if context.link is not None:
        return NotShown.MAC if context.link.pkttype is None else context.link.pkttype
    if not context.iif:
        return 0
    return {RouteType.BROADCAST: 1, RouteType.MULTICAST: 2}.get(
        context.surroundings.fib.local_type(context.packet.daddr), 0
    )


def _mac(attribute: str) -> Callable[[Context], int | NotShown | None]:
    def read(context: Context) -> int | NotShown | None:
        frame = context.passage.frame
        if frame is None:
            return None
        value: int | None = getattr(frame, attribute)
        return NotShown.MAC if value is None else value

    return read


def _arp(attribute: str) -> Callable[[Context], int | None]:
    def read(context: Context) -> int | None:
        return getattr(context.packet, attribute) if context.arp else None

    return read


def _arp_target(context: Context) -> int | NotShown | None:
    """The wanted MAC address: a question has none yet."""
    if not context.arp:
        return None
    return 0 if context.arp == 1 else _mac("daddr")(context)


_READERS: dict[Field, Callable[[Context], Value | None]] = {
    Field.SADDR: attrgetter("packet.saddr"),
    Field.DADDR: attrgetter("packet.daddr"),
    Field.PROTOCOL: attrgetter("packet.protocol"),
    Field.SPORT: lambda c: c.packet.sport if c.packet.protocol in _PORT_PROTOCOLS else None,
    Field.DPORT: lambda c: c.packet.dport if c.packet.protocol in _PORT_PROTOCOLS else None,
    Field.ICMP_TYPE: _icmp(ICMP, "icmp_type"),
    Field.ICMP_CODE: _icmp(ICMP, "icmp_code"),
    Field.ICMPV6_TYPE: _icmp(ICMPV6, "icmp_type"),
    Field.ICMPV6_CODE: _icmp(ICMPV6, "icmp_code"),
    Field.TCP_FLAGS: lambda c: c.packet.tcp_flags if c.packet.protocol == TCP else None,
    Field.MARK: attrgetter("packet.mark"),
    Field.CT_MARK: lambda c: c.passage.connection.mark if c.passage.connection else None,
    Field.CT_STATE: attrgetter("passage.state"),
    Field.CT_STATUS: lambda c: c.passage.connection.status if c.passage.connection else None,
    Field.CT_PROTOCOL: lambda c: c.passage.connection.original.protocol if c.passage.connection else None,
    Field.CT_DIRECTION: lambda c: c.passage.direction if c.passage.connection else None,
    Field.CT_ORIG_SADDR: _tuple_field(False, "saddr"),
    Field.CT_ORIG_DADDR: _tuple_field(False, "daddr"),
    Field.CT_ORIG_SPORT: _tuple_field(False, "sport"),
    Field.CT_ORIG_DPORT: _tuple_field(False, "dport"),
    Field.CT_REPL_SADDR: _tuple_field(True, "saddr"),
    Field.CT_REPL_DADDR: _tuple_field(True, "daddr"),
    Field.CT_REPL_SPORT: _tuple_field(True, "sport"),
    Field.CT_REPL_DPORT: _tuple_field(True, "dport"),
    Field.IIFNAME: attrgetter("iif"),
    Field.OIFNAME: attrgetter("oif"),
    Field.PHYSIN: attrgetter("passage.physin"),
    Field.PHYSOUT: attrgetter("physout"),
    Field.SADDR_TYPE: _address_type("saddr", limited=False),
    Field.DADDR_TYPE: _address_type("daddr", limited=False),
    Field.SADDR_TYPE_IIF: _address_type("saddr", limited=True),
    Field.DADDR_TYPE_IIF: _address_type("daddr", limited=True),
    Field.PKTTYPE: _packet_type,
    Field.NFPROTO: lambda c: 2 if c.packet.family is Family.IPV4 else 10,
    Field.FRAGMENT: lambda _c: 0,
    Field.IBRNAME: lambda c: (c.link.ibrname or None) if c.link else None,
    Field.OBRNAME: lambda c: (c.link.obrname or None) if c.link else None,
    Field.ETHER_SADDR: _mac("saddr"),
    Field.ETHER_DADDR: _mac("daddr"),
    Field.ETHER_TYPE: lambda c: c.passage.frame.ether_type if c.passage.frame else ETHER_TYPES[c.packet.family],
    Field.ARP_OPERATION: lambda c: c.arp or None,
    Field.ARP_SADDR_IP: _arp("saddr"),
    Field.ARP_DADDR_IP: _arp("daddr"),
    Field.ARP_SADDR_ETHER: lambda c: _mac("saddr")(c) if c.arp else None,
    Field.ARP_DADDR_ETHER: _arp_target,
}


Test = Callable[[Context], bool]
"""A match, made ready."""


def compiled(match: Match, find_set: Callable[[InSet], NamedSet | None]) -> Test:
    """The match as a function. A field that the packet lacks fails it, negated or not, as the kernel does."""
    match match:
        case Within(where, ranges, negated):
            return _within(where, ranges, negated=negated)
        case Named(where, patterns, negated):
            return _named(where, patterns, negated=negated)
        case Masked(where, mask, wanted, negated):
            return _masked(where, mask, wanted, negated=negated)
        case AnyBit(where, mask, negated):
            return _masked(where, mask, 0, negated=not negated)
        case AnyOf(alternatives, negated):
            tests = tuple(tuple(compiled(part, find_set) for part in parts) for parts in alternatives)
            return lambda context: any(all(holds(context) for holds in parts) for parts in tests) != negated
        case InSet():
            found = find_set(match)
            return lambda context: _in_set(match, found, context)
        case FibOif(names=names, negated=negated):
            return lambda context: (_fib_device(match, context) in names) != negated
        case Opaque(text):
            cause = say("the match {text} is not modelled", text=repr(text))
            return lambda context: context.ask(cause)
        case _:
            assert_never(match)


def _within(where: Field, ranges: Ranges, *, negated: bool) -> Test:
    read, hidden = _READERS[where], where not in _OF_EVERY_FRAME
    low, high = ranges[0] if len(ranges) == 1 else (0, -1)

    def holds(context: Context) -> bool:
        value = None if hidden and context.arp else read(context)
        if value is None:
            return False
        if isinstance(value, NotShown):
            return context.not_shown(value)
        return _in_ranges(value, ranges, context) != negated

    def holds_of_one_range(context: Context) -> bool:
        value = None if hidden and context.arp else read(context)
        return (low <= value <= high) != negated if isinstance(value, int) else holds(context)

    return holds_of_one_range if len(ranges) == 1 else holds


def _named(where: Field, patterns: tuple[str, ...], *, negated: bool) -> Test:
    read, hidden = _READERS[where], where not in _OF_EVERY_FRAME
    whole = frozenset(pattern for pattern in patterns if not pattern.endswith("*"))
    prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))

    def holds(context: Context) -> bool:
        value = None if hidden and context.arp else read(context)
        if value is None:
            return False
        name = str(value)
        return (name in whole or name.startswith(prefixes)) != negated

    def holds_of_whole_names(context: Context) -> bool:
        value = read(context)
        return value is not None and (value in whole) != negated

    return holds if prefixes or hidden else holds_of_whole_names


def _masked(where: Field, mask: int, wanted: int, *, negated: bool) -> Test:
    read, hidden = _READERS[where], where not in _OF_EVERY_FRAME

    def holds(context: Context) -> bool:
        value = None if hidden and context.arp else read(context)
        if isinstance(value, NotShown):
            return context.not_shown(value)
        number = _number(value, context)
        return number is not None and ((number & mask) == wanted) != negated

    return holds


def _skips_fib_on_input(context: Context) -> bool:
    """Since 6.15 a packet on the loopback is taken for valid at the input hook too (nft_fib_can_skip())."""
    if context.hook is not Hook.INPUT:
        return False
    kernel = context.surroundings.kernel
    if kernel is None:
        return context.ask(say("what `fib` says of the loopback depends on the kernel, whose version was not captured"))
    return kernel >= (6, 15)


def _fib_device(match: FibOif, context: Context) -> str:
    """nft_fib4_eval(), nft_fib6_eval(): the device of the route to the address; empty for none, or for another than asked."""
    packet = context.packet
    if context.iif == "lo" and (context.hook is Hook.PREROUTING or _skips_fib_on_input(context)):
        return "lo"
    daddr, saddr = (packet.saddr, packet.daddr) if match.source else (packet.daddr, packet.saddr)
    try:
        route = context.surroundings.fib.lookup(FibQuery(daddr, saddr, mark=packet.mark if match.marked else 0))
    except RouteNotCapturedError as missing:
        return context.iif if context.ask(said(missing)) else ""
    if route is None or route.type is not RouteType.UNICAST:
        return ""
    devices = [nexthop.dev for nexthop in route.nexthops]
    if match.limited:
        return context.iif if context.iif in devices else ""
    return devices[0] if devices else ""


def _in_ranges(value: int | str | Port, ranges: Ranges, context: Context) -> bool:
    if isinstance(value, Port):
        return context.port_within(value, ranges)
    return any(first <= int(value) <= last for first, last in ranges)


def _number(value: int | str | Port | None, context: Context) -> int | None:
    if isinstance(value, Port):
        if value.kind == PortKind.ASKED:
            context.window.pin(value.value)
        return value.value if value.kind in (PortKind.ASKED, PortKind.FIXED) else None
    return value if isinstance(value, int) else None


def _in_set(match: InSet, found: NamedSet | None, context: Context) -> bool:
    if found is None:
        return context.ask(say("the set {name} was not captured", name=match.set_name))
    if found.unmodelled:
        return context.ask(say("the set {name} cannot be evaluated: {why}", name=match.set_name, why=found.unmodelled))
    element = lookup(found, match.fields, context)
    if element is None and not match.ipset and any(context.value(f) is None for f in match.fields):
        return False
    return (element is not None) != match.negated


def lookup(named: NamedSet, fields: tuple[Field, ...], context: Context) -> SetElement | None:
    """The element that the packet's fields are in; the most specific one where several are (ipset `nomatch`)."""
    columns = [_column(named, position, where, context) for position, where in enumerate(fields)]
    best: tuple[int, SetElement] | None = None
    elements: Sequence[SetElement] = named.elements
    compared = _compared(named, 0, fields[0]) if fields and len(elements) > _FEW else None
    first = context.value(compared) if compared is not None else None
    if isinstance(first, int | str):
        elements = named.by_first.of(first)
    if named.dimensions == ("net", "iface"):
        elements = _of_closest_network(elements, columns[0])
    for element in elements:
        if len(element.key) != len(columns):
            continue
        if all(fits(key) for fits, key in zip(columns, element.key, strict=True)):
            size = sum(key[1] - key[0] for key in element.key if not isinstance(key, str))
            if best is None or size < best[0]:
                best = (size, element)
    if best is None or best[1].negated:
        return None
    return best[1]


_FEW = 16
"""Elements that are compared one by one."""


def _of_closest_network(
    elements: Sequence[SetElement], fits: Callable[[tuple[int, int] | str], bool]
) -> tuple[SetElement, ...]:
    """hash:net,iface looks no further once a network fits, whatever its interface (hash_netiface4_data_equal())."""
    found = [(key[1] - key[0], e) for e in elements if not isinstance(key := e.key[0], str) and fits(key)]
    closest = min((size for size, _ in found), default=0)
    return tuple(element for size, element in found if size == closest)


def _compared(named: NamedSet, position: int, where: Field) -> Field | None:
    """The field that one dimension is compared with; None: an ipset's port, which is one together with its protocol."""
    match named.dimensions[position : position + 1]:
        case ("port",):
            return None
        case ("iface",):
            return Field.IIFNAME if where is Field.SADDR else Field.OIFNAME
        case ("mark",):
            return Field.MARK
    return where


def _column(named: NamedSet, position: int, where: Field, context: Context) -> Callable[[tuple[int, int] | str], bool]:
    """How one dimension of an element is compared with the packet."""
    compared = _compared(named, position, where)
    if compared is None:
        return lambda key: not isinstance(key, str) and _port_fits(key, where, context)
    value = context.value(compared)

    def fits(key: tuple[int, int] | str) -> bool:
        if isinstance(value, NotShown):
            return context.not_shown(value)
        return value is not None and _dimension_fits(value, key, context)

    return fits


def _port_fits(key: tuple[int, int], where: Field, context: Context) -> bool:
    """ip_set_get_ip_port(): the ports of TCP, UDP and SCTP, type and code of ICMP."""
    packet = context.packet
    if key[0] >> 16 != packet.protocol:
        return False
    base = packet.protocol << 16
    if packet.protocol in (ICMP, ICMPV6):
        return key[0] <= base + (packet.icmp_type << 8) + packet.icmp_code <= key[1]
    port = context.value(PORT_OF[where])
    return isinstance(port, Port) and _in_ranges(port, ((key[0] - base, key[1] - base),), context)


def _dimension_fits(value: int | str | Port, key: tuple[int, int] | str, context: Context) -> bool:
    if isinstance(key, str):
        return name_fits(str(value), key)
    return _in_ranges(value, (key,), context)
