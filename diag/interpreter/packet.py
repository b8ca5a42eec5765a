"""The packet on its way, and the connection that each namespace remembers of it."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from diag.model.address import Family, Ip
from diag.model.flow import ICMP, ICMPV6, TCP, UDP
from diag.model.netfilter import CtState, CtStatus


class PortKind:
    """What a port number stands for."""

    FIXED = 0
    ASKED = 1
    """The flow's destination port: comparisons narrow the window for which the trace holds."""
    EPHEMERAL = 2
    """The client's own port, which the kernel chooses."""
    RANDOM = 3
    """NAT took another one than the packet had."""


class Port(Struct, frozen=True, gc=False):
    """A port number and what it stands for."""

    value: int
    kind: int = PortKind.FIXED
    low: int = 1
    high: int = 65535
    """Of a random port: where it lies."""


NO_PORT = Port(0)


_SEEN_REPLY = CtStatus.SEEN_REPLY.value
_NAMES = {ICMP: "icmp", ICMPV6: "icmpv6", TCP: "tcp", UDP: "udp"}
_ECHO = {8: 0, 0: 8, 128: 129, 129: 128}
"""Echo request and reply of both families."""


class Tuple(Struct, frozen=True, gc=False):
    """A connection's key as conntrack sees it."""

    protocol: int
    saddr: int
    sport: Port
    daddr: int
    dport: Port
    icmp_type: int = -1
    """-1 for other protocols: a ping to oneself has the same addresses in both directions."""

    def inverse(self) -> Tuple:
        if self.icmp_type >= 0:
            kind = _ECHO.get(self.icmp_type, self.icmp_type)
            return Tuple(self.protocol, self.daddr, self.sport, self.saddr, self.dport, kind)
        return Tuple(self.protocol, self.daddr, self.dport, self.saddr, self.sport)


class Connection(Struct):
    """A conntrack entry of one namespace (net/netfilter/nf_conntrack_core.c, nf_nat_core.c)."""

    original: Tuple
    reply: Tuple
    dst_done: bool = False
    src_done: bool = False
    status: int = 0
    """Bits of CtStatus."""
    mark: int = 0

    @property
    def seen_reply(self) -> bool:
        return self.status & _SEEN_REPLY != 0


ETHER_TYPES = {Family.IPV4: 0x0800, Family.IPV6: 0x86DD}
ETHER_ARP = 0x0806
BROADCAST = (1 << 48) - 1


class Frame(Struct, frozen=True, gc=False):
    """The link layer's header. A packet in a frame of ARP has the addresses that the message is about."""

    saddr: int | None
    """None: not captured."""
    daddr: int | None
    ether_type: int
    arp: int = 0
    """1 for a question, 2 for an answer, 0 for what is no ARP."""
    outgoing: bool = False
    """It starts in this namespace."""


class Packet(Struct, frozen=True, gc=False):
    """Headers that the model looks at. An ICMP echo has its identifier in `sport`."""

    family: Family
    saddr: int
    daddr: int
    protocol: int
    sport: Port = NO_PORT
    dport: Port = NO_PORT
    icmp_type: int = 0
    icmp_code: int = 0
    tcp_flags: int = 0
    mark: int = 0
    ttl: int = 64
    about: Tuple | None = None
    """For an ICMP error: the connection key of the packet that it answers, as the sender of the error saw it."""

    @property
    def tuple(self) -> Tuple:
        kind = self.icmp_type if self.protocol in (ICMP, ICMPV6) else -1
        return Tuple(self.protocol, self.saddr, self.sport, self.daddr, self.dport, kind)

    @property
    def source(self) -> Ip:
        return Ip(self.family, self.saddr)

    @property
    def destination(self) -> Ip:
        return Ip(self.family, self.daddr)

    def sent_from(self, saddr: int) -> Packet:
        return replace(self, saddr=saddr)

    def sent_to(self, daddr: int) -> Packet:
        return replace(self, daddr=daddr)

    def marked(self, mark: int) -> Packet:
        return self if self.mark == mark else replace(self, mark=mark)

    def reply(self) -> Packet:
        """What the far stack answers: SYN/ACK, a datagram back, an echo reply."""
        protocol, sport, dport, kind, flags = self.protocol, self.dport, self.sport, 0, 0
        if protocol in (ICMP, ICMPV6):
            sport, dport, kind = self.sport, self.dport, _ECHO.get(self.icmp_type, self.icmp_type)
        elif protocol == TCP:
            flags = SYN | ACK
        return Packet(
            self.family, self.daddr, self.saddr, protocol, sport, dport, kind, self.icmp_code, flags, about=self.about
        )

    def __str__(self) -> str:
        name = _NAMES.get(self.protocol) or str(self.protocol)
        source, destination = str(self.source), str(self.destination)
        if self.protocol in (TCP, UDP):
            source, destination = self._end(source, self.sport), self._end(destination, self.dport)
        return f"{name} {source} → {destination}"

    def _end(self, ip: str, port: Port) -> str:
        if port.kind in (PortKind.EPHEMERAL, PortKind.RANDOM):
            return ip
        return f"[{ip}]:{port.value}" if self.family is Family.IPV6 else f"{ip}:{port.value}"


class Passage(Struct):
    """What the kernel keeps with a packet while it is in one namespace."""

    connection: Connection | None = None
    direction: int = 0
    state: int = CtState.INVALID
    """A packet that has not met conntrack counts as INVALID (nft_ct.c, xt_conntrack.c)."""
    untracked: bool = False
    """A rule said that conntrack is to leave it alone."""
    tracked: bool = False
    """It has been where conntrack looks at packets."""
    physin: str = ""
    """The bridge's port by which it came, where bridged packets meet iptables."""
    sender: str = ""
    """The namespace that put the frame on the link."""
    frame: Frame | None = None
    """The header in which it came; None for a packet that starts here."""


FIN, SYN, RST, ACK = 1, 2, 4, 16
"""TCP header flags."""
