"""Which stacks the symbolic engine takes: containers behind ports of the host's bridges, on segments of their own, or cut off.

A stack that has links of other kinds, several addresses on a link or routes by more than the destination is left to the
interpreter, with all of its pairs. Nothing here is a verdict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

from diag.kernel import sysctl
from diag.kernel.fib import DEFAULT_RULES, Fib, FibQuery, RouteNotCapturedError
from diag.kernel.hooks import DEVICE_HOOKS
from diag.kernel.source_address import Sources
from diag.kernel.topology import Topology
from diag.model.address import Family, Ip, Prefix
from diag.model.docker import Endpoint
from diag.model.enums import Word
from diag.model.netfilter import Field, NfTable, Ruleset, TableFamily, Within
from diag.model.netns import Address, Link, LinkKind, Netns, Nexthop, PolicyRule, Route, RouteType
from diag.model.snapshot import Snapshot
from diag.symbolic.link_rules import is_uplink
from diag.symbolic.segments import Segments
from diag.symbolic.silence import Silence
from diag.symbolic.tables import TABLES

_POLICY_ACTIONS = frozenset({"lookup", "blackhole", "unreachable", "prohibit", "goto", "nop"})
_LOOPBACK = {Family.IPV4: (127 << 24, (128 << 24) - 1), Family.IPV6: (1, 1)}


class Way(Word):
    """How a packet leaves a stack."""

    DIRECT = "direct"
    """To a neighbour on the bridge."""
    GATEWAY = "gateway"
    """To the host, by its address on the bridge."""
    UP = "up"
    """To the host itself."""
    NONE = "none"
    """There is no route."""
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    """A route that refuses, each in its own manner."""
    LOST = "lost"
    """To a neighbour for whom nobody answers."""
    OTHER = "other"
    """Something that is left to the interpreter."""


_DIRECT, _UNICAST, _LOCAL, _VETH, _LO = Way.DIRECT, RouteType.UNICAST, RouteType.LOCAL, LinkKind.VETH, LinkKind.LOOPBACK
_BOTH_ENDS = (Field.SADDR, Field.DADDR)
_OF_NOBODY = frozenset({RouteType.LOCAL, RouteType.MULTICAST})
"""Routes that hide no neighbour."""
NOWHERE = (Way.NONE, Way.BLACKHOLE, Way.UNREACHABLE, Way.PROHIBIT)
"""Ways that end where they start."""
_REFUSING = {
    RouteType.BLACKHOLE: Way.BLACKHOLE,
    RouteType.UNREACHABLE: Way.UNREACHABLE,
    RouteType.PROHIBIT: Way.PROHIBIT,
}


class Reach(Struct, frozen=True):
    """Destination addresses, first to last, that leave in one way."""

    first: int
    last: int
    way: Way
    link: str
    """Empty without a route."""


class Port(Struct, frozen=True):
    """A stack's link: its one address of a family, and the port of the host's bridge behind it."""

    netns: str
    link: str
    address: Ip
    bridge: str
    """Or the segment that it is on, where that is no bridge of the host."""
    sent: Way = Way.DIRECT
    """How the host sends to the address: DIRECT by the bridge, or else to nobody. By other ways only neighbours call it,
    and by it only they are called."""
    sent_by: str = ""
    """The host's link on which nobody answers, where it is LOST."""
    outside: str = ""
    """The port of the host's bridge; empty where there is none."""
    around: frozenset[str] | None = None
    """The namespaces that its questions get to; None: not all are known."""
    trouble: tuple[str, str] = ("", "")
    """What is wrong with the link, and with the host's link to it: callers and called of the same troubles fail alike."""

    @property
    def ip(self) -> int:
        return self.address.value

    @property
    def routed(self) -> bool:
        """Whether the host sends to it and expects it by the bridge."""
        return self.sent is _DIRECT


class Stack(Struct, frozen=True):
    """A namespace that the engine takes as source and as destination."""

    netns: str
    ports: tuple[Port, ...]
    """None where it has no address of the family: then it has no route either."""
    reaches: tuple[Reach, ...]
    """All addresses, in order."""
    filters: bool = False
    """Its own rules may meet packets from or to others."""
    unseen: bool = False
    """Its namespace was not captured: what gets to it is unknown. It is no source."""


def plain_stacks(snapshot: Snapshot, topology: Topology, family: Family, world: str = "") -> tuple[Stack, ...]:
    """Every stack that the engine takes for a family, by its lowest address; `world` is the namespace beyond the host's uplink.

    None where no container has an address.
    """
    host = snapshot.netns.get("host")
    if host is None or host.links is None or not _host_routes_by_destination(host, family):
        return ()
    inside = [snapshot.netns[netns] for netns in dict.fromkeys(snapshot.netns_of.values()) if netns != "host"]
    links = (link for netns in inside for link in netns.links or () if link.kind is not _LO)
    if not any(netns.unseen for netns in inside) and not any(_own_addresses(link, family) for link in links):
        return ()
    if host.id in topology.proxies[family] and not _proxies_outwards(topology, host, family, world):
        return ()  # it may answer for everybody, on every bridge
    finder = _Finder(snapshot, topology, host, family, world)
    found = [finder.unseen(netns) if netns.unseen else finder.stack(netns) for netns in inside]
    stacks = [stack for stack in found if stack is not None]
    if not any(stack.ports for stack in stacks):
        return ()
    beyond = _beyond(topology, host, snapshot.netns[world], family) if world in snapshot.netns else None
    stacks += [beyond] if beyond is not None else []
    return tuple(sorted(stacks, key=lambda s: min((p.ip for p in s.ports), default=1 << family.bits)))


def _beyond(topology: Topology, host: Netns, beyond: Netns, family: Family) -> Stack | None:
    """What is behind the way out that the host takes to it, and how it calls by that. By other uplinks it only calls."""
    fib = Fib(host, family)
    links = [link for link in beyond.links or () if link.kind is not LinkKind.LOOPBACK]
    own = [a.ip for link in beyond.links or () if link.kind is LinkKind.LOOPBACK for a in link.addresses]
    ip = next((ip for ip in own if ip.family is family), None)
    route = fib.lookup(FibQuery(ip.value)) if ip is not None else None
    if ip is None or route is None or route.type is not RouteType.UNICAST or len(route.nexthops) != 1:
        return None
    peers = ((link, topology.peers.get((beyond.id, link.name))) for link in links)
    link = next((link for link, peer in peers if peer == ("host", route.nexthops[0].dev)), None)
    uplink = topology.link("host", route.nexthops[0].dev)
    if link is None or uplink is None or uplink.master or not uplink.up or any(topology.children("host", uplink.name)):
        return None
    if any(n.state == "PERMANENT" and n.dev == uplink.name for n in host.neighbours):
        return None
    gateway = route.nexthops[0].gateway
    if gateway is None or route.nexthops[0].dead or all(a.ip != gateway for a in link.addresses):
        return None
    plain = Route(Prefix(family, 0, 0), RouteType.UNICAST, "main")
    mask = Sources(host, family).select(plain, Nexthop(uplink.name, gateway), ip.value)
    back = Fib(beyond, family).lookup(FibQuery(mask)) if mask is not None else None
    if mask is None or back is None or (back.nexthops[0].dev, back.nexthops[0].gateway) != (link.name, None):
        return None
    port = Port(beyond.id, link.name, ip, uplink.name)
    stands_in = host.id in topology.proxies[family]
    return Stack(beyond.id, (port,), tuple(_ways_from_beyond(host, beyond, port, stands_in=stands_in)))


def _ways_from_beyond(host: Netns, beyond: Netns, port: Port, *, stands_in: bool) -> Iterator[Reach]:
    """`stands_in`: the host may answer for others' addresses on the uplink."""
    family = port.address.family
    own = {a.ip for k in host.links or () for a in k.addresses}
    main = [r for r in beyond.routes.get(family) or () if r.table == "main" and r.destination.family is family]
    for first, last, route in _longest(main, family):
        if route is None:
            yield Reach(first, last, Way.NONE, "")
            continue
        nexthop = route.nexthops[0]
        way = Way.DIRECT if nexthop.gateway is None else Way.GATEWAY if nexthop.gateway in own else Way.OTHER
        way = way if nexthop.dev == port.link else Way.OTHER
        if not stands_in or way is not Way.DIRECT:
            yield Reach(first, last, way, port.link)
            continue
        for ip in sorted({ip.value for ip in own if ip.family is family and first <= ip.value <= last}):
            if first < ip:
                yield Reach(first, ip - 1, Way.OTHER, port.link)
            yield Reach(ip, ip, way, port.link)
            first = ip + 1
        if first <= last:
            yield Reach(first, last, Way.OTHER, port.link)


def _proxies_outwards(topology: Topology, host: Netns, family: Family, world: str) -> bool:
    """Whether the host may answer for others' addresses on its uplinks alone, where no container is beside it."""
    names = sysctl.proxying_links(host, family)
    links = [link for link in host.links or () if names is None or link.name in names]
    return all(is_uplink(topology, link, world) and not any(topology.children("host", link.name)) for link in links)


class _Finder:
    def __init__(self, snapshot: Snapshot, topology: Topology, host: Netns, family: Family, world: str) -> None:
        self.topology = topology
        self.host = host
        self.family = family
        self.fib = Fib(host, family)
        self.owners: dict[int, list[str]] = {}
        for netns in snapshot.netns.values():
            for link in netns.links or ():
                for address in link.addresses:
                    if address.ip.family is family and not address.ip.is_loopback:
                        self.owners.setdefault(address.ip.value, []).append(netns.id)
        self.fixed = {(n.dev, n.ip): n.mac for n in host.neighbours if n.state == "PERMANENT"}
        """The host's neighbours that it does not ask for."""
        takers = {netns.id for netns in snapshot.netns.values() if _takes_others(netns, family)}
        self.greedy = takers | topology.proxies[family] - {host.id}
        """They take more addresses for their own than their links have, or answer for what they route elsewhere."""
        self.segments = Segments(snapshot, topology, self.greedy)
        self.silence = Silence(snapshot, topology, self.owners, self.greedy | {world})
        self._docker_bridges = {n.name: n.bridge_name for n in snapshot.networks if n.driver == "bridge"}
        self._endpoints: dict[str, list[Endpoint]] = defaultdict(list)
        for container in snapshot.containers:
            self._endpoints[snapshot.netns_of.get(container.name, "")] += container.endpoints
        self._bridges: dict[str, bool] = {}
        self._bridges_around: dict[str, tuple[frozenset[str] | None, str]] = {}

    def stack(self, netns: Netns) -> Stack | None:
        if netns.id == "host" or netns.links is None or netns.id in self.greedy:
            return None
        if not _routes_by_destination(netns, self.family) or _fixes_neighbours(netns, self.family):
            return None
        filters = not _is_inert(netns.ruleset, self.family)
        if netns.ruleset.missing.get(TABLES[self.family]):
            return None
        ports = []
        for link in netns.links:
            if link.kind is _LO or not _own_addresses(link, self.family):
                continue
            port = self._port(netns, link)
            if port is None:
                return None
            ports.append(port)
        reaches = self._reaches(netns, ports)
        return Stack(netns.id, tuple(ports), reaches, filters) if reaches is not None else None

    def unseen(self, netns: Netns) -> Stack | None:
        """A stack that was not captured, at the addresses that Docker gave it."""
        ports = []
        for endpoint in self._endpoints[netns.id]:
            ip = endpoint.ip if self.family is Family.IPV4 else endpoint.ip6
            if ip is None:
                continue
            bridge = self._docker_bridges.get(endpoint.network, "")
            if ip.value in self.owners or not self._is_plain_bridge(bridge) or self._sent(ip, bridge) != (_DIRECT, ""):
                return None
            around, trouble = self._around_bridge(bridge)
            ports.append(Port(netns.id, "", ip, bridge, around=around, trouble=(trouble, "")))
        return Stack(netns.id, tuple(ports), (), unseen=True) if ports else None

    def _port(self, netns: Netns, link: Link) -> Port | None:
        addresses = _own_addresses(link, self.family)
        if len(addresses) != 1 or addresses[0].tentative:
            return None
        ip = addresses[0].ip
        if self.owners.get(ip.value) != [netns.id] or any(self.topology.children(netns.id, link.name)):
            return None
        peer = self.topology.peers.get((netns.id, link.name))
        veth = self.topology.links[peer] if peer is not None and peer[0] == "host" else None
        if veth is None or not self._is_plain_port(veth) or link.kind is not _VETH or not link.up:
            return self._port_apart(netns, link, ip)
        if self._ignores_questions(netns, link.name) or self.fixed.get((veth.master, ip), link.mac) != link.mac:
            return None
        sent, _ = self._sent(ip, veth.master)
        around, trouble = self._around_bridge(veth.master)
        return Port(netns.id, link.name, ip, veth.master, sent, outside=veth.name, around=around, trouble=(trouble, ""))

    def _port_apart(self, netns: Netns, link: Link, ip: Ip) -> Port | None:
        """A link that is behind no plain port: on a segment of its own, or cut off."""
        segment = self.segments.of(netns, link)
        if not segment or self._ignores_questions(netns, link.name):
            return None
        sent, by = self._sent(ip, segment)
        own = self.silence.trouble(netns.id, link.name)
        trouble = own, f"{own}, {self.silence.trouble('host', by)}" if by else own
        around = self.silence.around(netns.id, link.name)
        return Port(netns.id, link.name, ip, segment, sent, by, around=around, trouble=trouble)

    def _around_bridge(self, bridge: str) -> tuple[frozenset[str] | None, str]:
        """Who is on a bridge, and what is wrong there."""
        if bridge not in self._bridges_around:
            found = self.silence.around("host", bridge)
            around = found | {"host"} if found is not None else None
            self._bridges_around[bridge] = around, self.silence.trouble("host", bridge)
        return self._bridges_around[bridge]

    def _is_plain_port(self, veth: Link) -> bool:
        blocked = veth.port is not None and (veth.port.state not in (None, "forwarding") or bool(veth.port.isolated))
        if not veth.up or not veth.master or blocked or any(self.topology.children("host", veth.name)):
            return False
        return self._is_plain_bridge(veth.master)

    def _ignores_questions(self, netns: Netns, link: str) -> bool:
        return self.family is Family.IPV4 and sysctl.arp_ignore(netns, link) > 3

    def _is_plain_bridge(self, name: str) -> bool:
        if name not in self._bridges:
            bridge = self.topology.link("host", name)
            plain = bridge is not None and bridge.kind is LinkKind.BRIDGE and bridge.up and not bridge.master
            if plain and bridge is not None:
                segment = self.topology.segment("host", name)
                greedy = any(a.netns in self.greedy for a in segment.attachments)
                plain = not (bridge.vlan_filtering or segment.external or greedy)
                plain = plain and not any(self.topology.children("host", name))
            self._bridges[name] = plain
        return self._bridges[name]

    def _sent(self, ip: Ip, bridge: str) -> tuple[Way, str]:
        """How the host sends to an address on a bridge or segment, and by which link where nobody answers."""
        try:
            route = self.fib.lookup(FibQuery(ip.value))
        except RouteNotCapturedError:
            return Way.OTHER, ""
        if route is None:
            return Way.NONE, ""
        if route.type in _REFUSING:
            return _REFUSING[route.type], ""
        if route.type is not _UNICAST or len(route.nexthops) != 1 or route.nexthops[0].dead:
            return Way.OTHER, ""
        nexthop = route.nexthops[0]
        if nexthop.dev == bridge and nexthop.gateway is None:
            return _DIRECT, ""
        apart = self.topology.link("host", bridge) is None  # neighbours there never meet rules about the host's link
        wanted = nexthop.gateway or ip
        if apart and wanted.family is self.family and self.silence.nobody("host", nexthop.dev, wanted):
            return Way.LOST, nexthop.dev
        return Way.OTHER, ""

    def _reaches(self, netns: Netns, ports: list[Port]) -> tuple[Reach, ...] | None:
        """None: the stack routes by something else than plain routes."""
        by_link = {port.link: port for port in ports}
        main: list[Route] = []
        local: set[int] = set()
        for route in netns.routes.get(self.family) or ():
            if route.destination.family is not self.family:
                continue
            if route.type is _LOCAL:
                local.add(route.destination.value)
            if route.table == "main":
                if not _is_dead(route):
                    main.append(route)
            elif route.table != "local" or self._hides_somebody(route):
                return None
        if any(port.ip not in local for port in ports if port.around is None or port.around):
            return None
        for route in main:
            if route.type in _REFUSING:
                continue
            if route.type is not _UNICAST or len(route.nexthops) != 1:
                return None
            if route.nexthops[0].dev not in by_link:
                return None
        found, sources = [], Sources(netns, self.family)
        for first, last, way in _longest(main, self.family):
            if way is None or way.type in _REFUSING:
                found.append(Reach(first, last, _REFUSING[way.type] if way is not None else Way.NONE, ""))
                continue
            port = by_link[way.nexthops[0].dev]
            chosen = sources.select(way, way.nexthops[0], first)
            kind = self._way(way, port) if chosen == port.ip else Way.OTHER
            found.append(Reach(first, last, kind, port.link))
        return tuple(found)

    def _hides_somebody(self, route: Route) -> bool:
        """Whether it makes a broadcast or anycast address of one that somebody has."""
        if route.table != "local" or route.type in _OF_NOBODY:
            return False
        return route.destination.length < self.family.bits or route.destination.value in self.owners

    def _way(self, route: Route, port: Port) -> Way:
        gateway = route.nexthops[0].gateway
        if gateway is None:
            return _DIRECT
        if gateway.family is self.family and self.silence.nobody_of(port.around, port.netns, gateway):
            return Way.LOST
        if not port.routed:
            return Way.OTHER
        bridge = self.topology.link("host", port.bridge)
        own = bridge is not None and any(a.ip == gateway and not a.tentative for a in bridge.addresses)
        own = own and self.fib.is_local(gateway.value) and not self._ignores_questions(self.host, port.bridge)
        return Way.GATEWAY if own and self.owners.get(gateway.value) == ["host"] else Way.OTHER


def _own_addresses(link: Link, family: Family) -> list[Address]:
    return [a for a in link.addresses if a.ip.family is family and not a.ip.is_link_local]


def _is_dead(route: Route) -> bool:
    """Whether look-ups pass it over."""
    return route.type is _UNICAST and bool(route.nexthops) and all(n.dead for n in route.nexthops)


def _longest(routes: list[Route], family: Family) -> Iterator[tuple[int, int, Route | None]]:
    """All addresses in order, each range with the route that the longest prefix gives."""
    for first, last, position in _spans(tuple([(r.destination, r.metric) for r in routes]), family):
        yield first, last, None if position is None else routes[position]


@lru_cache(maxsize=1 << 10)  # the containers of one network have the same routes but for their own addresses
def _spans(routes: tuple[tuple[Prefix, int], ...], family: Family) -> tuple[tuple[int, int, int | None], ...]:
    """The same of destinations and metrics, by their positions."""
    edges = sorted({0, *(prefix.first for prefix, _ in routes), *(prefix.last + 1 for prefix, _ in routes)})
    beyond, found = 1 << family.bits, []
    for first, end in zip(edges, [*edges[1:], beyond], strict=True):
        if first >= beyond:
            break
        covering = [position for position, (prefix, _) in enumerate(routes) if prefix.contains_value(first)]
        best = min(covering, key=lambda position: (-routes[position][0].length, routes[position][1]), default=None)
        found.append((first, end - 1, best))
    return tuple(found)


def _routes_by_destination(netns: Netns, family: Family) -> bool:
    """Only the policy rules that every namespace has."""
    rules = netns.rules.get(family)
    if netns.routes.get(family) is None:
        return False
    if rules is None:
        return {r.table for r in netns.routes.get(family) or ()} <= {"local", "main", "default"}
    local, main, default = ((r.priority, r.action, r.table) for r in DEFAULT_RULES)
    found = {(r.priority, r.action, r.table) for r in rules}
    return {local, main} <= found <= {local, main, default} and not any(
        r.source or r.destination or r.iif or r.oif or r.fwmark is not None or r.inverted or r.unmodelled for r in rules
    )


def _host_routes_by_destination(host: Netns, family: Family) -> bool:
    """The same of the host, as far as packets are concerned that no policy rule picks by their mark, source or input interface.

    VPN services let their own marked ones go another way, and a second uplink those from its address. What sets a mark that
    a policy rule looks at is left to the interpreter.
    """
    rules = host.rules.get(family)
    if not rules or host.routes.get(family) is None:
        return _routes_by_destination(host, family)
    first = min(rules, key=lambda rule: rule.priority)
    return first == PolicyRule(0, "lookup", "local", evidence=first.evidence) and all(
        rule.action in _POLICY_ACTIONS
        and not (rule.oif or rule.iif == "lo" or rule.unmodelled)
        and not (rule.inverted and (rule.source or rule.iif))
        for rule in rules
    )


def routes_by_mark(host: Netns, family: Family) -> bool:
    """Whether a packet's mark may change its way."""
    return any(rule.fwmark is not None for rule in host.rules.get(family) or ())


def _fixes_neighbours(netns: Netns, family: Family) -> bool:
    """Whether it has neighbours that it does not ask for."""
    return any(n.state == "PERMANENT" and n.ip.family is family for n in netns.neighbours)


def _takes_others(netns: Netns, family: Family) -> bool:
    """Whether it takes more addresses for its own than its links have."""
    own = {a.ip.value for link in netns.links or () for a in link.addresses}
    return any(
        route.table == "local" and route.type is _LOCAL and not _is_own(route, own)
        for route in netns.routes.get(family) or ()
    )


def _is_own(route: Route, own: set[int]) -> bool:
    family = route.destination.family
    first, last = _LOOPBACK[family]
    if first <= route.destination.first <= route.destination.last <= last:
        return True
    return route.destination.length == family.bits and route.destination.value in own


def _is_inert(ruleset: Ruleset, family: Family) -> bool:
    """Whether no packet but one from or to loopback meets a rule, as in what Docker's resolver sets up in a container."""
    ours = (TABLES[family], TableFamily.INET)
    for table in ruleset.tables:
        if table.family not in ours:
            if table.family not in TABLES.values() and any(c.base and c.rules for c in table.chains.values()):
                return False
            continue
        if not _is_inert_table(table, _LOOPBACK[family]):
            return False
    return True


def _is_inert_table(table: NfTable, own: tuple[int, int]) -> bool:
    for chain in table.chains.values():
        if chain.base is None:
            continue
        if chain.base.policy_drop or chain.base.hook in DEVICE_HOOKS:
            return False
        for rule in chain.rules:
            loopback = any(
                isinstance(part, Within)
                and part.field in _BOTH_ENDS
                and not part.negated
                and all(own[0] <= low <= high <= own[1] for low, high in part.ranges)
                for part in rule.parts[:2]
            )
            if not loopback:
                return False
    return True
