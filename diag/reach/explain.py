"""Sentences that a tired engineer understands."""

from __future__ import annotations

from collections.abc import Sequence

from diag.interpreter.world import World
from diag.model.analysis import NameAnswer, PortSet
from diag.model.docker import Container, DockerNetwork
from diag.model.flow import HopKind, Protocol, Trace
from diag.model.message import say
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

    def path(self, pair: PairFacts, path: PathFacts) -> str:
        """One destination address of a pair, in one to three sentences."""
        a, b = pair.source, pair.destination
        if path.target is None:
            return self._no_address(a, b, path.reason)
        match path.reachability:
            case Reachability.REACHABLE:
                return say("{a} reaches {b} at {ip}: {how}.", a=a, b=b, ip=path.target.ip, how=self._how(a, b, path))
            case Reachability.PARTIAL if a == WORLD and path.reason in (Reason.PUBLISHED_PORT, Reason.DOCKER_PROXY):
                return f"{a} reaches {b} at {path.target.ip} on {path.allowed} only: {self._how(a, b, path)}."
            case Reachability.PARTIAL:
                clauses = (
                    "; ".join(self.partial_clauses(path)) or "the other ports are published and lead to containers"
                )
                return f"{a} reaches {b} at {path.target.ip} on {path.allowed} only: {clauses}."
            case Reachability.UNKNOWN:
                trace = _witness(path)
                causes = "; ".join(dict.fromkeys(trace.unknown_causes)) if trace else "something was not captured"
                return f"Whether {a} reaches {b} at {path.target.ip} cannot be told: {causes}."
            case Reachability.UNREACHABLE:
                return say(
                    "{a} cannot reach {b} at {ip}: {why}.", a=a, b=b, ip=path.target.ip, why=self._why_not(a, b, path)
                )

    def partial_clauses(self, path: PathFacts) -> tuple[str, ...]:
        """For each set of ports that is stopped by one fact: which ports, and by what."""
        stopped: dict[str, list[Span]] = {}
        if path.sweep is None:
            return ()
        for span in path.sweep.spans:
            if span.trace.disposition is not Disposition.DELIVERED:
                stopped.setdefault(_stopper(span.trace), []).append(span)
        return tuple(f"{_ports_text(spans)}: {text}" for text, spans in stopped.items())

    # Reachable

    def _how(self, a: str, b: str, path: PathFacts) -> str:
        trace = _witness(path)
        match path.reason:
            case Reason.SAME_NETNS | Reason.LOOPBACK:
                return f"they share one network stack{self._joined(a, b)}, so that {b} is at 127.0.0.1 for {a}"
            case Reason.SAME_BRIDGE:
                network = self._network_of(path)
                bridge = f" (bridge {network.bridge_name})" if network and network.driver == "bridge" else ""
                return f"both are on {path.target.network if path.target else ''}{bridge}"
            case Reason.HOST_NETNS:
                return f"{self._host_side(a, b)}, and nothing on the host blocks it"
            case Reason.ROUTED:
                return f"the host routes between their networks{_accepting_rule(trace)}"
            case Reason.PUBLISHED_PORT:
                rule = f" ({path.decided_by.text})" if trace is None and path.decided_by else _accepting_rule(trace)
                return f"the host sends its published port on to {b}{rule}"
            case Reason.DOCKER_PROXY:
                return "docker-proxy on the host passes it on"
            case _:
                return path.reason.value

    def _joined(self, a: str, b: str) -> str:
        for name, other in ((a, b), (b, a)):
            container = self.snapshot.container(name)
            if container and container.joined_to:
                return f" ({name} runs with --network container:{other})"
        if self.snapshot.netns_of.get(a) == "host":
            return " (both run with --network host)"
        return ""

    def _host_side(self, a: str, b: str) -> str:
        if WORLD in (a, b):
            if HOST in (a, b):
                return "the host's own uplink leads there"
            return "the host passes it on between its uplink and the container"
        if HOST in (a, b):
            return "the host is on every bridge itself"
        return f"{b if self.snapshot.netns_of.get(b) == 'host' else a} runs on the host's own network"

    # Not reachable

    def _no_address(self, a: str, b: str, reason: Reason) -> str:
        if a == WORLD and reason is Reason.NO_ROUTE:
            return f"{a} cannot reach {b}: the host has no uplink with a default route."
        if a == WORLD and reason is Reason.UNPUBLISHED_PORT:
            return f"{a} cannot reach {b}: no port of it is published on an address of the host's uplinks."
        source = self.snapshot.container(a)
        if source is not None and self.snapshot.netns_of.get(a) is None:
            return f"{a} cannot reach {b}: {a} is not running ({source.status})."
        destination = self.snapshot.container(b)
        if reason is Reason.NOT_RUNNING and destination is not None:
            return f"{a} cannot reach {b}: {b} is not running ({destination.status})."
        if reason is Reason.NETWORK_NONE:
            return f"{a} cannot reach {b}: {b} runs with --network none and has no interface but lo."
        return f"{a} cannot reach {b}: {b} has no address that {a} could use."

    def _why_not(self, a: str, b: str, path: PathFacts) -> str:
        trace = _witness(path)
        detail = trace.detail if trace else ""
        apart = self._apart(a, b)
        network = path.target.network if path.target else ""
        match path.reason:
            case Reason.ISOLATION | Reason.DIRECT_ACCESS_DROP if apart:
                networks = self._kept_apart(a, path)
                return f"they share no network, and Docker keeps {networks} apart ({detail})"
            case Reason.ISOLATION | Reason.DIRECT_ACCESS_DROP:
                way = f"its packets for {path.target.ip} leave by another network than {network}" if path.target else ""
                return f"{way}, and Docker keeps networks apart ({detail})"
            case Reason.ICC_OFF:
                return f"communication between containers is switched off on {network} (ICC; {detail})"
            case Reason.INTERNAL_NETWORK:
                return f"{self._internal(a, path)} ({detail})"
            case Reason.NETWORK_NONE:
                return f"{a} runs with --network none and has no interface but lo"
            case Reason.IP_FORWARD_OFF:
                return f"the host does not forward packets ({detail})"
            case Reason.NOT_RUNNING:
                return f"{b} is not running, so that nothing answers for its address ({detail})"
            case Reason.WRONG_ADDRESS:
                return f"{b} does not have the address that Docker gave it ({detail})"
            case Reason.LINK_DOWN:
                return f"a link on the way is down ({detail})"
            case Reason.NO_BRIDGE_PORT:
                return f"the veth of a container is on no bridge ({detail})"
            case Reason.NO_ROUTE if apart:
                return f"they share no network, and {detail}"
            case Reason.REPLY_BLOCKED:
                return detail
            case _:
                return detail or path.reason.value

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
        return f"{mine[0]} and {there}" if len(mine) == 1 else f"{there} and the networks of {a}"

    def _internal(self, a: str, path: PathFacts) -> str:
        there = self._network_of(path)
        if there is not None and there.internal:
            return f"{there.name} is an internal network, closed to the outside"
        mine = [n for n in self._networks(a) if (found := self.snapshot.network(n)) and found.internal]
        name = mine[0] if mine else "its network"
        return f"{name}, the network of {a}, is internal and has no way out"


def name_sentence(a: str, b: str, names: Sequence[NameAnswer]) -> str:
    """What the source may call the destination."""
    if not names:
        return f"No name of {b} resolves in {a}."
    labels = {
        Via.EMBEDDED_DNS: "Docker's DNS",
        Via.HOSTS: "/etc/hosts",
        Via.LINK: "--link",
        Via.EXTRA_HOST: "--add-host",
        Via.EXTERNAL: "an external resolver",
        None: "its address",
    }
    by: dict[str, list[str]] = {}
    for answer in names:
        by.setdefault(labels[answer.via], []).append(answer.name)
    return f"{a} can call {b} " + "; ".join(f"{', '.join(found)} (by {how})" for how, found in by.items()) + "."


def mode_phrase(snapshot: Snapshot, container: Container) -> str:
    """Which mode a container runs in and what follows."""
    if not container.running:
        return f"is not running ({container.status}): it has no network stack"
    if container.joined_to:
        owner = snapshot.container(container.joined_to)
        if owner is None:
            return "joined the network of a container that is gone: recreate it"
        return f"shares the network stack of {owner.name}: same addresses, same ports, each other at 127.0.0.1"
    match container.network_mode:
        case "host":
            return "runs on the host's own network: every port it opens is a port of the host, and may clash there"
        case "none":
            return "runs with --network none: no interface but lo"
    names = [e.network for e in container.endpoints]
    if not names:
        return "is on no network"
    if names == ["bridge"]:
        return "is on the default bridge: reachable by address, no names but those of --link"
    return f"is on {', '.join(names)}"


def _witness(path: PathFacts) -> Trace | None:
    return path.sweep.witness() if path.sweep else None


def _accepting_rule(trace: Trace | None) -> str:
    for hop in reversed(trace.forth if trace else ()):
        if hop.kind is HopKind.RULE:
            return f" ({hop.text})"
    return ""


def _stopper(trace: Trace) -> str:
    if trace.disposition is Disposition.UNKNOWN:
        return "cannot be told, " + "; ".join(trace.unknown_causes)
    if trace.reason is Reason.UNPUBLISHED_PORT and trace.delivered_to:  # its detail is about one port of many
        return "nothing on the host listens there, and nothing is published"
    return trace.detail or trace.reason.value


def _ports_text(spans: list[Span]) -> str:
    parts = ["icmp"] if any(s.protocol is Protocol.ICMP for s in spans) else []
    for protocol in (Protocol.TCP, Protocol.UDP):
        mine = [span.ranges for span in spans if span.protocol is protocol]
        if mine:
            ports = port_set([r for ranges in mine for r in ranges]).ranges if len(mine) > 1 else mine[0]
            parts.append(f"{protocol.value} {_short(str(PortSet(ports[:_SHOWN])))}")
    return ", ".join(parts)


_SHOWN = 40
"""Ranges of ports that are more than a short text holds."""


def _short(ports: str) -> str:
    return ports if len(ports) <= 60 else f"{ports[:57].rpartition(',')[0]},…"
