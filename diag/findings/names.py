"""Checks of names: hosts files that are out of date, DNS that cannot answer, names that two answer to."""

from __future__ import annotations

from collections.abc import Iterator

from diag.findings.cables import addresses
from diag.findings.check import Check, Facts, Found
from diag.findings.host_rules import TRANSLATING
from diag.findings.listeners import all_sockets
from diag.findings.phrases import citing, some
from diag.model.address import Ip
from diag.model.docker import Container, Endpoint
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netfilter import Match, Nat, OpaqueStatement, Statement
from diag.model.netns import Netns, ResolvConf, Socket
from diag.names.network_names import names_on, network_key
from diag.names.resolver import EMBEDDED_DNS

_MANY_DOTS = 5
"""With so many dots asked for, nearly every name on the internet is looked up with each search domain first."""
_DNS = 53


def _stale_hosts(facts: Facts) -> Iterator[Found]:
    named: dict[str, list[Container]] = {}
    for container in facts.snapshot.containers:
        named.setdefault(container.name, []).append(container)
    subnets = {n.id: [c.subnet for c in n.ipam] for n in facts.snapshot.networks}
    for container in facts.snapshot.containers:
        files = facts.snapshot.name_files.get(container.name)
        if files is None or files.hosts is None or not container.running:
            continue
        aliases = {alias: target for target, alias in container.links}
        called = named.keys() | aliases.keys() if aliases else named.keys()
        near = [subnet for e in container.endpoints for subnet in subnets.get(e.network_id, ())]
        for line in files.hosts:
            if called.isdisjoint(line.names) or not any(line.ip in subnet for subnet in near):
                continue
            meant = next((found for name in line.names for found in named.get(aliases.get(name, name), ())), None)
            if meant is None or meant.name == container.name:
                continue
            own = [ip for endpoint in meant.endpoints for ip in addresses(endpoint)]
            if line.ip not in own:
                text = say(
                    "{container} takes {name} for {ip}, and {other} has {own}.",
                    container=container.name,
                    name=line.names[0],
                    ip=str(line.ip),
                    other=meant.name,
                    own=some(str(ip) for ip in own) if own else say("no address"),
                )
                yield Found(f"{container.name} {line.names[0]}", text, citing(line.evidence, meant.evidence))


def _resolvers(facts: Facts) -> Iterator[tuple[Container, Netns, ResolvConf]]:
    """Running containers with a network namespace that is not the host's, and with a captured resolv.conf."""
    for container in facts.snapshot.containers:
        netns = facts.snapshot.netns_of.get(container.name)
        files = facts.snapshot.name_files.get(container.name)
        space = facts.snapshot.netns.get(netns) if netns not in (None, "host") else None
        if space is not None and files is not None and files.resolv is not None:
            yield container, space, files.resolv


def _dead_upstream(facts: Facts) -> Iterator[Found]:
    for container, space, resolv in _resolvers(facts):
        servers = resolv.upstream_here if EMBEDDED_DNS in resolv.nameservers else tuple(map(str, resolv.nameservers))
        asked = [ip for text in servers if (ip := _address(text)) is not None]
        if not asked or not all(ip.is_loopback for ip in asked) or _from_host(resolv) or space.sockets is None:
            continue
        udp = all_sockets(facts.snapshot, space, "udp")
        listening = None if udp is None and space.sockets else {s.ip for s in udp or () if s.port == _DNS}
        if listening is not None and not any(ip.value == 0 or ip in asked for ip in listening):
            text = say(
                "{container} asks {servers} for names of the outside, in its own namespace, where nobody listens "
                "there.",
                container=container.name,
                servers=some(str(ip) for ip in asked),
            )
            yield Found(container.name, text, citing(resolv.evidence))


def _from_host(resolv: ResolvConf) -> bool:
    """Whether Docker's DNS asks some server from the host's namespace."""
    return len(resolv.upstream) > len(resolv.upstream_here)


def _address(text: str) -> Ip | None:
    try:
        return Ip.parse(text)
    except ValueError:
        return None


def _no_redirect(facts: Facts) -> Iterator[Found]:
    suspects, seen = [], False
    for container, space, resolv in _resolvers(facts):
        server = next((s for s in space.sockets or () if s.ip == EMBEDDED_DNS and s.protocol == "udp"), None)
        if EMBEDDED_DNS not in resolv.nameservers or server is None or server.port == _DNS or space.ruleset.missing:
            continue
        if _translates_dns(space):
            seen = True
        else:
            suspects.append((container, server, resolv, _DOCKERS_CHAIN in _chains(space)))
    for container, server, resolv, emptied in suspects:
        if not emptied and not (seen and _all_rules(facts, server)):
            continue  # the rules may be of a backend that was not captured
        text = say(
            "{container} asks {server} port 53, where nobody listens: Docker's DNS is on port {port} there, and the rule that "
            "leads to it is gone.",
            container=container.name,
            server=str(EMBEDDED_DNS),
            port=server.port,
        )
        yield Found(container.name, text, citing(resolv.evidence, server.evidence))


_DOCKERS_CHAIN = "DOCKER_OUTPUT"
"""What `iptables -F` leaves empty."""


def _all_rules(facts: Facts, socket: Socket) -> bool:
    """Whether the rules of both backends were captured beside a socket."""
    folder = (socket.evidence.file if socket.evidence else "").rpartition("/")[0]
    nft = ("nft-ruleset.json", "nft-ruleset.txt")
    files = facts.snapshot.files
    return f"{folder}/iptables-save.txt" in files and any(f"{folder}/{name}" in files for name in nft)


def _chains(space: Netns) -> set[str]:
    return {name for table in space.ruleset.tables for name in table.chains}


def _translates_dns(space: Netns) -> bool:
    """Whether any rule translates to Docker's DNS, or may do so."""
    return any(
        _may_lead_to_dns(part)
        for table in space.ruleset.tables
        for chain in table.chains.values()
        for rule in chain.rules
        for part in rule.parts
        if type(part) in TRANSLATING
    )


def _may_lead_to_dns(part: Match | Statement) -> bool:
    match part:
        case Nat():
            known = not (part.address_map or part.unmodelled)
            return not known or any(low.value <= EMBEDDED_DNS.value <= high.value for low, high in part.addresses)
        case OpaqueStatement():
            return True
        case _:
            return False


def _many_queries(facts: Facts) -> Iterator[Found]:
    for container, _, resolv in _resolvers(facts):
        if resolv.ndots >= _MANY_DOTS and resolv.search:
            text = say(
                "{container} looks up names with fewer than {ndots} dots in {domains} first.",
                container=container.name,
                ndots=resolv.ndots,
                domains=some(resolv.search),
            )
            yield Found(container.name, text, citing(resolv.evidence))


def _collisions(facts: Facts) -> Iterator[Found]:
    owners: dict[tuple[str, str], list[tuple[Container, Endpoint]]] = {}
    projects: dict[str, dict[str, set[tuple[str, str]]]] = {}
    """By network and project, its services there."""
    for container in facts.snapshot.containers:
        for endpoint in container.endpoints if container.running else ():
            network = facts.snapshot.network(endpoint.network_id) or facts.snapshot.network(endpoint.network)
            if network is None or network.is_default_bridge:
                continue  # no names there
            key = network_key(endpoint)
            projects.setdefault(key, {}).setdefault(container.compose_project, set()).add(_service(container))
            for name in {name.lower() for name in names_on(container, endpoint)}:
                owners.setdefault((key, name), []).append((container, endpoint))
    found: dict[str, tuple[str, str, list[Container]]] = {}
    for (key, name), using in owners.items():
        if len(using) < 2:
            continue
        containers = [container for container, _ in using]
        services = {_service(c) for c in containers}
        # An alias of its own on several services is how load is spread; a service's or container's own name is not.
        owned = any(name in (c.compose_service.lower(), c.name.lower()) for c in containers)
        asked = any(projects[key][c.compose_project] - services for c in containers)
        if len(services) > 1 and owned and asked:
            network_name = using[0][1].network
            found[f"{network_name} {name}"] = (name, network_name, containers)
    for subject, (name, network_name, containers) in found.items():
        text = say(
            "On {network}, {name} leads to {containers}, which are of different services: callers get one of them by "
            "chance.",
            network=network_name,
            name=name,
            containers=some(c.name for c in containers),
        )
        yield Found(subject, text, citing(*(c.evidence for c in containers)))


def _service(container: Container) -> tuple[str, str]:
    """What replicas have in common."""
    if container.compose_service:
        return container.compose_project, container.compose_service
    return "", container.name


CHECKS = (
    Check(
        code="stale-hosts-entry",
        severity=Severity.WARNING,
        title=say("A hosts file gives another container's old address"),
        meaning=say("Calls by that name go to an address that somebody else has, or nobody."),
        detected=say(
            "A line of the container's /etc/hosts names a container, and an address of its network that the named "
            "one does not have."
        ),
        fix=say(
            "Restart the container, which writes its links anew; better, put both on a user-defined network and drop "
            "the link or extra host."
        ),
        find=_stale_hosts,
    ),
    Check(
        code="dns-upstream-unreachable",
        severity=Severity.ERROR,
        title=say("A container asks a name server that is not there"),
        meaning=say(
            "Names of the outside do not resolve in it: 127.0.0.0/8 is the container's own loopback, not the host's."
        ),
        detected=say(
            "All servers that are asked from the container's namespace are loopback addresses, and no socket listens "
            "on their port 53."
        ),
        fix=say("Give the container or the daemon a server that it can reach: --dns, or dns in daemon.json."),
        find=_dead_upstream,
    ),
    Check(
        code="dns-redirect-missing",
        severity=Severity.ERROR,
        title=say("A container does not reach Docker's DNS"),
        meaning=say(
            "No name resolves in it. Something flushed the nat table of its namespace, often a firewall or VPN "
            "client inside."
        ),
        detected=say(
            "Its nameserver is 127.0.0.11, Docker's DNS listens there on another port than 53, and no rule "
            "translates to it."
        ),
        fix=say("Restart the container, and let nothing in it flush the nat table."),
        find=_no_redirect,
    ),
    Check(
        code="dns-many-queries",
        severity=Severity.INFO,
        title=say("Each look-up asks for several names"),
        meaning=say("Names of the outside are slow to resolve, and a search domain with a wildcard answers for them."),
        detected=say("In resolv.conf, ndots is 5 or more, and there are search domains."),
        fix=say("Set --dns-opt ndots:1, or write names with a dot at the end."),
        find=_many_queries,
    ),
    Check(
        code="name-collision",
        severity=Severity.WARNING,
        title=say("One name leads to different services"),
        meaning=say("Docker's DNS gives the addresses of all, in changing order: some calls reach the wrong one."),
        detected=say(
            "On one user-defined network, containers of different services answer to the name of one of them, and "
            "others "
            "of the same project are there, who may ask for it."
        ),
        fix=say("Give one of them another name or alias, or keep the projects on networks of their own."),
        find=_collisions,
    ),
)
