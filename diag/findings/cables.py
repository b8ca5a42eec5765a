"""Which link a container has for each of its Docker networks, and the link's other end on the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from diag.interpreter.world import World
from diag.kernel.fib import is_damaged
from diag.model.address import Family, Ip
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.netns import Link, LinkKind, Netns


class Cable(Struct, frozen=True):
    """A container's link on one network."""

    container: Container
    endpoint: Endpoint
    network: DockerNetwork
    space: Netns
    """The container's namespace."""
    inner: Link
    """In the container."""
    outer: Link | None
    """The other end in the host's namespace; None: it is elsewhere, or was not captured."""

    @property
    def place(self) -> str:
        """The subject of a finding about it: both names survive restarts."""
        return f"{self.container.name} ({self.network.name})"

    @property
    def bridged(self) -> bool:
        """Whether it belongs on a Linux bridge of the host."""
        return self.network.driver == "bridge"


def cables_of(world: World) -> tuple[Cable, ...]:
    """Those that the capture shows, by container."""
    return tuple(_cables(world))


def _cables(world: World) -> Iterator[Cable]:
    networks = {n.id: n for n in world.snapshot.networks}
    for container in world.snapshot.containers:
        space = own_space(world, container)
        if space is None or not space.links:
            continue
        by_ip = {a.ip: link for link in space.links for a in link.addresses}
        for endpoint in container.endpoints:
            network = networks.get(endpoint.network_id) or world.snapshot.network(endpoint.network)
            inner = next((by_ip[ip] for ip in addresses(endpoint) if ip in by_ip), None) or _with_mac(space, endpoint)
            if network is None or inner is None:
                continue
            peer = world.topology.peers.get((space.id, inner.name))
            outer = world.topology.links[peer] if peer is not None and peer[0] == "host" else None
            yield Cable(container, endpoint, network, space, inner, outer)


def _with_mac(space: Netns, endpoint: Endpoint) -> Link | None:
    """The link that has the endpoint's hardware address, the last one if several have."""
    mac = endpoint.mac.lower()
    found = [link for link in space.links or () if link.mac.lower() == mac and link.kind is not LinkKind.LOOPBACK]
    return found[-1] if mac and found else None


def whole_containers(cables: Iterable[Cable]) -> Iterator[tuple[Cable, ...]]:
    """Those whose links are up and have their addresses, each with all its links: nothing else explains their routes."""
    by_container: dict[str, list[Cable]] = {}
    for cable in cables:
        if cable.inner.up and cable.endpoint.ip in [a.ip for a in cable.inner.addresses]:
            by_container.setdefault(cable.container.name, []).append(cable)
    for found in by_container.values():
        space = found[0].space
        known = space.routes.get(Family.IPV4) is not None and not is_damaged(space, Family.IPV4)
        if known and len(found) == len(found[0].container.endpoints):
            yield tuple(found)


def own_space(world: World, container: Container) -> Netns | None:
    """The namespace that was made for a container; None: it runs in another's, does not run, or was not captured."""
    if world.snapshot.netns_of.get(container.name) != container.short_id:
        return None
    return world.snapshot.netns.get(container.short_id)


def addresses(endpoint: Endpoint) -> tuple[Ip, ...]:
    """Those that Docker says it has."""
    return tuple(ip for ip in (endpoint.ip, endpoint.ip6) if ip is not None)
