"""Checks of routes: default routes that are not there, lead to nobody, or are on the wrong side; the reverse path "
"filter."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from diag.findings.cables import Cable
from diag.findings.check import Check, Facts, Found
from diag.findings.phrases import citing
from diag.findings.routing import default_routes
from diag.kernel.fib import DEFAULT_RULES, FibQuery, RouteNotCapturedError
from diag.model.address import Family
from diag.model.analysis import Group, Path
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netns import Address, Route, RouteType
from diag.model.provenance import Evidence
from diag.model.reasons import Reachability, Reason
from diag.reach.beyond import HOST, RESERVED

_TWO_ENDS = 30
"""Length of a prefix for a link with two ends."""


def _through_veth(facts: Facts) -> Iterator[Found]:
    cables = {c.outer.name: c for c in facts.cables if c.outer is not None}
    for family in Family:
        for route in default_routes(facts.host, family):
            cable = next((cables[hop.dev] for hop in route.nexthops if hop.dev in cables), None)
            if cable is None or cable.outer is None:
                continue
            text = say(
                "The host has a default route by {veth}, the link of {container}: {route}.",
                veth=cable.outer.name,
                container=cable.container.name,
                route=route.evidence.text if route.evidence else "",
            )
            ip = "ip" if family is Family.IPV4 else "ip -6"
            metric = f" metric {route.metric}" if route.metric else ""
            command = f"{ip} route del default dev {shlex.quote(cable.outer.name)}{metric}"
            yield Found(cable.place, text, citing(route.evidence, cable.outer.evidence), command)
            break


def _no_default_route(facts: Facts) -> Iterator[Found]:
    for cables in facts.whole:
        leads_out = next((c for c in cables if c.endpoint.gateway is not None and not c.network.internal), None)
        if leads_out is None or default_routes(leads_out.space, Family.IPV4) or _goes_out(facts, leads_out):
            continue
        if not _covered(leads_out):
            continue  # a gateway on a network without a route cannot be a default one: that is the finding
        text = say(
            "{container} has no default route, though {network} has the gateway {gateway}.",
            container=leads_out.container.name,
            network=leads_out.network.name,
            gateway=str(leads_out.endpoint.gateway),
        )
        own = next((r.evidence for r in _routes(leads_out) if r.table == "main"), None)
        yield Found(leads_out.container.name, text, citing(own or leads_out.inner.evidence))


def _routes(cable: Cable) -> tuple[Route, ...]:
    return cable.space.routes.get(Family.IPV4) or ()


def _goes_out(facts: Facts, cable: Cable) -> bool:
    """Whether other routes or policy rules lead out, or forbid it, as those of VPN clients do."""
    try:
        route = facts.world.fib(cable.space.id, Family.IPV4).lookup(FibQuery(facts.far[Family.IPV4].value))
    except RouteNotCapturedError:
        return True
    return route is not None


def _no_subnet_route(facts: Facts) -> Iterator[Found]:
    for cables in facts.whole:
        for cable in cables:
            if not _covered(cable):
                address = _address(cable)
                text = say(
                    "{container} has {ip} on {link}, and no route to {subnet}.",
                    container=cable.container.name,
                    ip=str(address.ip),
                    link=cable.inner.name,
                    subnet=str(address.prefix),
                )
                own = next((r.evidence for r in _routes(cable)), None)
                yield Found(cable.place, text, citing(own, cable.inner.evidence))


def _covered(cable: Cable) -> bool:
    """Whether some route leads to the network that the container's address belongs to, or may do so."""
    prefix = _address(cable).prefix
    if prefix.length > _TWO_ENDS or len(cable.space.rules.get(Family.IPV4) or ()) > len(DEFAULT_RULES):
        return True  # nobody else is on the link; or rules of the administrator's own choose the tables
    return any(
        r.table != "local"
        and r.destination.length
        and r.type is not RouteType.BROADCAST
        and r.destination.overlaps(prefix)
        for r in _routes(cable)
    )


def _address(cable: Cable) -> Address:
    return next(a for a in cable.inner.addresses if a.ip == cable.endpoint.ip)


def _to_nobody(facts: Facts) -> Iterator[Found]:
    for cables in facts.whole:
        route = next(iter(default_routes(cables[0].space, Family.IPV4)), None)
        if route is None or len(route.nexthops) != 1:
            continue
        hop = route.nexthops[0]
        cable = next((c for c in cables if c.inner.name == hop.dev and c.bridged and c.outer is not None), None)
        if hop.gateway is None or cable is None or cable.outer is None or hop.gateway == cable.endpoint.gateway:
            continue  # where Docker's own gateway does not answer, the bridge is to blame
        if not facts.world.may_answer(hop.gateway) and _closed(facts, cable.outer.master):
            text = say(
                "The default route of {container} leads to {gateway} on {network}, and nobody has that address.",
                container=cable.container.name,
                gateway=str(hop.gateway),
                network=cable.network.name,
            )
            yield Found(cable.container.name, text, citing(route.evidence))


def _closed(facts: Facts, bridge: str) -> bool:
    """Whether everybody on a bridge was captured."""
    ports = facts.world.topology.ports("host", bridge)
    return bool(ports) and all(("host", port.name) in facts.world.topology.peers for port in ports)


def _reverse_path(facts: Facts) -> Iterator[Found]:
    """One finding for each namespace that drops, with the lines that decide."""
    found: dict[str, list[tuple[Group, Path, Evidence]]] = {}
    for group in (*facts.analysis.groups, *facts.analysis.endpoints):
        for path in group.paths:
            by = path.decided_by
            if path.reason is not Reason.RP_FILTER or path.reachability is not Reachability.UNREACHABLE or by is None:
                continue
            if any(end in RESERVED for end in group.example) or _share(facts, group, path):
                found.setdefault(_owner(facts, by), []).append((group, path, by))
    for owner, hits in found.items():
        text = say(
            "{explanation} The reverse path filter drops it, as it does for {n} kinds of pairs.",
            explanation=hits[0][1].explanation,
            n=len(hits),
        )
        yield Found(owner, text, citing(*(by for _, _, by in hits)))


def _share(facts: Facts, group: Group, path: Path) -> bool:
    source = facts.snapshot.container(group.example[0])
    return bool(path.network) and source is not None and any(e.network == path.network for e in source.endpoints)


def _owner(facts: Facts, evidence: Evidence) -> str:
    folder = evidence.file.split("/")
    if folder[0] == "containers" and len(folder) > 1:
        container = facts.snapshot.container(folder[1])
        return container.name if container is not None else folder[1]
    return HOST


CHECKS = (
    Check(
        code="default-route-through-veth",
        severity=Severity.WARNING,
        title=say("The host has a default route into a container"),
        meaning=say("When it comes to be used, the host and all containers lose their way out."),
        detected=say("A default route of the host's main table leaves by the host's end of a container's veth pair."),
        fix=say(
            "Remove the route, and tell dhcpcd, NetworkManager or systemd-networkd to leave veth* alone: they add it "
            "again."
        ),
        find=_through_veth,
    ),
    Check(
        code="no-default-route",
        severity=Severity.ERROR,
        title=say("A container has no default route"),
        meaning=say("It reaches its own networks and nothing else, and cannot answer callers from elsewhere."),
        detected=say(
            "Docker lists a gateway for a network that is not internal, and no route or policy rule of the container "
            "leads out."
        ),
        fix=say("Restart the container, or connect its network again."),
        find=_no_default_route,
    ),
    Check(
        code="no-subnet-route",
        severity=Severity.ERROR,
        title=say("A container has no route to its own network"),
        meaning=say("It has an address there, and still neither reaches its neighbours nor answers them."),
        detected=say("No route of the container covers any of the subnet that its address belongs to."),
        fix=say("Restart the container, or connect its network again."),
        find=_no_subnet_route,
    ),
    Check(
        code="default-route-to-nobody",
        severity=Severity.ERROR,
        title=say("A container's default route leads to nobody"),
        meaning=say("What it sends beyond its networks is lost, and so are its answers to callers from elsewhere."),
        detected=say("No namespace has the gateway's address, and all ports of the bridge were captured."),
        fix=say(
            "Give the gateway's container a fixed address with --ip, or restart the container to get Docker's route."
        ),
        find=_to_nobody,
    ),
    Check(
        code="asymmetric-path-dropped",
        severity=Severity.ERROR,
        title=say("The reverse path filter drops traffic that should pass"),
        meaning=say(
            "Requests come in by one interface, and the way back would leave by another: the kernel drops them."
        ),
        detected=say(
            "In the analysis, a flow on a common network, to or from the host or the world, ends at rp_filter."
        ),
        fix=say("Mend the routes, or set rp_filter to 2 (loose) on the interface where both ways are meant to be."),
        find=_reverse_path,
    ),
)
