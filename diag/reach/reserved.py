"""Pairs with `@host` or `@world`: what containers reach on the host and beyond, and what of them is exposed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from diag.model.address import Family
from diag.model.docker import Container
from diag.model.flow import Trace
from diag.model.netns import LinkKind
from diag.model.reasons import Reachability, Reason
from diag.model.snapshot import Snapshot
from diag.reach.beyond import FAR, HOST, RESERVED, WORLD, uplink_addresses, uplinks
from diag.reach.pairs import ORDER, PairAnalyser, PairFacts, PathFacts, Target, no_path
from diag.reach.windows import restricted, sampled
from diag.symbolic.behaviours import Behaviour, Decisions

_OUTSIDE_KINDS = frozenset({LinkKind.MACVLAN, LinkKind.IPVLAN})


class ReservedPairs:
    """Pairs of which at least one side is `@host` or `@world`. `pairs` works on a snapshot that has the world in it."""

    def __init__(self, snapshot: Snapshot, pairs: PairAnalyser, decisions: Decisions | None = None) -> None:
        self.snapshot = snapshot
        """Without the world."""
        self.pairs = pairs
        self._decisions = decisions
        """What the symbolic engine says of callers to the host and the world; without it every pair is traced."""
        self._alike: dict[Behaviour, PathFacts | None] = {}
        self._outside = uplink_addresses(snapshot)
        ways = {family for uplink in uplinks(snapshot) for family, _ in uplink.gateways}
        self._far = tuple(Target(FAR[family], "") for family in Family if family in ways) or (
            Target(FAR[Family.IPV4], ""),
        )

    def all_pairs(self) -> Iterator[PairFacts]:
        """Every such ordered pair, the reserved endpoints first."""
        names = (*RESERVED, *(c.name for c in self.snapshot.containers))
        for source in names:
            for destination in names:
                if source != destination and (source in RESERVED or destination in RESERVED):
                    yield self.pair(source, destination)

    def pair(self, source: str, destination: str) -> PairFacts:
        """One of them."""
        netns = self._netns(source)
        if netns is None:
            container = self.snapshot.container(source)
            return self._facts(
                source, destination, [no_path(Reason.NOT_RUNNING, container.evidence if container else None)]
            )
        if destination == WORLD:
            paths = [self._shared(netns, target) or self.pairs.path(netns, target) for target in self._far]
            return self._facts(source, destination, paths)
        if destination == HOST:
            return self._facts(source, destination, self._to_host(netns))
        there = self.snapshot.container(destination)
        if there is None:
            raise ValueError(f"there is no container {destination!r}")
        if source == HOST:
            found = self.pairs.facts(source, netns, there)
            return self._facts(source, destination, list(found.paths))
        return self._facts(source, destination, self._exposed(there))

    def _facts(self, source: str, destination: str, paths: list[PathFacts]) -> PairFacts:
        paths.sort(key=lambda path: ORDER[path.reachability])
        return PairFacts(source, destination, paths[0].reachability, tuple(paths))

    def _netns(self, name: str) -> str | None:
        if name in RESERVED:
            return {HOST: "host", WORLD: WORLD}[name]
        return self.snapshot.netns_of.get(name)

    def _to_host(self, netns: str) -> list[PathFacts]:
        """The host's own stack: what is published there belongs to the containers."""
        outside = [Target(ip, "") for ip in self._outside]
        targets = outside if netns == WORLD else self.pairs.host_targets(netns)
        if not targets:
            return [no_path(Reason.NO_ROUTE, None)]
        return [self._shared(netns, target) or self._to_host_itself(netns, target) for target in targets]

    def _to_host_itself(self, netns: str, target: Target) -> PathFacts:
        return self._restricted(netns, target, lambda trace: trace.delivered_to == "host")

    def _shared(self, netns: str, target: Target) -> PathFacts | None:
        """What the symbolic engine says, with traces that serve all callers that fare alike; None: it does not cover the pair."""
        behaviour = self._decisions.behaviour(netns, target.ip) if self._decisions is not None else None
        if behaviour is None:
            return None
        if behaviour not in self._alike:
            sweep = sampled(self.pairs.tracer, netns, target.ip, behaviour)
            self._alike[behaviour] = self.pairs.path_of(target, sweep) if sweep is not None else None
        known = self._alike[behaviour]
        return replace(known, target=target) if known is not None else None

    def _exposed(self, container: Container) -> list[PathFacts]:
        """What the outside gets to: by a binding of the host, or where the container's own address is known there."""
        there = self.snapshot.netns_of.get(container.name)
        if there is None:
            return [no_path(Reason.NOT_RUNNING, container.evidence)]
        if there == "host":
            return self._to_host(WORLD)

        def its_own(trace: Trace) -> bool:
            return trace.delivered_to == there or (
                trace.delivered_to == "docker-proxy" and _publishes(container, trace)
            )

        bound = [self._restricted(WORLD, Target(ip, ""), its_own) for ip in self._outside]
        direct = [self.pairs.path(WORLD, target) for target in self._own_outside(container, there)]
        useful = [path for path in (*bound, *direct) if path.reachability is not Reachability.UNREACHABLE]
        missing = Reason.UNPUBLISHED_PORT if self._outside else Reason.NO_ROUTE
        return useful or direct or [no_path(missing, None)]

    def _own_outside(self, container: Container, there: str) -> list[Target]:
        """Addresses of a macvlan or a routed network, which the outside sees as they are."""
        routes = self.pairs.snapshot.netns[WORLD].routes
        known = [r.destination for family in Family for r in routes.get(family) or () if r.table == "main"]
        outer = {
            address.ip
            for link in self.snapshot.netns[there].links or ()
            if link.kind in _OUTSIDE_KINDS
            for address in link.addresses
        }
        targets = self.pairs.targets(WORLD, container)
        return [t for t in targets if t.ip in outer or any(t.ip in prefix for prefix in known)]

    def _restricted(self, netns: str, target: Target, keep: Callable[[Trace], bool]) -> PathFacts:
        """The path as far as it ends where it is asked for."""
        return self.pairs.path_of(target, restricted(self.pairs.sweep(netns, target.ip), keep))


def _publishes(container: Container, trace: Trace) -> bool:
    flow = trace.flow
    return any(p.host_port == flow.port and p.protocol == flow.protocol.value for p in container.ports)
