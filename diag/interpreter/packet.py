"""The packet on its way, and the connection that each namespace remembers of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from diag.model.address import Family, Ip
from diag.model.flow import ICMP, ICMPV6, TCP, UDP
from diag.model.netfilter import CtStatus


class PortKind:
    """What a port number stands for."""

    FIXED = 0
    ASKED = 1
    """The flow's destination port: comparisons narrow the window for which the trace holds."""
    EPHEMERAL = 2
    """The client's own port, which the kernel chooses."""
    RANDOM = 3
    """NAT took another one than the packet had."""


class Port(NamedTuple):
    """A port number and what it stands for."""

    value: int
    kind: int = PortKind.FIXED
    low: int = 1
    high: int = 65535
    """Of a random port: where it lies."""


NO_PORT = Port(0)


_ECHO = {8: 0, 0: 8, 128: 129, 129: 128}
"""Echo request and reply of both families."""


class Tuple(NamedTuple):
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


@dataclass(slots=True)
class Connection:
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
        return bool(self.status & CtStatus.SEEN_REPLY)


ETHER_TYPES = {Family.IPV4: 0x0800, Family.IPV6: 0x86DD}
ETHER_ARP = 0x0806
BROADCAST = (1 << 48) - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """The link layer's header. A packet in a frame of ARP has the addresses that the message is about."""

    saddr: int | None
    """None: not captured."""
    daddr: int | None
    ether_type: int
    arp: int = 0
    """1 for a question, 2 for an answer, 0 for what is no ARP."""
    outgoing: bool = False
    """It starts in this namespace."""


@dataclass(frozen=True, slots=True)
class Packet:
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

    def reply(self) -> Packet:
        """What the far stack answers: SYN/ACK, a datagram back, an echo reply."""
        echo = self.protocol in (ICMP, ICMPV6)
        return replace(
            self,
            saddr=self.daddr,
            daddr=self.saddr,
            sport=self.sport if echo else self.dport,
            dport=self.dport if echo else self.sport,
            icmp_type=_ECHO.get(self.icmp_type, self.icmp_type) if echo else 0,
            tcp_flags=SYN | ACK if self.protocol == TCP else 0,
            mark=0,
            ttl=64,
        )

    def __str__(self) -> str:
        name = {ICMP: "icmp", ICMPV6: "icmpv6", TCP: "tcp", UDP: "udp"}.get(self.protocol, str(self.protocol))
        if self.protocol in (TCP, UDP):
            source, destination = self._end(self.source, self.sport), self._end(self.destination, self.dport)
            return f"{name} {source} → {destination}"
        return f"{name} {self.source} → {self.destination}"

    @staticmethod
    def _end(ip: Ip, port: Port) -> str:
        if port.kind in (PortKind.EPHEMERAL, PortKind.RANDOM):
            return str(ip)
        return f"[{ip}]:{port.value}" if ip.family is Family.IPV6 else f"{ip}:{port.value}"


FIN, SYN, RST, ACK = 1, 2, 4, 16
"""TCP header flags."""
