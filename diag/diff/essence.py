"""What counts of each fact when two captures are compared: not where it was read, nor what changes by itself."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from diag.model.address import Family, Ip, Prefix
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.netfilter import Field, Nat, NfRule, NoEffect, Within
from diag.model.netns import HostsEntry, Link, LinkKind, Route
from diag.model.provenance import Evidence
from diag.model.snapshot import NameFiles

FACETS = ("status", "network_mode", "ports", "links", "extra_hosts", "exposed")
"""Fields of a container that are facts; its endpoints are facts of their own."""
ENGINE_FIELDS = ("version", "kernel", "firewall_backend", "userland_proxy", "swarm")
_LINK_LOCAL = Prefix.parse("fe80::/10")
_MULTICAST = Prefix.parse("ff00::/8")
_PASSING_SYSCTLS = re.compile(r"nf_conntrack_(max|count)$|^net\.ipv4\.conf\.default\.|^net\.ipv6\.conf\.default\.")
_EMBEDDED_DNS = Ip.parse("127.0.0.11")


def essence(value: Any) -> Any:
    """A fact without its evidence."""
    match value:
        case Evidence():
            return None
        case Ip() | Prefix():
            return value
        case Struct():
            return (type(value), *(essence(getattr(value, name)) for name in value.__struct_fields__))
        case tuple():
            return tuple(map(essence, value))
        case _:
            return value


def hosts_essence(entries: tuple[HostsEntry, ...]) -> Any:
    """In no order: Docker writes the lines of a container's networks in whichever they came."""
    return frozenset((entry.ip, entry.names) for entry in entries)


def name_files_essence(files: NameFiles) -> Any:
    """The same of both files of a container."""
    return hosts_essence(files.hosts) if files.hosts is not None else None, essence(files.resolv)


def link_essence(link: Link) -> Any:
    """Without counters, MAC addresses, bridge ids and the addresses that IPv6 links make from them.

    A bridge's carrier says no more than whether it has a port that is up.
    """
    addresses = tuple(sorted((a.ip, a.prefix, a.scope, a.tentative) for a in link.addresses if not _is_passing(a.ip)))
    port = (link.port.state, link.port.hairpin, link.port.isolated) if link.port is not None else None
    carrier = link.carrier if link.kind is not LinkKind.BRIDGE else None
    more = (link.mode, link.mode_flag, link.vxlan_id, link.stp, link.nf_call_iptables, link.nf_call_ip6tables)
    other_end = (link.peer_index, link.peer_name)
    return link.kind, link.up, carrier, link.mtu, link.master, addresses, port, more, link.vlan_filtering, other_end


def _is_passing(ip: Ip) -> bool:
    return ip.family is Family.IPV6 and ip in _LINK_LOCAL


def is_passing_route(route: Route) -> bool:
    """Routes that an IPv6 link makes by itself when it comes up."""
    first = Ip(route.destination.family, route.destination.value)
    return first.family is Family.IPV6 and (first in _LINK_LOCAL or first in _MULTICAST)


def network_essence(network: DockerNetwork) -> Any:
    """Without the id and who is on it."""
    return essence(replace(network, id="", members=(), evidence=None)), tuple(sorted(network.options.items()))


def container_facets(container: Container) -> dict[str, Any]:
    """The facts of a container but for its endpoints; links and ports in an order of their own."""
    found: dict[str, Any] = {name: getattr(container, name) for name in FACETS}
    return {k: tuple(sorted(v, key=str)) if isinstance(v, tuple) else v for k, v in found.items()}


def address_essence(endpoint: Endpoint) -> Any:
    """Without the MAC address and ids; aliases and links in no order."""
    names = frozenset(endpoint.aliases), frozenset(endpoint.dns_names), frozenset(endpoint.links)
    return endpoint.ip, endpoint.ip6, endpoint.gateway, names, endpoint.fixed_ip, endpoint.gw_priority


def rule_essence(rule: NfRule, netns: str) -> Any:
    """What a rule says. The ports of Docker's DNS inside a container are others after each start."""
    parts = tuple(part for part in rule.parts if not (isinstance(part, NoEffect) and part.text == "counter"))
    if netns != "host" and _serves_dns(parts):
        parts = tuple(_without_ports(part) for part in parts)
    return parts, rule.comment


def _serves_dns(parts: tuple[Any, ...]) -> bool:
    own = ((_EMBEDDED_DNS.value, _EMBEDDED_DNS.value),)
    return any(isinstance(p, Within) and p.field in (Field.SADDR, Field.DADDR) and p.ranges == own for p in parts)


def _without_ports(part: Any) -> Any:
    match part:
        case Within(field=Field.SPORT):
            return replace(part, ranges=())
        case Nat():
            return replace(part, ports=None)
        case _:
            return part


def sysctl_counts(name: str) -> bool:
    """Whether a sysctl bears on packets now: those named `default` are for interfaces to come."""
    return not _PASSING_SYSCTLS.search(name)
