"""Who is what among the host's interfaces."""

from __future__ import annotations

from diag.interpreter.world import World
from diag.model.analysis import InterfaceRole
from diag.model.message import clauses, say
from diag.model.netns import Link, LinkKind, RouteType

UPLINK = say("the host's uplink (default route)")


def interface_roles(world: World) -> tuple[InterfaceRole, ...]:
    """The role of every host interface, in the kernel's order."""
    host = world.snapshot.netns.get("host")
    if host is None or host.links is None:
        return ()
    uplinks = _uplinks(world)
    return tuple(_role(world, link, uplinks) for link in host.links)


def _uplinks(world: World) -> set[str]:
    """Interfaces that a default route leaves by."""
    host = world.snapshot.netns["host"]
    return {
        nexthop.dev
        for routes in host.routes.values()
        for route in routes or ()
        if route.type is RouteType.UNICAST and route.destination.length == 0
        for nexthop in route.nexthops
    }


def _role(world: World, link: Link, uplinks: set[str]) -> InterfaceRole:
    container, text = "", ""
    match link.kind:
        case LinkKind.LOOPBACK:
            text = say("loopback")
        case LinkKind.BRIDGE:
            text = _bridge_text(world, link)
        case LinkKind.VETH:
            container, text = _veth_text(world, link)
        case _:
            uplink = link.name in uplinks
            text = UPLINK if uplink else say("host interface ({kind})", kind=link.kind.value)
            if link.index and link.peer_index:
                container, veth = _veth_text(world, link)
                text = veth if container else text
    return InterfaceRole(
        link.name,
        text,
        tuple(f"{a.ip}/{a.prefix.length}" for a in link.addresses),
        container,
        link.master,
        "down" if not link.up else "up" if link.carrier else "no-carrier",
        link.evidence,
    )


def _bridge_text(world: World, link: Link) -> str:
    network = world.bridges.get(link.name)
    ports = world.topology.ports("host", link.name)
    members = say("1 port") if len(ports) == 1 else say("{n} ports", n=len(ports)) if ports else say("no ports")
    owner = (
        say("bridge of the Docker network {network}", network=network.name)
        if network
        else say("bridge of no Docker network")
    )
    return clauses((owner, members, *((say("STP on"),) if link.stp else ())))


def _veth_text(world: World, link: Link) -> tuple[str, str]:
    peer = world.topology.peers.get(("host", link.name))
    where = say("veth on {bridge}", bridge=link.master) if link.master else say("veth on no bridge")
    if peer is None:
        return "", say("{veth}; its other end is not in the capture", veth=where)
    owners = world.containers_in.get(peer[0], [])
    label = "/".join(owners) or peer[0]
    text = say("{veth}; its other end is {end} in {owner}", veth=where, end=peer[1], owner=label)
    return (owners[0] if owners else ""), text
