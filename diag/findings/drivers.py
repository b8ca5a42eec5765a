"""Checks of what network drivers need or leave out: macvlan and ipvlan, overlay."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from msgspec.structs import replace

from diag.findings.check import Check, Facts, Found
from diag.findings.phrases import citing, some
from diag.interpreter.trace import Tracer
from diag.model.address import Family, Ip, Prefix
from diag.model.finding import Severity
from diag.model.flow import Flow, Protocol
from diag.model.message import say
from diag.model.netns import Link, LinkKind
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition
from diag.model.snapshot import Snapshot
from diag.reach.beyond import WORLD, Uplink, far_of, with_world

_OUTSIDE = frozenset({"macvlan", "ipvlan"})
_SWARM = ((Protocol.TCP, 7946), (Protocol.UDP, 7946), (Protocol.UDP, 4789))
_MANAGERS = (Protocol.TCP, 2377)
_STOPPED = frozenset({Disposition.DROPPED, Disposition.REJECTED})


def _unpublished(facts: Facts) -> Iterator[Found]:
    for container in facts.snapshot.containers:
        if not container.asked_ports or container.ports or not container.running or not container.endpoints:
            continue
        networks = [
            facts.snapshot.network(e.network_id) or facts.snapshot.network(e.network) for e in container.endpoints
        ]
        if all(n is not None and n.driver in _OUTSIDE for n in networks):
            text = say(
                "{container} asks to publish {ports}, and {networks} has no published ports: it is called at its own "
                "address.",
                container=container.name,
                ports=some(f"{p.container_port}/{p.protocol}" for p in container.asked_ports),
                networks=some(e.network for e in container.endpoints),
            )
            yield Found(container.name, text, citing(container.evidence))


def _parents(facts: Facts) -> Iterator[Found]:
    if facts.host.links is None or not facts.sees_bridges:
        return
    for network in facts.snapshot.networks:
        name = network.options.get("parent", "")
        if network.driver not in _OUTSIDE or not name or not network.members:
            continue
        parent = facts.world.link("host", name)
        if parent is None:
            text = say(
                "{network} is on {parent}, and the host has no such interface.", network=network.name, parent=name
            )
            yield Found(network.name, text, citing(network.evidence))
        elif not (parent.up and parent.carrier):
            text = say(
                "{network} is on {parent}, which {state}.",
                network=network.name,
                parent=name,
                state=say("has no carrier") if parent.up else say("is down"),
            )
            yield Found(network.name, text, citing(parent.evidence, network.evidence))


def _swarm_blocked(facts: Facts) -> Iterator[Found]:
    """Packets of a swarm's other hosts, as they come in by the link that leads there."""
    if facts.snapshot.engine.swarm not in ("active", "") or facts.host.links is None:
        return
    peers = dict.fromkeys(
        entry.dst
        for name, space in facts.snapshot.netns.items()
        if name.startswith("netns/")
        for entry in space.fdb
        if entry.dst.family is Family.IPV4
    )
    manager = any(s.protocol == "tcp" and s.port == _MANAGERS[1] for s in facts.host.sockets or ())
    blocked: dict[str, list[Evidence]] = {}
    for peer in list(peers)[:_MOST_PEERS]:
        way = _way_to(facts, peer)
        if way is None:
            continue
        host = next((a.ip for a in way.link.addresses if a.ip.family is Family.IPV4), None)
        if host is None:
            continue
        tracer = Tracer(_with_peer(facts.snapshot, way, peer), facts.world)
        for protocol, port in (*_SWARM, *((_MANAGERS,) if manager else ())):
            trace = tracer.trace(Flow(WORLD, host, protocol, port))
            if trace.disposition in _STOPPED and trace.decided_by is not None:
                blocked.setdefault(f"{port}/{protocol.value}", []).append(trace.decided_by)
    for port, lines in blocked.items():
        text = say("{port} from the swarm's other hosts is stopped here: {rule}.", port=port, rule=lines[0].text)
        yield Found(port, text, citing(*lines))


_MOST_PEERS = 4
"""Rules for a swarm's hosts name them all or none."""


def _way_to(facts: Facts, peer: Ip) -> Uplink | None:
    """The link by which the host sends to another one."""
    if facts.host.routes.get(Family.IPV4) is None:
        return None
    fib = facts.world.fib("host", Family.IPV4)
    route = next((r for r in fib.candidates("main", peer.value) if r.nexthops), None)
    for position, link in enumerate(facts.host.links or ()):
        if route is not None and link.name == route.nexthops[0].dev and link.kind in (LinkKind.DEVICE, LinkKind.VETH):
            if ("host", link.name) in facts.world.topology.peers:
                return None
            return Uplink(position, link, link, ((Family.IPV4, route.nexthops[0].gateway),))
    return None


def _with_peer(snapshot: Snapshot, way: Uplink, peer: Ip) -> Snapshot:
    """The host with a world whose own address is the other host's."""
    made = with_world(snapshot, (way,))
    world, far = made.netns[WORLD], far_of(made)[Family.IPV4]

    def moved(link: Link) -> Link:
        return replace(
            link,
            addresses=tuple(replace(a, ip=peer, prefix=_single(peer)) if a.ip == far else a for a in link.addresses),
        )

    routes = tuple(
        replace(
            route,
            destination=_single(peer) if route.destination == _single(far) else route.destination,
            prefsrc=peer if route.prefsrc == far else route.prefsrc,
        )
        for route in world.routes.get(Family.IPV4) or ()
    )
    world = replace(
        world,
        links=tuple(moved(link) for link in world.links or ()),
        routes=MappingProxyType({**world.routes, Family.IPV4: routes}),
    )
    return replace(made, netns=MappingProxyType({**made.netns, WORLD: world}))


def _single(ip: Ip) -> Prefix:
    return Prefix.of(ip, ip.family.bits)


CHECKS = (
    Check(
        code="published-without-effect",
        severity=Severity.WARNING,
        title=say("Published ports have no effect on this network"),
        meaning=say("The container is on the LAN with an address of its own, and ports of the host do not lead to it."),
        detected=say(
            "Ports were asked for with -p, none is published, and all networks of the container are macvlan or ipvlan."
        ),
        fix=say("Call the container at its own address, or connect it to a bridge network too."),
        find=_unpublished,
    ),
    Check(
        code="parent-down",
        severity=Severity.ERROR,
        title=say("The parent interface of a network is not up"),
        meaning=say("Containers on a macvlan or ipvlan network reach nobody, for all their frames go by the parent."),
        detected=say(
            "The option parent of a network with members names an interface that is missing, down, or without carrier."
        ),
        fix=say("Set the parent up, plug the cable, or make the network anew on the right interface."),
        find=_parents,
    ),
    Check(
        code="swarm-port-blocked",
        severity=Severity.ERROR,
        title=say("The firewall stops the swarm's own traffic"),
        meaning=say(
            "Containers on different hosts do not reach each other: 2377/tcp is for managers, 7946/tcp and 7946/udp "
            "tell "
            "hosts where containers are, 4789/udp carries the overlay networks."
        ),
        detected=say(
            "The walk of a packet from an address that the overlay's forwarding table names as another host ends at "
            "a rule."
        ),
        fix=say("Accept the port on INPUT from the other hosts."),
        find=_swarm_blocked,
    ),
)
