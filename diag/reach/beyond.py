"""`@host` and `@world`: the host's own stack, and anything beyond its uplinks.

The world is a namespace like any other, behind every link by which a default route leaves. It answers for the gateways,
is reached at an address that stands for any (:mod:`diag.reach.far`), and knows the way back to what the internet knows:
the uplinks' own networks, Docker networks in gateway mode `routed`, and global IPv6 prefixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct, field
from msgspec.structs import replace

from diag.kernel.topology import Topology
from diag.model.address import Family, Ip, Prefix
from diag.model.netns import Address, Link, LinkKind, Netns, Nexthop, Route, RouteType
from diag.model.snapshot import Snapshot
from diag.reach.far import far_addresses

HOST = "@host"
"""The reserved endpoint for the host's own stack."""
WORLD = "@world"
"""The reserved endpoint for anything beyond the host's uplinks; also the id of its namespace."""
RESERVED = (HOST, WORLD)

_LINK_LOCAL = Ip.parse("fe80::ffff:1")
_PRIVATE6 = Prefix.parse("fc00::/7")
_NEVER_UPLINKS = frozenset({LinkKind.LOOPBACK, LinkKind.BRIDGE, LinkKind.DUMMY, LinkKind.MACVLAN, LinkKind.IPVLAN})
_FIRST_INDEX = 1 << 24
"""Interface indexes that no host has."""


class Uplink(Struct, frozen=True):
    """A link by which a default route leaves."""

    position: int
    """In the host's links."""
    link: Link
    top: Link
    """The link that has the addresses: itself, or the bridge it is a port of."""
    gateways: tuple[tuple[Family, Ip | None], ...]


def uplinks(snapshot: Snapshot, topology: Topology | None = None) -> tuple[Uplink, ...]:
    """The host's ways out. Links whose other end was captured are none. `topology` is of the same snapshot."""
    host = snapshot.netns.get("host")
    if host is None or host.links is None:
        return ()
    topology = topology or Topology(snapshot)
    by_name = {link.name: link for link in host.links}
    found = []
    for position, link in enumerate(host.links):
        if link.kind in _NEVER_UPLINKS or ("host", link.name) in topology.peers:
            continue
        top = by_name.get(link.master, link) if link.master else link
        gateways = tuple(_gateways(host, top.name))
        if gateways:
            found.append(Uplink(position, link, top, gateways))
    return tuple(found)


def uplink_addresses(ways: tuple[Uplink, ...]) -> tuple[Ip, ...]:
    """What the outside calls the host."""
    ips = (a.ip for uplink in ways for a in uplink.top.addresses if a.scope == "global")
    return tuple(dict.fromkeys(ips))


def _gateways(host: Netns, dev: str) -> Iterator[tuple[Family, Ip | None]]:
    for family in Family:
        for route in host.routes.get(family) or ():
            if route.destination.length == 0 and route.type is RouteType.UNICAST:
                yield from ((family, n.gateway) for n in route.nexthops if n.dev == dev and not n.dead)


class _Beyond(Struct):
    """The world's namespace on its way."""

    far: Mapping[Family, Ip]
    links: list[Link] = field(default_factory=list)
    routes: dict[Family, list[Route]] = field(default_factory=lambda: {family: [] for family in Family})

    def local(self, ip: Ip, dev: str) -> None:
        nexthops = (Nexthop(dev),)
        self.routes[ip.family].append(Route(Prefix.of(ip, ip.family.bits), RouteType.LOCAL, "local", nexthops))

    def towards(self, prefix: Prefix, dev: str, gateway: Ip | None) -> None:
        nexthops = (Nexthop(dev, gateway),)
        self.routes[prefix.family].append(
            Route(prefix, RouteType.UNICAST, "main", nexthops, prefsrc=self.far[prefix.family])
        )

    def netns(self) -> Netns:
        far = tuple(Address(ip, Prefix.of(ip, family.bits)) for family, ip in self.far.items())
        loopback = Link("lo", _FIRST_INDEX - 1, LinkKind.LOOPBACK, up=True, carrier=True, addresses=far)
        for ip in self.far.values():
            self.local(ip, "lo")
        sysctls = {"net.ipv4.ip_forward": "0", "net.ipv4.conf.all.rp_filter": "0", "net.ipv6.conf.all.forwarding": "0"}
        return Netns(
            WORLD,
            (loopback, *self.links),
            MappingProxyType({family: tuple(routes) for family, routes in self.routes.items()}),
            sysctl=MappingProxyType(sysctls),
        )


def with_world(snapshot: Snapshot, ways: tuple[Uplink, ...] | None = None) -> Snapshot:
    """The same host with the world at its uplinks, which may be known already."""
    host = snapshot.netns.get("host")
    world = _Beyond(far_addresses(snapshot))
    netns = dict(snapshot.netns)
    if host is not None and host.links is not None:
        links = list(host.links)
        for uplink in uplinks(snapshot) if ways is None else ways:
            links[uplink.position] = _attach(snapshot, world, uplink)
        netns["host"] = replace(host, links=tuple(links))
    netns[WORLD] = world.netns()
    return replace(snapshot, netns=MappingProxyType(netns))


def far_of(made: Snapshot) -> Mapping[Family, Ip]:
    """The addresses of the world that stand for any, of a snapshot that has it."""
    own = made.netns[WORLD].links or ()
    return {address.ip.family: address.ip for address in own[0].addresses}


def _attach(snapshot: Snapshot, world: _Beyond, uplink: Uplink) -> Link:
    """One end in the world; returns the host's end, which now has a peer."""
    name, index = f"to-{uplink.link.name}", _FIRST_INDEX + 2 * uplink.position
    near = uplink.link.index or index + 1
    addresses = [Address(_LINK_LOCAL, Prefix.of(_LINK_LOCAL, 64), "link")]
    world.local(_LINK_LOCAL, name)
    for _, gateway in uplink.gateways:
        if gateway is not None:
            addresses.append(Address(gateway, Prefix.of(gateway, gateway.family.bits)))
            world.local(gateway, name)
    for address in uplink.top.addresses:
        if address.scope == "global":
            world.towards(address.prefix, name, None)
            for prefix in _known_outside(snapshot, address.ip.family):
                world.towards(prefix, name, address.ip)
    world.links.append(
        Link(
            name,
            index,
            LinkKind.DEVICE,
            up=True,
            carrier=True,
            peer_index=near,
            peer_netnsid=0,
            addresses=tuple(addresses),
        )
    )
    return replace(uplink.link, index=near, kind=LinkKind.DEVICE, peer_index=index, peer_netnsid=1)


def _known_outside(snapshot: Snapshot, family: Family) -> Iterator[Prefix]:
    for network in snapshot.networks:
        routed = network.options.get(f"com.docker.network.bridge.gateway_mode_{family.label}") == "routed"
        for config in network.ipam:
            subnet = config.subnet
            if subnet.family is family and (routed or (family is Family.IPV6 and not subnet.overlaps(_PRIVATE6))):
                yield subnet
