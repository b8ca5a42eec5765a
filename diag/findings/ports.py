"""Checks of published ports: who listens, who takes what comes to the host, who stops it, who else can get there."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from diag.findings.check import Check, Facts, Found
from diag.findings.host_rules import TRANSLATING
from diag.findings.listeners import all_sockets
from diag.findings.phrases import citing, some
from diag.interpreter.trace import Tracer
from diag.model.address import Family, Ip, Prefix
from diag.model.analysis import Path
from diag.model.docker import Container, PublishedPort
from diag.model.finding import Severity
from diag.model.flow import Flow, HopKind, Protocol, Trace
from diag.model.message import listed, say
from diag.model.netfilter import ChainType, Hook, Nat, NatKind, OpaqueStatement
from diag.model.netns import Netns, Nexthop, Route, RouteType, Socket
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition, Reason
from diag.model.snapshot import Snapshot
from diag.reach.beyond import HOST, WORLD, Uplink, far_of, uplinks, with_world

_STOPPED = frozenset({Disposition.DROPPED, Disposition.REJECTED})
_FIREWALL = frozenset({Reason.FIREWALL_DROP, Reason.FIREWALL_REJECT, Reason.POLICY_DROP})
_SSH = 22


def _is_loopback(ip: Ip) -> bool:
    """Also of an IPv4 address in IPv6 form."""
    return ip.is_loopback or (ip.value >> 24 == 0xFFFF7F and ip.family is Family.IPV6)


def _targets(container: Container) -> list[tuple[int, str]]:
    """Its published ports by the number inside."""
    return list(dict.fromkeys((p.container_port, p.protocol) for p in container.ports))


def _subject(container: Container, port: int, protocol: str) -> str:
    return f"{container.name} {port}/{protocol}"


def _redirects(space: Netns) -> bool:
    """Whether packets may come in by one port and be taken by another (Docker's own rules there are for what goes "
    "out)."""
    if space.ruleset.missing:
        return True
    return any(
        chain.base is not None
        and chain.base.type is ChainType.NAT
        and chain.base.hook is Hook.PREROUTING
        and chain.rules
        for table in space.ruleset.tables
        for chain in table.chains.values()
    )


def _on_loopback(facts: Facts) -> Iterator[Found]:
    for container, space in facts.publishing:
        targets = _targets(container)
        ports = {port for port, _ in targets}
        asked = [s for s in space.sockets or () if s.port in ports and _is_loopback(s.ip)]
        local = {(s.port, s.protocol) for s in asked}.intersection(targets)
        if not local or _redirects(space):
            continue
        for port, protocol in (target for target in targets if target in local):
            found = [s for s in all_sockets(facts.snapshot, space, protocol) or () if s.port == port]
            if found and all(_is_loopback(s.ip) for s in found):
                text = say(
                    "{container} publishes {port}/{protocol}, and its process listens on {ip} only: whoever comes "
                    "through the "
                    "published port is refused.",
                    container=container.name,
                    port=port,
                    protocol=protocol,
                    ip=str(found[0].ip),
                )
                evidence = citing(found[0].evidence, container.evidence)
                yield Found(_subject(container, port, protocol), text, evidence)


def _other_ports(facts: Facts) -> Iterator[Found]:
    for container, space in facts.publishing:
        wanted = {p.container_port for p in container.ports if p.protocol == "tcp"}
        tcp = [s for s in space.sockets or () if s.protocol == "tcp"]
        if not wanted or not wanted.isdisjoint([s.port for s in tcp]):
            continue
        opened = [s for s in tcp if not _is_loopback(s.ip)]
        if not opened or _redirects(space):
            continue
        if all_sockets(facts.snapshot, space, "tcp") is not None:
            text = say(
                "{container} publishes TCP {wanted}, where nothing listens; it listens on {opened}.",
                container=container.name,
                wanted=listed(str(port) for port in sorted(wanted)),
                opened=some(str(s.port) for s in opened),
            )
            yield Found(container.name, text, citing(opened[0].evidence, container.evidence))


def _lost(facts: Facts) -> Iterator[Found]:
    opened, translated = _opened(facts), _translated(facts)
    if not translated or facts.host.ruleset.missing or not facts.sees_bridges:
        return  # where no rule translates, either all are lost, or the backend that has them was not captured
    for container, _ in facts.publishing:
        own = _translating(facts, container)
        if own is None:
            continue
        for port, protocol in _targets(container):
            if not translated.isdisjoint([(ip, number) for ip in own for number in (port, 0)]):
                continue
            bindings = [p for p in container.ports if (p.container_port, p.protocol) == (port, protocol) and _v4(p)]
            if bindings and protocol in opened and opened[protocol].isdisjoint(b.host_port for b in bindings):
                text = say(
                    "{container} publishes {port}/{protocol} at {host_port} of the host, where no rule sends it on "
                    "and nobody listens.",
                    container=container.name,
                    port=port,
                    protocol=protocol,
                    host_port=bindings[0].host_port,
                )
                yield Found(_subject(container, port, protocol), text, citing(container.evidence))


def _opened(facts: Facts) -> dict[str, set[int]]:
    """Ports of the host that somebody listens on, by protocol; protocols that were not captured whole are left out."""
    found = {protocol: all_sockets(facts.snapshot, facts.host, protocol) for protocol in ("tcp", "udp")}
    return {protocol: {s.port for s in sockets} for protocol, sockets in found.items() if sockets is not None}


def _v4(binding: PublishedPort) -> bool:
    return binding.host_ip is None or binding.host_ip.family is Family.IPV4


def _translating(facts: Facts, container: Container) -> list[Ip] | None:
    """Its IPv4 addresses on bridges; None where a network publishes without translation (gateway mode `routed`)."""
    found = []
    for endpoint in container.endpoints:
        network = facts.snapshot.network(endpoint.network_id) or facts.snapshot.network(endpoint.network)
        if network is None or network.driver != "bridge":
            return None
        if network.options.get("com.docker.network.bridge.gateway_mode_ipv4", "nat") == "routed":
            return None
        if endpoint.ip is not None and not network.internal:
            found.append(endpoint.ip)
    return found or None


def _translated(facts: Facts) -> set[tuple[Ip, int]] | None:
    """Where the host's rules send packets to, port 0 for any; None: some rule does not say so, or gives a range."""
    found: set[tuple[Ip, int]] = set()
    chains = [chain for table in facts.host.ruleset.tables for chain in table.chains.values()]
    parts = [part for chain in chains for rule in chain.rules for part in rule.parts if type(part) in TRANSLATING]
    for part in parts:
        if isinstance(part, OpaqueStatement):
            if "DNAT" in part.text.upper():
                return None
        elif isinstance(part, Nat) and part.kind is NatKind.DNAT:
            if part.address_map or part.port_map or part.unmodelled or any(a != b for a, b in part.addresses):
                return None
            found.update([(ip, part.ports[0] if part.ports else 0) for ip, _ in part.addresses])
    return found


def _gone_address(facts: Facts) -> Iterator[Found]:
    if facts.host.links is None or not facts.sees_bridges:
        return
    own = {a.ip for link in facts.host.links for a in link.addresses}
    for container in facts.snapshot.containers:
        for binding in container.ports if container.running else ():
            ip = binding.host_ip
            if ip is None or ip.value == 0 or _is_loopback(ip) or ip in own:
                continue
            fib = facts.world.fib("host", ip.family)
            if fib.captured and not fib.is_local(ip.value):
                text = say(
                    "{container} publishes {port}/{protocol} at {ip}, and the host has no such address.",
                    container=container.name,
                    port=binding.container_port,
                    protocol=binding.protocol,
                    ip=str(ip),
                )
                yield Found(
                    f"{container.name} {ip}:{binding.host_port}/{binding.protocol}", text, citing(container.evidence)
                )


def _taken(facts: Facts) -> Iterator[Found]:
    """A container that shares a stack and starts again and again, while another holds the port that it is for."""
    for container in facts.snapshot.containers:
        space = facts.snapshot.netns.get(facts.snapshot.netns_of.get(container.name, ""))
        shared = container.network_mode == "host" or container.joined_to
        if container.status != "restarting" or not shared or space is None:
            continue
        wanted = set(container.exposed)
        socket = next((s for s in space.sockets or () if (s.port, s.protocol) in wanted), None)
        if socket is not None:
            text = say(
                "{container} keeps restarting; it is made for {port}/{protocol}, which somebody else in the stack "
                "that it shares has taken.",
                container=container.name,
                port=socket.port,
                protocol=socket.protocol,
            )
            yield Found(
                _subject(container, socket.port, socket.protocol), text, citing(container.evidence, socket.evidence)
            )


def _no_hairpin(facts: Facts) -> Iterator[Found]:
    opened = _opened(facts)
    for cable in facts.cables:
        outer, gateway = cable.outer, cable.endpoint.gateway
        if (
            not cable.container.ports
            or outer is None
            or outer.port is None
            or outer.port.hairpin is not False
            or gateway is None
        ):
            continue
        for binding in cable.container.ports:
            if (
                not _v4(binding)
                or (binding.host_ip and binding.host_ip.value)
                or binding.protocol not in ("tcp", "udp")
            ):
                continue
            if binding.host_port in opened.get(binding.protocol, {binding.host_port}):
                continue  # docker-proxy opens connections of its own
            trace = facts.tracer.trace(Flow(cable.space.id, gateway, Protocol(binding.protocol), binding.host_port))
            if trace.reason in (Reason.NO_NEIGHBOUR, Reason.REPLY_BLOCKED, Reason.LINK_DOWN, Reason.RP_FILTER):
                text = say(
                    "{container} does not reach its own published port at {gateway}:{port}: {detail}.",
                    container=cable.container.name,
                    gateway=str(gateway),
                    port=binding.host_port,
                    detail=trace.detail or say("the frame would have to leave by the bridge port that it came in by"),
                )
                evidence = citing(outer.evidence, trace.decided_by)
                yield Found(_subject(cable.container, binding.container_port, binding.protocol), text, evidence)


def _own_firewall(facts: Facts) -> Iterator[Found]:
    for container, space in facts.publishing:
        ip = next((e.ip for e in container.endpoints if e.ip is not None), None)
        if ip is None or not _filters(space):
            continue
        for port, protocol in _targets(container):
            if protocol not in ("tcp", "udp"):
                continue
            trace = facts.tracer.trace(Flow("host", ip, Protocol(protocol), port))
            by = trace.decided_by
            if trace.disposition in _STOPPED and by is not None and by.file.startswith("containers/"):
                text = say(
                    "{container} publishes {port}/{protocol}, and a firewall inside the container stops it: {rule}.",
                    container=container.name,
                    port=port,
                    protocol=protocol,
                    rule=by.text,
                )
                yield Found(_subject(container, port, protocol), text, citing(by, container.evidence))


def _filters(space: Netns) -> bool:
    return any(
        chain.base is not None and chain.base.type is ChainType.FILTER and (chain.rules or chain.base.policy_drop)
        for table in space.ruleset.tables
        for chain in table.chains.values()
    )


def _shut_out(facts: Facts) -> Iterator[Found]:
    """Containers that were given a name for the host (`host-gateway`), and whom the host's firewall lets to no "
    "service."""
    wanting = {c.name for c in facts.snapshot.containers for _, to in c.extra_hosts if to == "host-gateway"}
    if not wanting:
        return
    services = [s for s in facts.host.sockets or () if s.protocol == "tcp" and _is_service(facts, s)]
    if not services:
        return
    found: list[tuple[str, Path, Evidence]] = []
    for group in facts.analysis.endpoints:
        if HOST not in group.destinations or wanting.isdisjoint(group.sources):
            continue
        open_to = any(s.port in p.allowed.tcp or p.allowed.unknown_tcp for p in group.paths for s in services)
        path = next((p for p in group.paths if p.reason in _FIREWALL and p.decided_by is not None), None)
        if path is not None and path.decided_by is not None and not open_to:
            found += [(name, path, path.decided_by) for name in group.sources if name in wanting]
    if found:
        text = say(
            "{containers} are to call the host by a name of their own (host-gateway), and its firewall lets them to "
            "none of its "
            "services: {ports}.",
            containers=some(name for name, _, _ in found),
            ports=some(str(s.port) for s in services),
        )
        yield Found(HOST, text, citing(*(by for _, _, by in found), services[0].evidence))


def _is_service(facts: Facts, socket: Socket) -> bool:
    """What a container may want of the host: neither a login nor what another container publishes."""
    return not _is_loopback(socket.ip) and socket.port != _SSH and not facts.world.publishers("tcp", socket.port)


def _exposed(facts: Facts) -> Iterator[Found]:
    bound = [
        (container, binding, ip)
        for container, _ in facts.publishing
        for binding in container.ports
        if binding.host_ip is not None and _is_loopback(binding.host_ip) and binding.protocol in ("tcp", "udp")
        if (ip := next((e.ip for e in container.endpoints if e.ip is not None), None)) is not None
    ]
    ways = uplinks(facts.snapshot, facts.world.topology) if bound else ()
    if not ways:
        return
    tracer = Tracer(_with_neighbour(facts.snapshot, ways, [ip for _, _, ip in bound]), facts.world)
    for container, binding, ip in bound:
        trace = tracer.trace(Flow(WORLD, ip, Protocol(binding.protocol), binding.container_port))
        if trace.disposition is Disposition.DELIVERED:
            text = say(
                "{container} publishes {port}/{protocol} on {loopback} only, and a machine beside this host that "
                "sends to {ip} through "
                "it gets there all the same.",
                container=container.name,
                port=binding.container_port,
                protocol=binding.protocol,
                loopback=str(binding.host_ip),
                ip=str(ip),
            )
            evidence = citing(_passing_rule(trace), container.evidence)
            yield Found(_subject(container, binding.container_port, binding.protocol), text, evidence)


def _with_neighbour(snapshot: Snapshot, ways: tuple[Uplink, ...], ips: list[Ip]) -> Snapshot:
    """The host with a world that sends packets for these addresses to it: what an attacker on the same link does."""
    made = with_world(snapshot, ways)
    world, far = made.netns[WORLD], far_of(made)
    routes = {family: list(listed or ()) for family, listed in world.routes.items()}
    for ip in dict.fromkeys(ips):
        for way in ways:
            host = next((a.ip for a in way.top.addresses if a.ip.family is ip.family and a.scope == "global"), None)
            if host is not None:
                hop = Nexthop(f"to-{way.link.name}", host)
                prefix = Prefix.of(ip, ip.family.bits)
                routes[ip.family].append(Route(prefix, RouteType.UNICAST, "main", (hop,), prefsrc=far[ip.family]))
                break
    world = replace(world, routes={family: tuple(listed) for family, listed in routes.items()})
    return replace(made, netns={**made.netns, WORLD: world})


def _passing_rule(trace: Trace) -> Evidence | None:
    """The last rule of the host on the way there."""
    rules = (hop.evidence for hop in reversed(trace.forth) if hop.kind is HopKind.RULE and hop.netns == "host")
    return next((evidence for evidence in rules if evidence is not None), None)


CHECKS = (
    Check(
        code="listens-on-loopback",
        severity=Severity.ERROR,
        title=say("A published service listens on loopback only"),
        meaning=say("Callers come to the container's address, where nobody listens: they are refused."),
        detected=say("All sockets of a published port in the container's namespace are bound to 127.0.0.0/8 or ::1."),
        fix=say("Let the process listen on 0.0.0.0 or on [::]."),
        find=_on_loopback,
    ),
    Check(
        code="published-port-unused",
        severity=Severity.WARNING,
        title=say("The published port is not the one that is listened on"),
        meaning=say("Callers of the published port are refused."),
        detected=say("The container listens on TCP ports, and on none of those that it publishes."),
        fix=say("Publish the port that the process listens on: -p HOST_PORT:THAT_PORT."),
        find=_other_ports,
    ),
    Check(
        code="published-port-lost",
        severity=Severity.ERROR,
        title=say("Nothing takes what comes to a published port"),
        meaning=say("The port is among those of docker ps, and callers are refused."),
        detected=say(
            "No rule of the host translates to the container's port, and neither docker-proxy nor anybody else "
            "listens on the host's."
        ),
        fix=say("Restart the container, or Docker, which writes its rules anew."),
        find=_lost,
    ),
    Check(
        code="published-address-gone",
        severity=Severity.WARNING,
        title=say("A port is published at an address that the host does not have"),
        meaning=say(
            "Nobody reaches it now, and the container does not start again while the address is away; a floating "
            "address may come back."
        ),
        detected=say("The binding's address is on no interface of the host, and no route calls it local."),
        fix=say("Publish at an address that the host has, or at all of them."),
        find=_gone_address,
    ),
    Check(
        code="port-taken-in-shared-stack",
        severity=Severity.ERROR,
        title=say("Two containers want one port of the stack they share"),
        meaning=say(
            "Only one process can listen on a port of the host's, or a joined, stack: the other ends and is started "
            "again."
        ),
        detected=say(
            "A restarting container on the host's or another container's network exposes a port that is listened on "
            "there."
        ),
        fix=say("Let one of them listen on another port, or give it a network of its own."),
        find=_taken,
    ),
    Check(
        code="no-hairpin",
        severity=Severity.WARNING,
        title=say("A container cannot call its own published port"),
        meaning=say("What it sends to the host's address for that port would have to go back out where it came in."),
        detected=say(
            "No docker-proxy listens, hairpin is off at the container's bridge port, and the walk of such a packet "
            "ends."
        ),
        fix=say("Switch userland-proxy on, or hairpin on for the port: bridge link set dev VETH hairpin on."),
        find=_no_hairpin,
    ),
    Check(
        code="container-firewall-blocks-port",
        severity=Severity.WARNING,
        title=say("A container's own firewall stops its published port"),
        meaning=say("The packet gets as far as the container, whose own rules drop or reject it."),
        detected=say("The walk from the host to the published port ends at a rule in the container's namespace."),
        fix=say("Accept the port in the container's rules; many VPN images have a variable for that."),
        find=_own_firewall,
    ),
    Check(
        code="host-firewall-blocks-containers",
        severity=Severity.WARNING,
        title=say("The host's firewall keeps out containers that are to call it"),
        meaning=say("They have a name for the host, and every service that listens there is closed to them."),
        detected=say(
            "A container has an extra host with host-gateway, and by the rules of INPUT it reaches no listening TCP "
            "port but SSH's."
        ),
        fix=say("Accept the port on INPUT from the network's subnet or bridge."),
        find=_shut_out,
    ),
    Check(
        code="loopback-port-exposed",
        severity=Severity.WARNING,
        title=say("A port for this host only can be reached from outside"),
        meaning=say(
            "A machine on the same link that sends packets for the container's address to this host gets an answer. "
            "Docker 28 and "
            "later drop them."
        ),
        detected=say(
            "A port is published on a loopback address, and a packet that comes in by the uplink for the container's "
            "own is delivered."
        ),
        fix=say(
            "Update Docker to 28 or later, or drop in DOCKER-USER what comes in by the uplink for Docker's subnets."
        ),
        find=_exposed,
    ),
)
