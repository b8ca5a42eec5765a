"""Connection tracking of one namespace: look-up, creation, and rewriting by NAT.

The entries are those of one flow, there and back: clashes with other flows are not modelled, since a fresh flow's port
is free.
"""

from __future__ import annotations

from msgspec.structs import replace

from diag.interpreter.matching import Window
from diag.interpreter.packet import ACK, FIN, RST, SYN, Connection, Packet, Port, PortKind, Tuple
from diag.model.flow import ICMP, ICMPV6, TCP
from diag.model.netfilter import CtState, CtStatus

ECHO_REPLIES = (0, 129)
_NAT = CtStatus.SNAT | CtStatus.DNAT
_UNTRACKED_ICMPV6 = frozenset({130, 131, 132, 133, 134, 135, 136, 143})
"""Neighbour discovery and multicast listener messages (nf_conntrack_proto_icmpv6.c)."""


class ConntrackTable:
    """The entries that this walk has made."""

    def __init__(self) -> None:
        self._by_tuple: dict[Tuple, tuple[Connection, int]] = {}

    def track(self, packet: Packet) -> tuple[Connection | None, int, int]:
        """Find or create the packet's connection: (entry, direction 0 or 1, CtState)."""
        if packet.about is not None:
            return self.related(packet.about)
        if packet.protocol == ICMPV6 and packet.icmp_type in _UNTRACKED_ICMPV6:
            return None, 0, CtState.UNTRACKED
        key = packet.tuple
        found = self._by_tuple.get(key)
        if found is not None:
            connection, direction = found
            if (
                not direction
                and not connection.seen_reply
                and packet.protocol == TCP
                and packet.tcp_flags & (SYN | ACK) == ACK
            ):
                return None, 0, CtState.INVALID  # an ACK of a SYN/ACK that was not seen: tcp_conntracks[] in SYN_SENT
            if direction:
                connection.status |= CtStatus.SEEN_REPLY
            elif connection.seen_reply and packet.protocol == TCP:
                connection.status |= CtStatus.ASSURED
            state = CtState.ESTABLISHED if direction or connection.seen_reply else CtState.NEW
            return connection, direction, state
        if _cannot_start(packet):
            return None, 0, CtState.INVALID
        connection = Connection(key, key.inverse())
        self._by_tuple[connection.original] = (connection, 0)
        self._by_tuple.setdefault(connection.reply, (connection, 1))
        return connection, 0, CtState.NEW

    def related(self, about: Tuple) -> tuple[Connection | None, int, int]:
        """The connection that an ICMP error speaks of (nf_conntrack_inet_error()); it runs as replies to `about` would."""
        found = self._by_tuple.get(about.inverse())
        if found is None:
            return None, 0, CtState.INVALID
        connection, direction = found
        return connection, direction, CtState.RELATED

    def is_taken(self, key: Tuple, connection: Connection, window: Window) -> bool:
        """Whether another connection has this key in either direction (nf_conntrack_tuple_taken())."""
        others = [other for other, (owner, _) in self._by_tuple.items() if owner is not connection]
        return any(_same(key, other, window) for other in others) if others else False

    def rewrite_reply(self, connection: Connection, reply: Tuple, status: int) -> None:
        """Bind NAT: what replies will look like from now on."""
        self._by_tuple.pop(connection.reply, None)
        if reply != connection.reply:
            connection.status |= status
        connection.reply = reply
        self._by_tuple[reply] = (connection, 1)
        self._by_tuple[connection.original] = (connection, 0)


def _same(one: Tuple, other: Tuple, window: Window) -> bool:
    if (one.protocol, one.saddr, one.daddr) != (other.protocol, other.saddr, other.daddr):
        return False
    return _same_port(one.sport, other.sport, window) and _same_port(one.dport, other.dport, window)


def _same_port(one: Port, other: Port, window: Window) -> bool:
    """A port that was asked for and a fixed one are the same for that one number only."""
    match one.kind, other.kind:
        case PortKind.ASKED, PortKind.FIXED:
            return window.within(one.value, ((other.value, other.value),))
        case PortKind.FIXED, PortKind.ASKED:
            return window.within(other.value, ((one.value, one.value),))
    return one == other


def _cannot_start(packet: Packet) -> bool:
    """A SYN/ACK, FIN or RST, or an echo reply without a known connection is INVALID.

    The first column of tcp_conntracks[] in nf_conntrack_proto_tcp.c; nf_conntrack_proto_icmp.c.
    """
    if packet.protocol == TCP:
        flags = packet.tcp_flags
        starts = flags & (SYN | ACK) in (SYN, ACK) and not flags & (FIN | RST)
        return not starts
    return packet.protocol in (ICMP, ICMPV6) and packet.icmp_type in ECHO_REPLIES


def apply_nat(packet: Packet, connection: Connection, direction: int, *, destination: bool) -> Packet:
    """Rewrite the packet's destination or source as its connection says (nf_nat_packet())."""
    if not connection.status & _NAT:
        return packet
    source_nat = bool(connection.status & CtStatus.SNAT)
    destination_nat = bool(connection.status & CtStatus.DNAT)
    applies = (
        (destination_nat if destination else source_nat)
        if direction == 0
        else (source_nat if destination else destination_nat)
    )
    if not applies:
        return packet
    target = (connection.reply if direction == 0 else connection.original).inverse()
    if packet.about is not None:
        about = connection.original if direction else connection.reply
        if destination:
            return replace(packet, about=about, daddr=target.daddr)
        return replace(packet, about=about, saddr=target.saddr)
    if packet.protocol in (ICMP, ICMPV6):
        if destination:
            return replace(packet, daddr=target.daddr, sport=target.sport if source_nat else packet.sport)
        return replace(packet, saddr=target.saddr, sport=target.sport if source_nat else packet.sport)
    if destination:
        return replace(packet, daddr=target.daddr, dport=target.dport)
    return replace(packet, saddr=target.saddr, sport=target.sport)
