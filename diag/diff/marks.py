"""The interfaces, addresses and namespaces by which differences are known to belong to a container or a network."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from diag.diff.ownership import Mentions, mentions_of_element, mentions_of_rule
from diag.diff.sections import ORDER, Atom
from diag.kernel.topology import Topology
from diag.model.address import Ip, Prefix
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.netfilter import TableFamily
from diag.model.netns import Link, Route
from diag.model.snapshot import Snapshot

_SYSCTL_INTERFACE = re.compile(r"^net\.ipv[46]\.conf\.(.+)\.[^.]+$")


class Marks(Struct, frozen=True):
    """What is one object's."""

    devices: frozenset[tuple[str, str]] = frozenset()
    """(namespace, interface)."""
    ips: frozenset[Ip] = frozenset()
    subnets: frozenset[Prefix] = frozenset()
    spaces: frozenset[str] = frozenset()
    ports: frozenset[tuple[str, int]] = frozenset()
    """(protocol, port) that docker-proxy listens on."""

    @property
    def any(self) -> bool:
        return bool(self.devices or self.ips or self.subnets or self.spaces or self.ports)

    def __or__(self, other: Marks) -> Marks:
        return Marks(
            self.devices | other.devices,
            self.ips | other.ips,
            self.subnets | other.subnets,
            self.spaces | other.spaces,
            self.ports | other.ports,
        )

    def hit(self, netns: str, mentions: Mentions) -> bool:
        """Whether a fact of a namespace names any of it."""
        if netns in self.spaces or self.ips & mentions.ips or self.subnets & mentions.subnets:
            return True
        return any((netns, device) in self.devices for device in mentions.devices)


def marks_of_network(network: DockerNetwork) -> Marks:
    """Its bridge and its subnets."""
    devices = frozenset({("host", network.bridge_name)}) if network.driver == "bridge" else frozenset()
    gateways = frozenset(c.gateway for c in network.ipam if c.gateway is not None)
    return Marks(devices, gateways, frozenset(c.subnet for c in network.ipam))


def marks_of_container(snapshot: Snapshot, topology: Topology, container: Container) -> Marks:
    """Its namespace, where that is its own, its addresses, and the host's ends of its veth pairs."""
    netns = snapshot.netns_of.get(container.name)
    ports = frozenset((port.protocol, port.host_port) for port in container.ports)
    ips = frozenset(ip for e in container.endpoints for ip in (e.ip, e.ip6) if ip is not None)
    if netns is None or netns == "host" or container.joined_to:
        return Marks(ips=ips, ports=ports)
    links = snapshot.netns[netns].links if netns in snapshot.netns else None
    names = [link.name for link in links or () if link.name != "lo"]
    return Marks(_both_ends(topology, netns, names), ips, spaces=frozenset({netns}), ports=ports)


def marks_of_endpoint(snapshot: Snapshot, topology: Topology, container: str, endpoint: Endpoint) -> Marks:
    """The container's link on one network, and its address there."""
    ips = frozenset(ip for ip in (endpoint.ip, endpoint.ip6) if ip is not None)
    netns = snapshot.netns_of.get(container)
    space = snapshot.netns.get(netns) if netns is not None and netns != "host" else None
    if space is None:
        return Marks(ips=ips)
    names = [link.name for link in space.links or () if any(a.ip in ips for a in link.addresses)]
    return Marks(_both_ends(topology, space.id, names), ips)


def _both_ends(topology: Topology, netns: str, names: Iterable[str]) -> frozenset[tuple[str, str]]:
    peers = topology.peers
    here = {(netns, name) for name in names}
    return frozenset(here | {peers[key] for key in here if key in peers})


def mentions_of(atom: Atom) -> Mentions:
    """What a difference names, on both sides."""
    found = Mentions()
    for item in (atom.old, atom.new):
        if item is not None and atom.key != ORDER:
            more = _mentions(atom, item)
            found = Mentions(found.devices | more.devices, found.ips | more.ips, found.subnets | more.subnets)
    return found


def _mentions(atom: Atom, item: Any) -> Mentions:
    match atom.place[0]:
        case "rules":
            return mentions_of_rule(item, atom.place[3], TableFamily(atom.place[2][1]))
        case "base":
            return Mentions(frozenset({str(atom.key).rpartition("__")[2]}))
        case "elements":
            table = atom.place[2]
            return mentions_of_element(item, TableFamily(table[1]) if table is not None else None)
        case "sysctl":
            found = _SYSCTL_INTERFACE.match(str(atom.key))
            return Mentions(frozenset({found[1].replace("/", ".")})) if found else Mentions()
    match item:
        case Link():
            return Mentions(frozenset({item.name}), frozenset(a.ip for a in item.addresses))
        case Route():
            ips = {item.prefsrc} if item.prefsrc is not None else set()
            if item.destination.length == item.destination.family.bits:
                ips.add(Ip(item.destination.family, item.destination.value))
            devices = frozenset(nexthop.dev for nexthop in item.nexthops)
            return Mentions(devices, frozenset(ips), frozenset({item.destination}))
        case _:
            return Mentions()
