"""Names that iptables and nft print instead of numbers (`/etc/protocols`, IANA's ICMP parameters)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from diag.model.message import say

PROTOCOLS: Mapping[str, int] = MappingProxyType(
    {
        "hopopt": 0,
        "icmp": 1,
        "igmp": 2,
        "ipencap": 4,
        "ipip": 4,
        "tcp": 6,
        "udp": 17,
        "dccp": 33,
        "ipv6": 41,
        "gre": 47,
        "esp": 50,
        "ipsec-esp": 50,
        "ah": 51,
        "ipsec-ah": 51,
        "icmpv6": 58,
        "ipv6-icmp": 58,
        "icmp6": 58,
        "ospf": 89,
        "pim": 103,
        "vrrp": 112,
        "sctp": 132,
        "udplite": 136,
        "mh": 135,
        "ipv6-mh": 135,
    }
)

SERVICES: Mapping[str, int] = MappingProxyType(
    {"ftp": 21, "ssh": 22, "smtp": 25, "domain": 53, "http": 80, "pop3": 110, "ntp": 123, "https": 443}
)
"""Service names that hand-written rules use; `iptables-save` itself prints numbers."""

ICMP_NAMES: Mapping[str, tuple[int, int | None]] = MappingProxyType(
    {
        "echo-reply": (0, None),
        "pong": (0, None),
        "destination-unreachable": (3, None),
        "network-unreachable": (3, 0),
        "host-unreachable": (3, 1),
        "protocol-unreachable": (3, 2),
        "port-unreachable": (3, 3),
        "fragmentation-needed": (3, 4),
        "communication-prohibited": (3, 13),
        "source-quench": (4, None),
        "redirect": (5, None),
        "echo-request": (8, None),
        "ping": (8, None),
        "router-advertisement": (9, None),
        "router-solicitation": (10, None),
        "time-exceeded": (11, None),
        "ttl-exceeded": (11, None),
        "parameter-problem": (12, None),
        "timestamp-request": (13, None),
        "timestamp-reply": (14, None),
        "address-mask-request": (17, None),
        "address-mask-reply": (18, None),
    }
)

ICMPV6_NAMES: Mapping[str, tuple[int, int | None]] = MappingProxyType(
    {
        "destination-unreachable": (1, None),
        "no-route": (1, 0),
        "communication-prohibited": (1, 1),
        "address-unreachable": (1, 3),
        "port-unreachable": (1, 4),
        "packet-too-big": (2, None),
        "time-exceeded": (3, None),
        "parameter-problem": (4, None),
        "echo-request": (128, None),
        "ping": (128, None),
        "echo-reply": (129, None),
        "pong": (129, None),
        "router-solicitation": (133, None),
        "router-advertisement": (134, None),
        "neighbour-solicitation": (135, None),
        "neighbor-solicitation": (135, None),
        "neighbour-advertisement": (136, None),
        "neighbor-advertisement": (136, None),
        "redirect": (137, None),
    }
)


def mac_number(text: str) -> int:
    """`02:42:ac:11:00:02` as an integer; raises ValueError."""
    digits = text.split(":")
    if len(digits) != 6:
        raise ValueError(say("not a MAC address: {text}", text=repr(text)))
    return int("".join(f"{int(d, 16):02x}" for d in digits), 16)
