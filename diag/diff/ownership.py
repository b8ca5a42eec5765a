"""Whose a rule is, and what it names: the interfaces and addresses that say which object of Docker's it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from diag.model.address import Family, Ip, Prefix
from diag.model.netfilter import Field, Jump, Named, NfRule, NfTable, SetElement, TableFamily, Within
from diag.model.provenance import Evidence

_DOCKERS_TABLES = frozenset({"docker-bridges", "docker-dns"})
"""Of the engine's nftables backend: on the host, and in containers."""
_USERS_CHAIN = "DOCKER-USER"
_BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})
_ADDRESSES = frozenset({Field.SADDR, Field.DADDR})
_INTERFACES = frozenset({Field.IIFNAME, Field.OIFNAME, Field.PHYSIN, Field.PHYSOUT, Field.IBRNAME, Field.OBRNAME})
_LEAST_ADDRESS = 1 << 24


class Mentions(Struct, frozen=True):
    """What a fact names."""

    devices: frozenset[str] = frozenset()
    """Interfaces of the fact's own namespace."""
    ips: frozenset[Ip] = frozenset()
    subnets: frozenset[Prefix] = frozenset()


def is_dockers_chain(table: NfTable, chain: str) -> bool:
    """Whether Docker fills the chain alone."""
    if table.name in _DOCKERS_TABLES:
        return True
    return chain.startswith("DOCKER") and chain != _USERS_CHAIN


def is_dockers(netns: str, table: NfTable, chain: str, rule: NfRule) -> bool:
    """Whether Docker made the rule: in its own chains, its jumps there, and its rules for its bridges in built-in ones.

    A rule of an administrator's for one of Docker's bridges cannot be told from Docker's own by how it looks, unless it
    drops: Docker drops in its own chains only, and in `raw` for addresses of containers.
    """
    if is_dockers_chain(table, chain):
        return True
    if chain not in _BUILT_IN:
        return False
    if netns != "host":
        return any(ip.is_loopback for ip in addresses_of(rule.parts, table.family))
    jumps = [part.chain for part in rule.parts if isinstance(part, Jump)]
    if jumps:
        return all(name.startswith("DOCKER") for name in jumps)
    return any(_is_bridge(name) for name in devices_of(rule.parts)) or _is_hairpin(rule)


def _is_bridge(name: str) -> bool:
    return name.startswith(("br-", "docker"))


def _is_hairpin(rule: NfRule) -> bool:
    """`-s IP -d IP … -j MASQUERADE`: a container that calls its own published port."""
    found = {p.field: p.ranges for p in rule.parts if isinstance(p, Within) and p.field in _ADDRESSES and not p.negated}
    return len(found) == 2 and found[Field.SADDR] == found[Field.DADDR]


def devices_of(parts: Any) -> frozenset[str]:
    """Interfaces that a rule or an element of a set names."""
    return frozenset(name for part in _walk(parts) if isinstance(part, Named) for name in part.patterns)


def addresses_of(parts: Any, family: TableFamily | None) -> set[Ip]:
    """Single addresses that rules or elements of sets name."""
    found: set[Ip] = set()
    for part in _walk(parts):
        if isinstance(part, Ip):
            found.add(part)
        elif isinstance(part, Within) and part.field in _ADDRESSES:
            found |= {_ip(low, family) for low, high in part.ranges if low == high and low >= _LEAST_ADDRESS}
        elif isinstance(part, SetElement):
            ends = [end for end in (*part.key, *part.data) if not isinstance(end, str)]
            found |= {_ip(low, family) for low, high in ends if low == high and low >= _LEAST_ADDRESS}
    return found


def mentions_of_rule(rule: NfRule, chain: str, family: TableFamily) -> Mentions:
    """What a rule names; chains of Docker's nftables backend are called after bridges."""
    subnets = {
        prefix
        for part in rule.parts
        if isinstance(part, Within) and part.field in _ADDRESSES
        for low, high in part.ranges
        if (prefix := _prefix(low, high, family)) is not None
    }
    bridge = chain.rpartition("__")[2] if "__" in chain else ""
    devices = devices_of(rule.parts) | ({bridge} if bridge else set())
    return Mentions(frozenset(devices), frozenset(addresses_of(rule.parts, family)), frozenset(subnets))


def mentions_of_element(element: SetElement, family: TableFamily | None) -> Mentions:
    """What an element of a set names."""
    devices = frozenset(part for part in element.key if isinstance(part, str))
    return Mentions(devices, frozenset(addresses_of(element, family)))


def _walk(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, Ip | Evidence):
        return
    if isinstance(value, tuple):
        for item in value:
            if isinstance(item, Struct | tuple):
                yield from _walk(item)
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            part = getattr(value, name)
            if isinstance(part, Struct | tuple):
                yield from _walk(part)


def _ip(value: int, family: TableFamily | None) -> Ip:
    six = family is TableFamily.IP6 or value >> 32
    return Ip(Family.IPV6 if six else Family.IPV4, value)


def _prefix(low: int, high: int, family: TableFamily) -> Prefix | None:
    """The network that a range is; None for a single address and for what is no network."""
    size = high - low + 1
    if size < 2 or size & (size - 1) or low & (size - 1):
        return None
    ip = _ip(low, family) if low >= _LEAST_ADDRESS else None
    return None if ip is None else Prefix(ip.family, low, ip.family.bits - size.bit_length() + 1)
