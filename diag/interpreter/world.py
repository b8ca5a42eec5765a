"""A snapshot made ready for walking: indexes that every flow shares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set

from msgspec import Struct

from diag.interpreter.chains import HookTable
from diag.interpreter.matching import Surroundings
from diag.kernel.fib import Fib
from diag.kernel.source_address import Sources
from diag.kernel.sysctl import Switches, bridge_nf_call, local_port_range
from diag.kernel.topology import Attachment, Topology
from diag.model.address import Family, Ip, is_loopback
from diag.model.docker import Container, DockerNetwork, Endpoint, PublishedPort
from diag.model.message import say
from diag.model.netfilter import Hook, Notrack, Ranges, Reject, Ruleset, TableFamily
from diag.model.netns import Link, Netns, RouteType, Socket
from diag.model.snapshot import Snapshot


class Sockets:
    """The sockets of one namespace, by protocol and port."""

    def __init__(self, listed: tuple[Socket, ...]) -> None:
        self._at: dict[tuple[str, int], list[Socket]] = {}
        self._bound: dict[tuple[str, Ip], set[int]] = {}
        for socket in listed:
            self._at.setdefault((socket.protocol, socket.port), []).append(socket)
            if socket.ip.value:
                self._bound.setdefault((socket.protocol, socket.ip), set()).add(socket.port)
        self.opened = {
            protocol: _single(port for other, port in self._at if other == protocol)
            for protocol in {protocol for protocol, _ in self._at}
        }
        """Ports by protocol, each a range of its own."""

    def takes(self, protocol: str, port: int, ip: Ip) -> Socket | None:
        """The first socket that a packet to an address and port finds."""
        for socket in self._at.get((protocol, port), ()):
            any_address = socket.ip.value == 0 and socket.ip.family in (ip.family, Family.IPV6)
            if any_address or socket.ip == ip:
                return socket
        return None

    def bound(self, protocol: str, ip: Ip) -> Ranges:
        """Ports of sockets that have an address for their own."""
        return _single(self._bound.get((protocol, ip), ()))


def _single(ports: Iterable[int]) -> Ranges:
    return tuple((port, port) for port in sorted(ports))


class Answering:
    """Addresses by the namespaces that may take them for their own."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._single: dict[Ip, set[str]] = {}
        self._wide: set[str] = set()
        local = RouteType.LOCAL
        for netns in snapshot.netns.values():
            own = [a.ip for link in netns.links or () for a in link.addresses]
            for route in (r for listed in netns.routes.values() for r in listed or () if r.type is local):
                prefix = route.destination
                if prefix.length == prefix.family.bits:
                    own.append(Ip(prefix.family, prefix.value))
                elif not is_loopback(prefix.family, prefix.first):
                    self._wide.add(netns.id)
            for ip in own:
                self._single.setdefault(ip, set()).add(netns.id)

    def may(self, ip: Ip) -> Set[str]:
        """The namespaces that may take an address; any may take one of the loopback's."""
        return self._single.get(ip, frozenset()) | self._wide


class Stack(Struct):
    """One family's half of a namespace's network stack."""

    netns: Netns
    fib: Fib
    hooks: HookTable
    sources: Sources
    surroundings: Surroundings
    bridge_nf: bool | None
    """As :func:`bridge_nf_call`."""


class World:
    """Read-only after construction; caches are filled as flows need them."""

    def __init__(self, snapshot: Snapshot, like: World | None = None) -> None:
        """`like` is of the same host, with namespaces in common: what was made of these is shared."""
        self.snapshot = snapshot
        self._like = like
        self.topology = Topology(snapshot)
        self._fibs: dict[tuple[str, Family], Fib] = {}
        self._stacks: dict[tuple[str, Family], Stack] = {}
        self._link_hooks: dict[tuple[str, TableFamily], HookTable] = {}
        self.bridges: dict[str, DockerNetwork] = {n.bridge_name: n for n in snapshot.networks if n.driver == "bridge"}
        self.endpoints: dict[Ip, list[tuple[Container, Endpoint]]] = {}
        for container in snapshot.containers:
            for endpoint in container.endpoints:
                for ip in (endpoint.ip, endpoint.ip6):
                    if ip is not None:
                        self.endpoints.setdefault(ip, []).append((container, endpoint))
        self._publishers: dict[tuple[str, int], list[tuple[Container, PublishedPort]]] = {}
        for container in snapshot.containers:
            for port in container.ports:
                self._publishers.setdefault((port.protocol, port.host_port), []).append((container, port))
        self._answering: Answering | None = None
        self.answers: dict[tuple[str, str, Family, int], tuple[Attachment, ...]] = {}
        """Who answers for an address, by the namespace and link that ask."""
        self._switches: dict[tuple[int, str], Switches] = dict(like._switches) if like else {}
        """By the identity of sysctls, which containers have in common, and the interface."""
        self._macs: dict[tuple[str, str], int | None] = {}
        self._labels: dict[str, str] = {}
        self._sockets: dict[str, Sockets | None] = {}
        self._permanent: dict[str, dict[tuple[str, Ip], str]] = {}
        self._published = {
            protocol: tuple((port, port) for other, port in sorted(self._publishers) if other == protocol)
            for protocol in {protocol for protocol, _ in self._publishers}
        }
        self.containers_in: dict[str, list[str]] = {}
        for name, netns in snapshot.netns_of.items():
            self.containers_in.setdefault(netns, []).append(name)
        version = re.match(r"(\d+)\.(\d+)", snapshot.engine.kernel)
        self.kernel = (int(version[1]), int(version[2])) if version else None
        """Version of the kernel; None: not captured."""
        self.has_link_rules = any(
            HookTable.of_links(space.ruleset, family).acts
            for space in snapshot.netns.values()
            if _may_stop_frames(space.ruleset)
            for family in _LINK_FAMILIES
        )
        """Some frame may be stopped below layer 3."""
        self._statements_of: dict[str, set[type]] = {
            netns: like._statements_of[netns]
            if like and self._has_rules_of(like, netns)
            else _statements(space.ruleset)
            for netns, space in snapshot.netns.items()
        }
        statements = set[type]().union(*self._statements_of.values())
        self.has_reject = Reject in statements
        """Some rule on this host answers instead of dropping in silence."""
        self.has_notrack = Notrack in statements
        """Some packets of a connection may pass conntrack by, and so NAT."""

    def _has_rules_of(self, like: World, netns: str) -> bool:
        """Whether a namespace has the very rules that it has there."""
        there = like.snapshot.netns.get(netns)
        return there is not None and there.ruleset is self.netns(netns).ruleset

    def netns(self, netns: str) -> Netns:
        return self.snapshot.netns[netns]

    def stack(self, netns: str, family: Family) -> Stack:
        key = (netns, family)
        found = self._stacks.get(key)
        if found is None:
            found = self._stacks[key] = self._stack_of(netns, family)
        return found

    def _same(self, netns: str) -> World | None:
        """The world that this one is like, where the namespace is the very one that it has there."""
        like = self._like
        return like if like and like.snapshot.netns.get(netns) is self.netns(netns) else None

    def _stack_of(self, netns: str, family: Family) -> Stack:
        same, like = self._same(netns), self._like
        if same is not None:
            return same.stack(netns, family)
        space, fib = self.netns(netns), self.fib(netns, family)
        shared = like.stack(netns, family).hooks if like and self._has_rules_of(like, netns) else None
        return Stack(
            space,
            fib,
            shared or HookTable.of_packets(space.ruleset, family),
            Sources(space, family),
            Surroundings(netns, fib, local_port_range(space), self.kernel),
            bridge_nf_call(space, family),
        )

    def fib(self, netns: str, family: Family) -> Fib:
        key = (netns, family)
        found = self._fibs.get(key)
        if found is None:
            same = self._same(netns)
            found = self._fibs[key] = same.fib(netns, family) if same else Fib(self.netns(netns), family)
        return found

    def switches(self, netns: str, dev: str) -> Switches:
        key = (id(self.netns(netns).sysctl), dev)  # the snapshot keeps them alive
        found = self._switches.get(key)
        if found is None:
            found = self._switches[key] = Switches.of(self.netns(netns), dev)
        return found

    def filters(self, netns: str, family: Family) -> bool:
        """Whether any rule or policy of the namespace may stop a packet of the family."""
        return self.stack(netns, family).hooks.acts

    def link(self, netns: str, name: str) -> Link | None:
        return self.topology.links.get((netns, name))

    def link_hooks(self, netns: str, family: TableFamily) -> HookTable:
        """The base chains of the bridge, netdev or arp family; those of inet at a device's hooks are netdev's."""
        key = (netns, family)
        if key not in self._link_hooks:
            self._link_hooks[key] = HookTable.of_links(self.netns(netns).ruleset, family)
        return self._link_hooks[key]

    def has_device_rules(self, netns: str, dev: str) -> bool:
        """Whether netdev chains on a device hold rules."""
        table = self.link_hooks(netns, TableFamily.NETDEV)
        listed = [chain for hook in (Hook.INGRESS, Hook.EGRESS) for _, _, chain in table.filters(hook)]
        return any(chain.base is not None and dev in (chain.base.devices or (dev,)) for chain in listed)

    def mac(self, netns: str, name: str) -> int | None:
        """A link's MAC address as a number; None: not captured."""
        key = (netns, name)
        if key not in self._macs:
            link = self.link(netns, name) if name else None
            digits = link.mac.replace(":", "") if link is not None else ""
            self._macs[key] = int(digits, 16) if len(digits) == 12 else None
        return self._macs[key]

    def sockets(self, netns: str) -> Sockets | None:
        """What listens in a namespace; None: not captured."""
        if netns not in self._sockets:
            listed = self.netns(netns).sockets
            self._sockets[netns] = Sockets(listed) if listed is not None else None
        return self._sockets[netns]

    def permanent_mac(self, netns: str, dev: str, ip: Ip) -> str:
        """The MAC address of a permanent neighbour entry; empty for none."""
        if netns not in self._permanent:
            listed = self.netns(netns).neighbours
            self._permanent[netns] = {(n.dev, n.ip): n.mac for n in reversed(listed) if n.state == "PERMANENT"}
        found = self._permanent[netns]
        return found.get((dev, ip), "") if found else ""

    def may_answer(self, ip: Ip) -> Set[str]:
        """The namespaces that may take an address for their own: each has it on a link, or a route says that it is local."""
        if self._answering is None:
            self._answering = Answering(self.snapshot)
        return self._answering.may(ip)

    def ephemeral(self, netns: str) -> tuple[int, int]:
        """Ports that the namespace gives to its clients."""
        return self.stack(netns, Family.IPV4).surroundings.ephemeral

    def published(self, protocol: str) -> Ranges:
        """Host ports that docker-proxy may listen on."""
        return self._published.get(protocol, ())

    def publishers(self, protocol: str, port: int) -> list[tuple[Container, PublishedPort]]:
        """Who publishes a port of the host, on whichever of its addresses."""
        return self._publishers.get((protocol, port), [])

    def label(self, netns: str) -> str:
        """What a person calls the namespace: its containers' names, or `the host`."""
        found = self._labels.get(netns)
        if found is None:
            named = say("the host") if netns == "host" else "/".join(self.containers_in.get(netns, []))
            found = self._labels[netns] = named or netns
        return found


_LINK_FAMILIES = (TableFamily.BRIDGE, TableFamily.NETDEV, TableFamily.ARP)


def _may_stop_frames(ruleset: Ruleset) -> bool:
    """Whether it is worth a look for chains that frames meet: inet's may be at a device."""
    if ruleset.missing:
        return True
    return any(table.family is TableFamily.INET or table.family in _LINK_FAMILIES for table in ruleset.tables)


def _statements(ruleset: Ruleset) -> set[type]:
    """The kinds of matches and statements in a ruleset."""
    found: set[type] = set()
    for table in ruleset.tables:
        found.update([type(element.verdict) for named in table.sets.values() for element in named.elements])
        for chain in table.chains.values():
            found.update([type(part) for rule in chain.rules for part in rule.parts])
    return found
