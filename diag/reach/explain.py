"""Sentences that a tired engineer understands."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from diag.interpreter.world import World
from diag.kernel.topology import LinkId
from diag.model.analysis import NameAnswer, PortSet
from diag.model.docker import Container, DockerNetwork
from diag.model.flow import HopKind, Protocol, Trace
from diag.model.message import SEMICOLON, listed, say
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition, Reachability, Reason, Via
from diag.model.snapshot import Snapshot
from diag.reach.beyond import HOST, RESERVED, WORLD
from diag.reach.pairs import PairFacts, PathFacts
from diag.reach.windows import Span, port_set


class Explainer:
    """Words for pairs of one snapshot."""

    def __init__(self, snapshot: Snapshot, world: World) -> None:
        self.snapshot = snapshot
        self.world = world
        self._positions: dict[str, list[int]] = {}
        """Of containers in the snapshot, by name."""
        for position, container in enumerate(snapshot.containers):
            self._positions.setdefault(container.name, []).append(position)

    def path(self, pair: PairFacts, path: PathFacts, partial: tuple[str, ...] | None = None) -> str:
        """One destination address of a pair, in one to three sentences. `partial`: its clauses, where they are known."""
        a, b = pair.source, pair.destination
        if path.target is None:
            return say("{a} cannot reach {b}: {why}.", a=a, b=b, why=self._no_address(a, b, path.reason))
        match path.reachability:
            case Reachability.REACHABLE:
                return say("{a} reaches {b} at {ip}: {how}.", a=a, b=b, ip=path.target.ip, how=self.how(a, b, path))
            case Reachability.PARTIAL:
                return self._on_some(a, b, path, self.partial_clauses(path) if partial is None else partial)
            case Reachability.UNKNOWN:
                trace = _witness(path)
                causes = dict.fromkeys(trace.unknown_causes) if trace else (say("something was not captured"),)
                return say(
                    "Whether {a} reaches {b} at {ip} cannot be told: {causes}.",
                    a=a,
                    b=b,
                    ip=path.target.ip,
                    causes=listed(causes, SEMICOLON),
                )
            case Reachability.UNREACHABLE:
                return say(
                    "{a} cannot reach {b} at {ip}: {why}.", a=a, b=b, ip=path.target.ip, why=self._why_not(a, b, path)
                )

    def _on_some(self, a: str, b: str, path: PathFacts, partial: tuple[str, ...]) -> str:
        """Some flows get there. Which do not, and why, stands last, where it is looked for."""
        ip, allowed = path.target.ip if path.target else "", path.allowed.words
        if a == WORLD and path.reason in (Reason.PUBLISHED_PORT, Reason.DOCKER_PROXY):
            how = self.how(a, b, path)
            return say("{a} reaches {b} at {ip} on {allowed} only: {how}.", a=a, b=b, ip=ip, allowed=allowed, how=how)
        said: dict[str, object] = {"a": a, "b": b, "ip": ip, "allowed": allowed, "others": listed(partial, SEMICOLON)}
        if not partial:
            return say(
                "{a} reaches {b} at {ip} on {allowed}. The other ports are published and lead to containers.", **said
            )
        if path.allowed.certain:
            return say("{a} reaches {b} at {ip} on {allowed}. Not on {others}.", **said)
        return say("{a} reaches {b} at {ip} on {allowed}. Of the rest, {others}.", **said)

    def partial_clauses(self, path: PathFacts) -> tuple[str, ...]:
        """For each set of ports that is stopped by one fact: which ports, and by what."""
        stopped: dict[str, list[Span]] = {}
        if path.sweep is None:
            return ()
        for span in path.sweep.spans:
            if span.trace.disposition is not Disposition.DELIVERED:
                stopped.setdefault(_stopper(span.trace), []).append(span)
        return tuple(say("{ports}: {why}", ports=_ports_text(spans), why=why) for why, spans in stopped.items())

    # Reachable

    def how(self, a: str, b: str, path: PathFacts) -> str:
        """What lets through the flows of a path that get there."""
        trace = _witness(path)
        match path.reason:
            case Reason.SAME_NETNS | Reason.LOOPBACK:
                return self._one_stack(a, b)
            case Reason.SAME_BRIDGE:
                network = self._network_of(path)
                name = path.target.network if path.target else ""
                if network and network.driver == "bridge":
                    return say("both are on {network} (bridge {bridge})", network=name, bridge=network.bridge_name)
                return say("both are on {network}", network=name)
            case Reason.HOST_NETNS:
                return say("{how}, and nothing on the host blocks it", how=self._host_side(a, b))
            case Reason.ROUTED:
                return _with(say("the host routes between their networks"), _accepting_rule(trace))
            case Reason.PUBLISHED_PORT:
                rule = path.decided_by.text if trace is None and path.decided_by else _accepting_rule(trace)
                return _with(say("the host sends its published port on to {b}", b=b), rule)
            case Reason.DOCKER_PROXY:
                return say("docker-proxy on the host passes it on")
            case _:
                return path.reason.value

    def _one_stack(self, a: str, b: str) -> str:
        joined = self._joined(a, b)
        if joined:
            return say(
                "they share one network stack ({joined}), so that {b} is at 127.0.0.1 for {a}", a=a, b=b, joined=joined
            )
        return say("they share one network stack, so that {b} is at 127.0.0.1 for {a}", a=a, b=b)

    def _joined(self, a: str, b: str) -> str:
        for name, other in ((a, b), (b, a)):
            container = self.snapshot.container(name)
            if container and container.joined_to:
                return say("{name} runs with --network container:{other}", name=name, other=other)
        if self.snapshot.netns_of.get(a) == "host":
            return say("both run with --network host")
        return ""

    def _host_side(self, a: str, b: str) -> str:
        if WORLD in (a, b):
            if HOST in (a, b):
                return say("the host's own uplink leads there")
            return say("the host passes it on between its uplink and the container")
        if HOST in (a, b):
            return say("the host is on every bridge itself")
        name = b if self.snapshot.netns_of.get(b) == "host" else a
        return say("{name} runs on the host's own network", name=name)

    # Not reachable

    def _no_address(self, a: str, b: str, reason: Reason) -> str:
        if a == WORLD and reason is Reason.NO_ROUTE:
            return say("the host has no uplink with a default route")
        if a == WORLD and reason is Reason.UNPUBLISHED_PORT:
            return say("no port of it is published on an address of the host's uplinks")
        source = self.snapshot.container(a)
        if source is not None and self.snapshot.netns_of.get(a) is None:
            return say("{name} is not running ({status})", name=a, status=source.status)
        destination = self.snapshot.container(b)
        if reason is Reason.NOT_RUNNING and destination is not None:
            return say("{name} is not running ({status})", name=b, status=destination.status)
        if reason is Reason.NETWORK_NONE:
            return self._only_loopback(b)
        return say("{b} has no address that {a} could use", a=a, b=b)

    def _only_loopback(self, name: str) -> str:
        container = self.snapshot.container(name)
        if container is not None and container.joined_to:
            return say(
                "{name} still has the network stack of a container that ended, with no interface but lo", name=name
            )
        return say("{name} runs with --network none and has no interface but lo", name=name)

    def _why_not(self, a: str, b: str, path: PathFacts) -> str:
        trace = _witness(path)
        detail = trace.detail if trace else ""
        apart = self._apart(a, b)
        network = path.target.network if path.target else ""
        match path.reason:
            case Reason.ISOLATION | Reason.DIRECT_ACCESS_DROP if apart:
                return _with(say("they share no network, and {why}", why=self._kept_apart(a, path)), detail)
            case Reason.ISOLATION | Reason.DIRECT_ACCESS_DROP:
                ip = path.target.ip if path.target else ""
                why = say(
                    "its packets for {ip} leave by another network than {network}, and Docker keeps networks apart",
                    ip=ip,
                    network=network,
                )
                return _with(why, detail)
            case Reason.ICC_OFF:
                return say(
                    "communication between containers is switched off on {network} (ICC; {detail})",
                    network=network,
                    detail=detail,
                )
            case Reason.INTERNAL_NETWORK:
                return _with(self._internal(a, path), detail)
            case Reason.NETWORK_NONE:
                return self._only_loopback(a)
            case Reason.IP_FORWARD_OFF:
                return _with(say("the host does not forward packets"), detail)
            case Reason.NOT_RUNNING:
                return _with(say("{b} is not running, so that nothing answers for its address", b=b), detail)
            case Reason.WRONG_ADDRESS:
                return _with(say("{b} does not have the address that Docker gave it", b=b), detail)
            case Reason.LINK_DOWN:
                link = self._link_at(path.decided_by)
                down = say("{link} is down", link=link) if link else say("a link on the way is down")
                return _with(down, detail)
            case Reason.NO_BRIDGE_PORT:
                link = self._link_at(path.decided_by)
                alone = (
                    say("{link} is on no bridge", link=link) if link else say("the veth of a container is on no bridge")
                )
                return _with(alone, detail)
            case Reason.NO_ROUTE if apart:
                return say("they share no network, and {why}", why=detail)
            case Reason.REPLY_BLOCKED:
                return detail
            case _:
                return detail or path.reason.value

    def _link_at(self, evidence: Evidence | None) -> str:
        """The link that a line of evidence shows; empty for none."""
        if evidence is None or evidence not in self._links:
            return ""
        netns, name = self._links[evidence]
        return say("{name} of {owner}", name=name, owner=self.world.label(netns))

    @cached_property
    def _links(self) -> dict[Evidence, LinkId]:
        """Each link by the line that shows it."""
        links = self.world.topology.links.items()
        return {link.evidence: key for key, link in links if link.evidence is not None}

    def _apart(self, a: str, b: str) -> bool:
        return not ({a, b} & set(RESERVED) or self.common_networks(a, b))

    def common_networks(self, a: str, b: str) -> list[str]:
        """Docker networks that both are on."""
        mine, other = self._networks(a), self._networks(b)
        return [n for n in mine if n in other]

    def _networks(self, name: str) -> list[str]:
        netns = self.snapshot.netns_of.get(name)
        owners = self.world.containers_in.get(netns, [name]) if netns and netns != "host" else [name]
        positions = sorted(position for owner in owners for position in self._positions.get(owner, ()))
        return [e.network for position in positions for e in self.snapshot.containers[position].endpoints]

    def _network_of(self, path: PathFacts) -> DockerNetwork | None:
        return self.snapshot.network(path.target.network) if path.target and path.target.network else None

    def _kept_apart(self, a: str, path: PathFacts) -> str:
        there = path.target.network if path.target else ""
        mine = self._networks(a)
        if len(mine) == 1:
            return say("Docker keeps {one} and {other} apart", one=mine[0], other=there)
        return say("Docker keeps {one} and the networks of {a} apart", one=there, a=a)

    def _internal(self, a: str, path: PathFacts) -> str:
        there = self._network_of(path)
        if there is not None and there.internal:
            return say("{network} is an internal network, closed to the outside", network=there.name)
        mine = [n for n in self._networks(a) if (found := self.snapshot.network(n)) and found.internal]
        name = mine[0] if mine else say("its network")
        return say("{network}, the network of {a}, is internal and has no way out", network=name, a=a)


def name_sentence(a: str, b: str, names: Sequence[NameAnswer]) -> str:
    """What the source may call the destination."""
    if not names:
        return say("No name of {b} resolves in {a}.", a=a, b=b)
    labels = {
        Via.EMBEDDED_DNS: say("Docker's DNS"),
        Via.HOSTS: "/etc/hosts",
        Via.LINK: "--link",
        Via.EXTRA_HOST: "--add-host",
        Via.EXTERNAL: say("an external resolver"),
        None: say("its address"),
    }
    by: dict[str, list[str]] = {}
    for answer in names:
        by.setdefault(labels[answer.via], []).append(answer.name)
    ways = (say("{names} (by {how})", names=listed(found), how=how) for how, found in by.items())
    return say("{a} can call {b} {names}.", a=a, b=b, names=listed(ways, SEMICOLON))


def mode_phrase(snapshot: Snapshot, container: Container) -> str:
    """Which mode a container runs in and what follows."""
    if not container.running:
        return say("is not running ({status}): it has no network stack", status=container.status)
    if container.joined_to:
        owner = snapshot.container(container.joined_to)
        if owner is None:
            return say("joined the network of a container that is gone: recreate it")
        if snapshot.netns_of.get(container.name) != snapshot.netns_of.get(owner.name):
            return say("still has the network stack that {owner} had before it ended: recreate it", owner=owner.name)
        return say(
            "shares the network stack of {owner}: same addresses, same ports, each other at 127.0.0.1", owner=owner.name
        )
    match container.network_mode:
        case "host":
            return say("runs on the host's own network: every port it opens is a port of the host, and may clash there")
        case "none":
            return say("runs with --network none: no interface but lo")
    names = [e.network for e in container.endpoints]
    if not names:
        return say("is on no network")
    if names == ["bridge"]:
        return say("is on the default bridge: reachable by address, no names but those of --link")
    return say("is on {networks}", networks=listed(names))


def _witness(path: PathFacts) -> Trace | None:
    return path.sweep.witness() if path.sweep else None


def _accepting_rule(trace: Trace | None) -> str:
    for hop in reversed(trace.forth if trace else ()):
        if hop.kind is HopKind.RULE:
            return hop.text
    return ""


def _with(clause: str, detail: str) -> str:
    """A clause and the fact that it goes back to, if there is one."""
    return say("{clause} ({detail})", clause=clause, detail=detail) if detail else clause


def _stopper(trace: Trace) -> str:
    if trace.disposition is Disposition.UNKNOWN:
        return say("cannot be told, {causes}", causes=listed(trace.unknown_causes, SEMICOLON))
    if trace.reason is Reason.UNPUBLISHED_PORT and trace.delivered_to:  # its detail is about one port of many
        return say("nothing on the host listens there, and nothing is published")
    return trace.detail or trace.reason.value


def _ports_text(spans: list[Span]) -> str:
    parts: list[str] = ["icmp"] if any(s.protocol is Protocol.ICMP for s in spans) else []
    for protocol in (Protocol.TCP, Protocol.UDP):
        mine = [span.ranges for span in spans if span.protocol is protocol]
        if mine:
            ports = port_set([r for ranges in mine for r in ranges]).ranges if len(mine) > 1 else mine[0]
            parts.append(say("{protocol} {ports}", protocol=protocol.value, ports=PortSet(ports).short))
    return listed(parts)
