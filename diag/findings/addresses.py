"""Checks of subnets and addresses: what overlaps, what is used twice, what is used up, what is not where Docker "
"says."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from diag.findings.cables import addresses, own_space
from diag.findings.check import Check, Facts, Found
from diag.findings.phrases import citing, some
from diag.findings.prefixes import PrefixIndex
from diag.findings.routing import default_routes
from diag.model.address import Family, Ip, Prefix
from diag.model.docker import DockerNetwork
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netns import Link, LinkKind, Route, RouteType
from diag.model.provenance import Evidence

_ON_THE_HOST = ("bridge", "overlay")
"""Drivers whose subnets hide others; those of macvlan and ipvlan are the LAN's on purpose."""
_LINK_LOCAL = (Prefix.parse("169.254.0.0/16"), Prefix.parse("fe80::/10"), Prefix.parse("ff00::/8"))
_SUMMARY = 8
"""Shorter prefixes are default routes in parts: VPN clients have two of length 1."""
_FEW = 8
"""A subnet of fewer addresses was measured for what is in it."""


def _overlapping_routes(facts: Facts) -> Iterator[Found]:
    # As moby netutils.InferReservedNetworks does: on-link routes are other networks, those by a gateway may be summaries.
    routes = PrefixIndex((route.destination, route) for route in _foreign_routes(facts))
    for network in facts.snapshot.networks:
        if network.driver not in _ON_THE_HOST:
            continue
        for config in network.ipam:
            narrower = (route for _, route in routes.within(config.subnet))
            wider = (
                route
                for prefix, route in routes.containing(config.subnet)
                if prefix == config.subnet or _on_link(route)
            )
            route = next((r for found in (wider, narrower) for r in found), None)
            if route is not None:
                text = say(
                    "{network} has the subnet {subnet}, and the host has a route to {route} by {dev}: where they "
                    "overlap, "
                    "only one of the two can be reached.",
                    network=network.name,
                    subnet=str(config.subnet),
                    route=str(route.destination),
                    dev=route.nexthops[0].dev,
                )
                yield Found(network.name, text, citing(route.evidence, network.evidence))
                break


def _foreign_routes(facts: Facts) -> Iterator[Route]:
    """Routes of the host's main table by links that are not Docker's."""
    for family in Family:
        for route in facts.host.routes.get(family) or ():
            if (
                route.type is RouteType.UNICAST
                and route.table == "main"
                and route.destination.length >= _SUMMARY
                and route.nexthops
                and not any(route.destination.overlaps(prefix) for prefix in _LINK_LOCAL)
                and all(hop.dev and hop.dev not in facts.world.bridges for hop in route.nexthops)
            ):
                yield route


def _on_link(route: Route) -> bool:
    return all(hop.gateway is None for hop in route.nexthops)


def _overlapping_subnets(facts: Facts) -> Iterator[Found]:
    bridges = [n for n in facts.snapshot.networks if n.driver == "bridge"]
    index = PrefixIndex((config.subnet, network) for network in bridges for config in network.ipam)
    for network in bridges:
        others = (
            (config.subnet, prefix, other)
            for config in network.ipam
            for prefix, other in index.containing(config.subnet)
            if other.id != network.id and (prefix != config.subnet or other.name < network.name)
        )
        for subnet, prefix, other in others:
            text = say(
                "{network} has {subnet}, and {other} has {prefix}: the host reaches an address that is in both on "
                "one of them only.",
                network=network.name,
                subnet=str(subnet),
                other=other.name,
                prefix=str(prefix),
            )
            yield Found(network.name, text, citing(network.evidence, other.evidence))
            break


def _public_subnets(facts: Facts) -> Iterator[Found]:
    ways = default_routes(facts.host, Family.IPV4)
    if not ways:
        return  # where nothing leads to the internet, nothing of it is hidden
    for network in facts.snapshot.networks:
        if network.driver not in _ON_THE_HOST or _meant_to_be_public(network):
            continue
        for config in network.ipam:
            if config.subnet.family is Family.IPV4 and _is_public(config.subnet):
                text = say(
                    "{network} has {subnet}, which belongs to somebody on the internet: nobody on this host can "
                    "reach the real one.",
                    network=network.name,
                    subnet=str(config.subnet),
                )
                yield Found(network.name, text, citing(network.evidence, ways[0].evidence))
                break


def _meant_to_be_public(network: DockerNetwork) -> bool:
    """Without masquerading, others are to see the containers' addresses: such a network has its own by right."""
    options = network.options
    return (
        options.get("com.docker.network.bridge.gateway_mode_ipv4") == "routed"
        or options.get("com.docker.network.bridge.enable_ip_masquerade", "true").lower() == "false"
    )


def _is_public(subnet: Prefix) -> bool:
    found = ipaddress.IPv4Network((subnet.value, subnet.length))
    return found.is_global and not found.is_multicast


def _exhausted(facts: Facts) -> Iterator[Found]:
    members = _members(facts)
    for network in facts.snapshot.networks:
        configs = [c for c in network.ipam if c.subnet.family is Family.IPV4]
        ranges = [c.ip_range or c.subnet for c in configs]
        special = {ip for c in configs for ip in (c.subnet.first, c.subnet.last, c.gateway.value if c.gateway else -1)}
        usable = sum(r.last - r.first + 1 for r in ranges) - sum(
            any(r.first <= ip <= r.last for r in ranges) for ip in special
        )
        taken = {ip.value for ip in members.get(network.id, ()) if any(ip in r for r in ranges)}
        free = max(usable - len(taken - special), 0)
        if usable >= _FEW and free * 20 <= usable:
            text = say(
                "{network} has {free} of {size} addresses left in {ranges}.",
                network=network.name,
                free=free,
                size=usable,
                ranges=some(str(r) for r in ranges),
            )
            yield Found(network.name, text, citing(network.evidence))


def _members(facts: Facts) -> dict[str, set[Ip]]:
    """IPv4 addresses that are in use, by network id."""
    found = {
        n.id: {ip for m in n.members for ip in m.addresses if ip.family is Family.IPV4} for n in facts.snapshot.networks
    }
    for container in facts.snapshot.containers:
        for endpoint in container.endpoints if container.running else ():
            if endpoint.ip is not None and endpoint.network_id in found:
                found[endpoint.network_id].add(endpoint.ip)
    return found


def _fixed_outside(facts: Facts) -> Iterator[Found]:
    networks = {n.id: n for n in facts.snapshot.networks}
    for container in facts.snapshot.containers:
        for endpoint in container.endpoints:
            network = networks.get(endpoint.network_id) or facts.snapshot.network(endpoint.network)
            if network is None:
                continue
            for ip in endpoint.wanted_ips:
                subnets = [c.subnet for c in network.ipam if c.subnet.family is ip.family]
                if subnets and not any(ip in subnet for subnet in subnets):
                    text = say(
                        "{container} was made with the address {ip} on {network}, which has {subnets}: it cannot be "
                        "started like that.",
                        container=container.name,
                        ip=str(ip),
                        network=network.name,
                        subnets=some(str(s) for s in subnets),
                    )
                    evidence = citing(container.evidence, network.evidence)
                    yield Found(f"{container.name} ({network.name})", text, evidence)
                    break


def _elsewhere(facts: Facts) -> Iterator[Found]:
    for container in facts.snapshot.containers:
        space = own_space(facts.world, container)
        if space is None or space.links is None:
            continue
        real = {a.ip for link in space.links for a in link.addresses}
        for endpoint in container.endpoints:
            for ip in addresses(endpoint):
                if ip not in real:
                    text = say(
                        "Docker says that {container} has {ip} on {network}, but no interface in its namespace does.",
                        container=container.name,
                        ip=str(ip),
                        network=endpoint.network,
                    )
                    links = (link.evidence for link in space.links if link.kind is not LinkKind.LOOPBACK)
                    evidence = citing(container.evidence, next(links, None))
                    yield Found(f"{container.name} ({endpoint.network})", text, evidence)
                    break


def _segments(facts: Facts) -> Iterator[tuple[str, DockerNetwork, tuple[tuple[str, Link], ...]]]:
    """The bridge networks: a bridge with the links of containers that are on it, each with its owner's name."""
    on: dict[str, list[tuple[str, Link]]] = {}
    for cable in facts.cables:
        if cable.outer is not None and cable.outer.master:
            on.setdefault(cable.outer.master, []).append((cable.container.name, cable.inner))
    for bridge, links in on.items():
        network = facts.world.bridges.get(bridge)
        if network is not None:
            own = facts.world.link("host", bridge)
            yield bridge, network, (*links, *((("@host", own),) if own is not None else ()))


def _duplicate_addresses(facts: Facts) -> Iterator[Found]:
    for _, network, links in _segments(facts):
        owners: dict[Ip, list[tuple[str, Evidence | None]]] = {}
        for name, link in links:
            for address in link.addresses:
                if not address.ip.is_link_local:
                    owners.setdefault(address.ip, []).append((name, link.evidence))
        yield from _shared(network, ((str(ip), found) for ip, found in owners.items()))


def _duplicate_macs(facts: Facts) -> Iterator[Found]:
    for _, network, links in _segments(facts):
        owners: dict[str, list[tuple[str, Evidence | None]]] = {}
        for name, link in links:
            if link.mac:
                owners.setdefault(link.mac.lower(), []).append((name, link.evidence))
        yield from _shared(network, owners.items())


def _shared(network: DockerNetwork, owners: Iterable[tuple[str, list[tuple[str, Evidence | None]]]]) -> Iterator[Found]:
    """One finding for a network: what several on its bridge have."""
    doubled = [(what, found) for what, found in owners if len(found) > 1]
    if doubled:
        what, found = doubled[0]
        text = say(
            "On {network}, {what} belongs to {owners}: frames for it reach one of them, now this, now that.",
            network=network.name,
            what=what,
            owners=some(name for name, _ in found),
        )
        yield Found(network.name, text, citing(*(evidence for _, found in doubled for _, evidence in found)))


CHECKS = (
    Check(
        code="subnet-overlaps-route",
        severity=Severity.WARNING,
        title=say("Docker's subnet is also elsewhere"),
        meaning=say(
            "A network of the LAN, of a VPN or of another program has addresses that a Docker network has too. "
            "Containers and the "
            "host reach one of the two; callers from the other get no answer."
        ),
        detected=say(
            "A route of the host's main table by a link that is not Docker's overlaps with the subnet of a bridge or "
            "overlay network."
        ),
        fix=say("Make the network anew with another subnet, and choose default-address-pools that nothing else uses."),
        find=_overlapping_routes,
    ),
    Check(
        code="subnets-overlap",
        severity=Severity.ERROR,
        title=say("Two Docker networks have the same addresses"),
        meaning=say(
            "The host has one route for an address: containers of one of the two networks cannot be reached through it."
        ),
        detected=say("The subnets of two bridge networks overlap."),
        fix=say("Make one of the networks anew with another subnet."),
        find=_overlapping_subnets,
    ),
    Check(
        code="public-subnet",
        severity=Severity.WARNING,
        title=say("A Docker network uses public addresses"),
        meaning=say(
            "The real owner of the addresses cannot be reached from this host or its containers, and nobody says so."
        ),
        detected=say(
            "An IPv4 subnet of a masqueraded bridge or an overlay lies in public address space, and the host has a "
            "default route."
        ),
        fix=say("Make the network anew with a subnet of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16."),
        find=_public_subnets,
    ),
    Check(
        code="addresses-exhausted",
        severity=Severity.WARNING,
        title=say("A Docker network runs out of addresses"),
        meaning=say(
            "The next container that is to join it may not start: no available IPv4 addresses on this network's "
            "address pools."
        ),
        detected=say(
            "At most one in twenty IPv4 addresses of the network's range is free; ranges of fewer than 8 do not count."
        ),
        fix=say("Disconnect what is not needed, or make the network anew with a larger subnet."),
        find=_exhausted,
    ),
    Check(
        code="fixed-address-outside-subnet",
        severity=Severity.ERROR,
        title=say("A fixed address lies outside its network"),
        meaning=say("Docker refuses to start the container: the address belongs to none of the network's subnets."),
        detected=say(
            "The address that was chosen with --ip is in no subnet of the network, which was often made anew since."
        ),
        fix=say("Make the container anew with an address of the subnet, or without --ip."),
        find=_fixed_outside,
    ),
    Check(
        code="address-not-on-link",
        severity=Severity.ERROR,
        title=say("A container does not have the address that Docker lists"),
        meaning=say("Names lead to that address and published ports are sent there, and nobody answers."),
        detected=say("No interface of the container's namespace has an address that docker inspect gives."),
        fix=say("Disconnect and connect the network again, or restart the container."),
        find=_elsewhere,
    ),
    Check(
        code="duplicate-address",
        severity=Severity.ERROR,
        title=say("Two on one bridge have the same address"),
        meaning=say("Neighbours send to whoever answered last, so that connections work now and then."),
        detected=say("Interfaces on one Docker bridge, the bridge itself among them, have an address in common."),
        fix=say("Remove the address that was set by hand, or restart the container that should not have it."),
        find=_duplicate_addresses,
    ),
    Check(
        code="duplicate-mac",
        severity=Severity.ERROR,
        title=say("Two on one bridge have the same MAC address"),
        meaning=say(
            "The bridge sends frames to the port where it saw the address last, so that connections work now and then."
        ),
        detected=say("Interfaces on one Docker bridge, the bridge itself among them, have a MAC address in common."),
        fix=say("Make one of the containers anew without a fixed MAC address, or with another."),
        find=_duplicate_macs,
    ),
)
