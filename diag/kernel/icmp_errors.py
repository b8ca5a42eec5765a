"""What an ICMP error does to the socket that caused it.

Sources: icmp_err_convert[] of net/ipv4/icmp.c, tab_unreach[] of net/ipv6/icmp.c, tcp_v4_err(), __udp4_lib_err(),
ping_err(); REJECT's kinds from `iptables-extensions(8)` and net/ipv4/netfilter/nf_reject_ipv4.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from diag.model.address import Family
from diag.model.flow import Protocol
from diag.model.reasons import Symptom


class IcmpError(Struct, frozen=True):
    """A kind of destination-unreachable."""

    code: int
    errno: Symptom
    fatal: bool
    """Whether a connected UDP or ping socket reports it."""


NET_UNREACHABLE = IcmpError(0, Symptom.ENETUNREACH, fatal=False)
HOST_UNREACHABLE = IcmpError(1, Symptom.EHOSTUNREACH, fatal=False)
PROTOCOL_UNREACHABLE = IcmpError(2, Symptom.ENOPROTOOPT, fatal=True)
PORT_UNREACHABLE = IcmpError(3, Symptom.ECONNREFUSED, fatal=True)
NET_PROHIBITED = IcmpError(9, Symptom.ENETUNREACH, fatal=True)
HOST_PROHIBITED = IcmpError(10, Symptom.EHOSTUNREACH, fatal=True)
FILTERED = IcmpError(13, Symptom.EHOSTUNREACH, fatal=True)
V6_NO_ROUTE = IcmpError(0, Symptom.ENETUNREACH, fatal=False)
V6_PROHIBITED = IcmpError(1, Symptom.EACCES, fatal=True)
V6_ADDRESS = IcmpError(3, Symptom.EHOSTUNREACH, fatal=False)
V6_PORT = IcmpError(4, Symptom.ECONNREFUSED, fatal=True)
V6_POLICY = IcmpError(5, Symptom.EACCES, fatal=True)
V6_REJECT_ROUTE = IcmpError(6, Symptom.EACCES, fatal=True)

REJECT_KINDS: Mapping[str, IcmpError] = MappingProxyType(
    {
        "icmp-net-unreachable": NET_UNREACHABLE,
        "net-unreach": NET_UNREACHABLE,
        "icmp-host-unreachable": HOST_UNREACHABLE,
        "host-unreach": HOST_UNREACHABLE,
        "icmp-port-unreachable": PORT_UNREACHABLE,
        "port-unreach": PORT_UNREACHABLE,
        "icmp-prot-unreachable": PROTOCOL_UNREACHABLE,
        "icmp-proto-unreachable": PROTOCOL_UNREACHABLE,
        "proto-unreach": PROTOCOL_UNREACHABLE,
        "icmp-net-prohibited": NET_PROHIBITED,
        "net-prohib": NET_PROHIBITED,
        "icmp-host-prohibited": HOST_PROHIBITED,
        "host-prohib": HOST_PROHIBITED,
        "icmp-admin-prohibited": FILTERED,
        "admin-prohib": FILTERED,
        "icmp6-no-route": V6_NO_ROUTE,
        "no-route": V6_NO_ROUTE,
        "icmp6-adm-prohibited": V6_PROHIBITED,
        "icmp6-admin-prohibited": V6_PROHIBITED,
        "icmp6-addr-unreachable": V6_ADDRESS,
        "icmp6-port-unreachable": V6_PORT,
        "icmp6-policy-fail": V6_POLICY,
        "icmp6-reject-route": V6_REJECT_ROUTE,
    }
)


RESETS = frozenset({"tcp-reset", "tcp-rst", "tcp reset"})
"""Kinds of REJECT that answer with a TCP reset."""


_ICMPX = MappingProxyType(
    {
        "icmpx-no-route": ("icmp-net-unreachable", "icmp6-no-route"),
        "icmpx-host-unreachable": ("icmp-host-unreachable", "icmp6-addr-unreachable"),
        "icmpx-port-unreachable": ("icmp-port-unreachable", "icmp6-port-unreachable"),
        "icmpx-admin-prohibited": ("icmp-admin-prohibited", "icmp6-adm-prohibited"),
    }
)


def reject_kind(word: str, family: Family) -> str:
    """The kind of REJECT for a packet of this family: nft's `icmpx` words stand for one of each (nft_reject.c)."""
    pair = _ICMPX.get(word)
    return word if pair is None else pair[family is Family.IPV6]


def host_unreachable(family: Family) -> IcmpError:
    """Nothing answers for the next hop."""
    return HOST_UNREACHABLE if family is Family.IPV4 else V6_ADDRESS


def port_unreachable(family: Family) -> IcmpError:
    """No socket takes the datagram."""
    return PORT_UNREACHABLE if family is Family.IPV4 else V6_PORT


def symptom_of(error: IcmpError, protocol: Protocol) -> Symptom:
    """What the caller sees when this error reaches its connected socket."""
    if protocol is Protocol.TCP or error.fatal:
        return error.errno
    return Symptom.TIMEOUT


def symptom_of_reject(kind: str, protocol: Protocol) -> Symptom:
    """What the caller sees of `REJECT --reject-with kind`."""
    if kind in RESETS:
        return Symptom.ECONNREFUSED if protocol is Protocol.TCP else Symptom.TIMEOUT
    error = REJECT_KINDS.get(kind)
    return symptom_of(error, protocol) if error else Symptom.UNKNOWN
