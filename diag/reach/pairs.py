"""Every ordered pair of containers: which addresses the source could use, and what each gives."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from msgspec import Struct

from diag.interpreter.trace import Tracer
from diag.model.address import Family, Ip
from diag.model.analysis import Allowed
from diag.model.docker import Container
from diag.model.flow import Trace
from diag.model.netns import Link, LinkKind
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition, Reachability, Reason
from diag.model.snapshot import Snapshot
from diag.reach.windows import Sweep, restricted, sweep

_OF_RULES = frozenset({Reason.FIREWALL_DROP, Reason.FIREWALL_REJECT, Reason.POLICY_DROP})
"""Reasons of rules that may also stop the question for a neighbour, before there is a packet."""
LOOPBACK = Ip.parse("127.0.0.1")


class Target(Struct, frozen=True):
    """An address of the destination that the source could use."""

    ip: Ip
    network: str
    """The Docker network it belongs to; empty for a loopback or host address."""


class PathFacts(Struct, frozen=True):
    """One destination address, before any words are made."""

    target: Target | None
    """None: there is no address to use."""
    reachability: Reachability
    allowed: Allowed
    reason: Reason
    decided_by: Evidence | None
    sweep: Sweep | None = None

    def signature(self) -> tuple[object, ...]:
        """What pairs of one group have in common. Rules that say the same of their own destination count as one."""
        network = self.target.network if self.target else ""
        family = self.target.ip.family if self.target else 0
        return (family, network, self.reachability, self.allowed, self.reason, self._stoppers())

    def stoppers(self) -> tuple[tuple[Reason, Evidence], ...]:
        """The rules and policies that stop some of the flows, each with its reason."""
        traces = [span.trace for span in self.sweep.spans] if self.sweep else []
        return tuple(
            dict.fromkeys(
                (trace.reason, trace.decided_by)
                for trace in traces
                if trace.decided_by is not None and (trace.chain or trace.reason in _OF_RULES)
            )
        )

    def _stoppers(self) -> frozenset[tuple[str, str]]:
        if self.sweep is None:
            return frozenset()
        own = str(self.sweep.address)
        return frozenset(
            (evidence.file, evidence.text.replace(own, "destination"))
            for span in self.sweep.spans
            if span.trace.chain and (evidence := span.trace.decided_by) is not None
        )


class PairFacts(Struct, frozen=True):
    """One ordered pair."""

    source: str
    destination: str
    reachability: Reachability
    paths: tuple[PathFacts, ...]
    """Best first."""


ORDER = {
    Reachability.REACHABLE: 0,
    Reachability.PARTIAL: 1,
    Reachability.UNKNOWN: 2,
    Reachability.UNREACHABLE: 3,
}


class PairAnalyser:
    """Computes pairs; what two pairs share (same namespace, same address) is computed once."""

    def __init__(self, snapshot: Snapshot, tracer: Tracer) -> None:
        self.snapshot = snapshot
        self.tracer = tracer
        self._sweeps: dict[tuple[str, Ip], Sweep] = {}
        self._own: dict[str, tuple[Target, ...]] = {}
        """By container name."""

    def all_pairs(self) -> Iterator[PairFacts]:
        """Every ordered pair but a container with itself, in the containers' order."""
        for source in self.snapshot.containers:
            for destination in self.snapshot.containers:
                if source.name != destination.name:
                    yield self.pair(source, destination)

    def pair(self, source: Container, destination: Container) -> PairFacts:
        """What `source` can do with `destination`."""
        netns = self.snapshot.netns_of.get(source.name)
        if netns is None:
            path = no_path(Reason.NOT_RUNNING, source.evidence)
            return PairFacts(source.name, destination.name, Reachability.UNREACHABLE, (path,))
        return self.facts(source.name, netns, destination)

    def facts(self, source: str, netns: str, destination: Container) -> PairFacts:
        """The same for a source by its name and namespace."""
        targets = self.targets(netns, destination)
        if not targets:
            paths: list[PathFacts] = [self._without_address(destination)]
        else:
            paths = [self.path(netns, target) for target in targets]
        paths.sort(key=lambda p: ORDER[p.reachability])
        return PairFacts(source, destination.name, paths[0].reachability, tuple(paths))

    def path(self, netns: str, target: Target) -> PathFacts:
        """What one namespace can do with one address."""
        return self.path_of(target, self.sweep(netns, target.ip))

    def to_host(self, netns: str, target: Target) -> PathFacts:
        """The same as far as the host's own stack takes it: what is published there belongs to the containers."""
        whole = self.sweep(netns, target.ip)
        return self.path_of(target, self.of_host(whole))

    def of_host(self, whole: Sweep) -> Sweep:
        """The part that the host's own stack takes, or may take."""
        return restricted(whole, self._is_for_host)

    def _is_for_host(self, trace: Trace) -> bool:
        if trace.disposition is Disposition.DELIVERED:
            return trace.delivered_to == "host"
        ip = trace.final_ip
        return ip is None or ip == trace.flow.destination or self.tracer.world.fib("host", ip.family).is_local(ip.value)

    def sweep(self, netns: str, ip: Ip) -> Sweep:
        """All flows of one namespace to one address, computed once."""
        key = (netns, ip)
        if key not in self._sweeps:
            self._sweeps[key] = sweep(self.tracer, netns, ip)
        return self._sweeps[key]

    def path_of(self, target: Target, found: Sweep) -> PathFacts:
        """A sweep in short."""
        witness = found.witness()
        return PathFacts(
            target, reachability_of(found.allowed), found.allowed, witness.reason, witness.decided_by, found
        )

    def targets(self, netns: str, destination: Container) -> Sequence[Target]:
        """The destination's addresses that make sense from a namespace."""
        there = self.snapshot.netns_of.get(destination.name)
        if there is None:
            return []
        if there == netns:
            return [Target(LOOPBACK, ""), *self.own_addresses(destination)]
        if there == "host":
            return self._host_addresses(netns)
        return self.own_addresses(destination)

    def own_addresses(self, container: Container) -> tuple[Target, ...]:
        """What Docker says, else what its namespace has (a joined container has those of the one it joined)."""
        if container.name not in self._own:
            self._own[container.name] = tuple(dict.fromkeys(self._owned_by(container)))
        return self._own[container.name]

    def _owned_by(self, container: Container) -> list[Target]:
        there = self.snapshot.netns_of.get(container.name, "")
        if there == "host":
            return []
        names = self.tracer.world.containers_in.get(there, ())
        owners = [c for name in names if (c := self.snapshot.container(name)) is not None]
        found = [
            Target(ip, endpoint.network)
            for owner in ([container] if container.endpoints else owners)
            for endpoint in owner.endpoints
            for ip in (endpoint.ip, endpoint.ip6)
            if ip is not None
        ]
        if not found and not any(c.endpoints for c in owners):
            netns = self.snapshot.netns.get(there)
            found = [
                Target(address.ip, "")
                for link in (netns.links if netns and netns.links else ())
                for address in link.addresses
                if address.scope == "global"
            ]
        return found

    @functools.cached_property
    def _host_links(self) -> dict[str, Link]:
        host = self.snapshot.netns.get("host")
        return {link.name: link for link in (host.links if host and host.links else ())}

    def host_targets(self, netns: str) -> list[Target]:
        """The host's addresses that make sense from a namespace."""
        return [Target(LOOPBACK, "")] if netns == "host" else self._host_addresses(netns)

    def _host_addresses(self, netns: str) -> list[Target]:
        """The host's address on each bridge that the source is on; from elsewhere, that of its uplinks."""
        links = self._host_links
        bridges = []
        for name in self.tracer.world.containers_in.get(netns, ()):
            container = self.snapshot.container(name)
            networks = (self.snapshot.network(e.network) for e in (container.endpoints if container else ()))
            bridges += [(n.bridge_name, n.name) for n in networks if n is not None and n.driver == "bridge"]
        found = [
            Target(address.ip, network)
            for bridge, network in bridges
            if bridge in links
            for address in links[bridge].addresses
            if address.scope == "global"
        ]
        if found:
            return list(dict.fromkeys(found))
        uplinks = [k for k in links.values() if k.kind not in (LinkKind.LOOPBACK, LinkKind.BRIDGE, LinkKind.VETH)]
        candidates = uplinks or [k for k in links.values() if k.kind is LinkKind.BRIDGE]
        return [
            Target(address.ip, "")
            for link in candidates
            for address in link.addresses
            if address.scope == "global" and address.ip.family is Family.IPV4
        ]

    def _without_address(self, destination: Container) -> PathFacts:
        if self.snapshot.netns_of.get(destination.name) is None:
            return no_path(Reason.NOT_RUNNING, destination.evidence)
        if destination.network_mode == "none" or not destination.endpoints:
            return no_path(Reason.NETWORK_NONE, destination.evidence)
        return no_path(Reason.NO_COMMON_NETWORK, destination.evidence)


def no_path(reason: Reason, evidence: Evidence | None) -> PathFacts:
    return PathFacts(None, Reachability.UNREACHABLE, Allowed(), reason, evidence)


def reachability_of(allowed: Allowed) -> Reachability:
    """One word for what is allowed."""
    if allowed.everything:
        return Reachability.REACHABLE
    if allowed.nothing:
        return Reachability.UNREACHABLE
    if allowed.icmp or allowed.tcp or allowed.udp:
        return Reachability.PARTIAL
    return Reachability.UNKNOWN
