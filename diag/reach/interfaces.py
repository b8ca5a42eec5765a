"""Who is what among the host's interfaces."""

from __future__ import annotations

from diag.interpreter.world import World
from diag.model.analysis import InterfaceRole
from diag.model.netns import Link, LinkKind, RouteType


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
            text = "loopback"
        case LinkKind.BRIDGE:
            text = _bridge_text(world, link)
        case LinkKind.VETH:
            container, text = _veth_text(world, link)
        case _:
            text = (
                "the host's uplink (default route)" if link.name in uplinks else f"host interface ({link.kind.value})"
            )
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
    members = f"{len(ports)} port{'' if len(ports) == 1 else 's'}" if ports else "no ports"
    stp = ", STP on" if link.stp else ""
    owner = f"bridge of the Docker network {network.name}" if network else "bridge of no Docker network"
    return f"{owner}, {members}{stp}"


def _veth_text(world: World, link: Link) -> tuple[str, str]:
    peer = world.topology.peers.get(("host", link.name))
    where = f"on {link.master}" if link.master else "on no bridge"
    if peer is None:
        return "", f"veth {where}; its other end is not in the capture"
    owners = world.containers_in.get(peer[0], [])
    label = "/".join(owners) or peer[0]
    return (owners[0] if owners else ""), f"veth {where}; its other end is {peer[1]} in {label}"
