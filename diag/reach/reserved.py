"""Pairs with `@host` or `@world`: what containers reach on the host and beyond, and what of them is exposed."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.interpreter.world import World
from diag.model.address import Family, Ip
from diag.model.docker import Container
from diag.model.flow import Flow, Trace
from diag.model.netns import LinkKind
from diag.model.reasons import Disposition, Reachability, Reason
from diag.model.snapshot import Snapshot
from diag.reach.beyond import HOST, RESERVED, WORLD, Uplink, far_of, uplink_addresses, uplinks, with_world
from diag.reach.pairs import ORDER, PairAnalyser, PairFacts, PathFacts, Target, no_path, reachability_of
from diag.reach.windows import Span, Sweep, agrees, allowed_of, part_of, sampled
from diag.symbolic.behaviours import Behaviour, Decisions, Taken
from diag.symbolic.engine import Solutions, solve
from diag.symbolic.kinds import Kind

_OUTSIDE_KINDS = frozenset({LinkKind.MACVLAN, LinkKind.IPVLAN})


class ReservedPairs:
    """Pairs of which at least one side is `@host` or `@world`. `pairs` works on a snapshot that has the world in it."""

    def __init__(
        self,
        snapshot: Snapshot,
        pairs: PairAnalyser,
        solutions: Solutions | None = None,
        ways: tuple[Uplink, ...] | None = None,
    ) -> None:
        ways = uplinks(snapshot) if ways is None else ways
        self.snapshot = snapshot
        """Without the world."""
        self.pairs = pairs
        self.solutions = solutions
        """What the symbolic engine says, of callers to the host and the world too; without it every pair is traced."""
        self._decisions = Decisions(solutions) if solutions is not None else None
        self._bindings: dict[Ip, _Bindings] = {}
        self._published: dict[Ip, dict[str, PathFacts] | None] = {}
        self._alike: dict[tuple[bool, bool, Behaviour], PathFacts | None] = {}
        """By whether the host calls, whether the world is called, and what the flows do."""
        self._traces: dict[tuple[bool, bool, Behaviour], dict[Kind, Trace]] = {}
        """Where a part of the flows is covered, by kind."""
        self._of_unseen: dict[tuple[Ip, bool], PathFacts] = {}
        """By address, and whether the host's own stack alone counts."""
        self._unheard: dict[Kind, Trace] = {}
        self._fresh = False
        """Whether traces of other pairs are not good enough."""
        self._outside = uplink_addresses(ways)
        families = {family for uplink in ways for family, _ in uplink.gateways}
        far = far_of(pairs.snapshot)
        self._far = tuple(Target(far[family], "") for family in Family if family in families) or (
            Target(far[Family.IPV4], ""),
        )

    @classmethod
    def of(cls, snapshot: Snapshot, plain: World | None = None) -> ReservedPairs:
        """With the symbolic engine, for all pairs of a host; `plain` is made of the same snapshot."""
        ways = uplinks(snapshot, plain.topology if plain else None)
        tracer = Tracer(with_world(snapshot, ways), plain)
        world = tracer.world
        solutions = solve(world.snapshot, world.topology, WORLD)
        return cls(snapshot, PairAnalyser(world.snapshot, tracer), solutions, ways)

    def all_pairs(self) -> Iterator[PairFacts]:
        """Every such ordered pair, the reserved endpoints first."""
        names = (*RESERVED, *(c.name for c in self.snapshot.containers))
        for source in names:
            for destination in names if source in RESERVED else RESERVED:
                if source != destination:
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
            paths = [self._path(netns, target) for target in self._far]
            return self._facts(source, destination, paths)
        if destination == HOST:
            return self._facts(source, destination, self._to_host(netns))
        there = self.snapshot.container(destination)
        if there is None:
            raise ValueError(f"there is no container {destination!r}")
        if source == HOST:
            targets = self.pairs.targets(netns, there)
            found = [self._path(netns, target) for target in targets]
            return self._facts(source, destination, found or list(self.pairs.facts(source, netns, there).paths))
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
        return [self._path(netns, target, to_host=True) for target in targets]

    def _path(self, netns: str, target: Target, *, to_host: bool = False) -> PathFacts:
        """One address, with traces of its own where nothing is shared. Unseen callers are all alike."""
        found = self._shared(netns, target, to_host=to_host)
        if found is not None:
            return found
        key = target.ip, to_host
        unseen = not self._fresh and self.pairs.snapshot.netns[netns].unseen
        if unseen and key in self._of_unseen:
            return replace(self._of_unseen[key], target=target)
        found = self.pairs.to_host(netns, target) if to_host else self.pairs.path(netns, target)
        if unseen:
            self._of_unseen[key] = found
        return found

    def _behaviour(self, netns: str, ip: Ip) -> Behaviour | None:
        """None where the engine covers none of the flows."""
        if self._decisions is None:
            return None
        found = self._decisions.known(netns, ip)
        return found if found is not None and (found.covered or found.partial) else None

    def own(self, facts: PairFacts) -> PairFacts:
        """The same pair with traces of its own."""
        self._fresh = True
        try:
            return self.pair(facts.source, facts.destination)
        finally:
            self._fresh = False

    def _shared(self, netns: str, target: Target, *, to_host: bool = False) -> PathFacts | None:
        """What the symbolic engine says, with traces that serve all callers that fare alike; None: it does not cover the pair.

        Of flows to the host those count that its own stack takes.
        """
        behaviour = self._behaviour(netns, target.ip)
        if behaviour is None:
            return None
        key = (netns == "host", target in self._far, behaviour)
        if behaviour.partial:
            return self._in_part(
                netns, target, behaviour, {} if self._fresh else self._traces.setdefault(key, {}), to_host
            )
        if key not in self._alike or self._fresh:
            sweep = sampled(self.pairs.tracer, netns, target.ip, behaviour, self._unheard)
            self._alike[key] = self.pairs.path_of(target, sweep) if sweep is not None else None
        known = self._alike[key]
        return replace(known, target=target) if known is not None else None

    def _in_part(
        self, netns: str, target: Target, behaviour: Behaviour, traces: dict[Kind, Trace], to_host: bool
    ) -> PathFacts | None:
        found = sampled(self.pairs.tracer, netns, target.ip, behaviour, self._unheard, traces=traces)
        if found is not None and to_host:
            found = self.pairs.of_host(found)
        return self.pairs.path_of(target, found) if found is not None else None

    def _exposed(self, container: Container) -> list[PathFacts]:
        """What the outside gets to: by a binding of the host, or where the container's own address is known there."""
        there = self.snapshot.netns_of.get(container.name)
        if there is None:
            return [no_path(Reason.NOT_RUNNING, container.evidence)]
        if there == "host":
            return self._to_host(WORLD)

        bound = [path for ip in self._outside if (path := self._bound(container, there, ip)) is not None]
        direct = [self.pairs.path(WORLD, target) for target in self._own_outside(container, there)]
        useful = [path for path in (*bound, *direct) if path.reachability is not Reachability.UNREACHABLE]
        missing = Reason.UNPUBLISHED_PORT if self._outside else Reason.NO_ROUTE
        return useful or direct or [no_path(missing, None)]

    def _bound(self, container: Container, there: str, ip: Ip) -> PathFacts | None:
        """What one of the host's outer addresses gives of a container; None for nothing."""
        if ip not in self._published:
            self._published[ip] = self._published_at(ip)
        published = self._published[ip]
        if published is not None:
            return published.get(there)
        behaviour = self._behaviour(WORLD, ip)
        if behaviour is not None and all(kind.unknown for _, kind, _ in behaviour.by_kind):
            shared = self._shared(WORLD, Target(ip, ""))  # as it is of every container
            if shared is not None:
                return shared
        if ip not in self._bindings:
            self._bindings[ip] = _Bindings(self.pairs.sweep(WORLD, ip), self.pairs.tracer.world)
        found = self._bindings[ip].of(container, there)
        return self.pairs.path_of(Target(ip, ""), found) if found is not None else None

    def _published_at(self, ip: Ip) -> dict[str, PathFacts] | None:
        """By namespace, as the symbolic engine says; None where it cannot tell, or a trace of its kind says otherwise."""
        found = self._decisions.taken(WORLD, ip) if self._decisions is not None else None
        if found is None:
            return None
        traces: dict[Kind, Trace] = {}
        by_netns: dict[str, list[Taken]] = {}
        for part in found:
            trace = traces.get(part.kind)
            if trace is None:
                trace = traces[part.kind] = self.pairs.tracer.trace(Flow(WORLD, ip, part.protocol, part.ports[0]))
                if not agrees(trace, part.kind):
                    return None
            by_netns.setdefault(part.netns, []).append(part)
        return {netns: self._path_published(ip, parts) for netns, parts in by_netns.items()}

    def _path_published(self, ip: Ip, parts: list[Taken]) -> PathFacts:
        """One container's part. Open ports are cited by the rule that publishes them; what stops others is traced."""
        target = Target(ip, "")
        if all(part.kind.delivered for part in parts):
            allowed = allowed_of((part.protocol, part.ports) for part in parts)
            return PathFacts(target, reachability_of(allowed), allowed, Reason.PUBLISHED_PORT, parts[0].by)
        spans = [
            Span(part.protocol, (part.ports,), self.pairs.tracer.trace(Flow(WORLD, ip, part.protocol, part.ports[0])))
            for part in parts
        ]
        return self.pairs.path_of(target, part_of(ip, spans))

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


class _Bindings:
    """The flows from outside to one address of the host, by whom they get to."""

    def __init__(self, whole: Sweep, world: World) -> None:
        self._address = whole.address
        self._by_netns: dict[str, list[Span]] = {}
        self._by_publisher: dict[str, list[Span]] = {}
        self._unknown: list[Span] = []
        """Flows that cannot be told, any of which may be for any container."""
        for span in whole.spans:
            trace = span.trace
            if trace.disposition is Disposition.UNKNOWN:
                netns = self._may_get_to(trace, world)
                (self._by_netns.setdefault(netns, []) if netns else self._unknown).append(span)
            elif trace.disposition is Disposition.DELIVERED and trace.delivered_to == "docker-proxy":
                for publisher, _ in world.publishers(span.protocol.value, trace.flow.port):
                    self._by_publisher.setdefault(publisher.name, []).append(span)
            elif trace.disposition is Disposition.DELIVERED:
                self._by_netns.setdefault(trace.delivered_to, []).append(span)

    def _may_get_to(self, trace: Trace, world: World) -> str:
        """Of a flow that cannot be told the one namespace that it may get to by DNAT; empty where it may be any."""
        if trace.final_ip is None or trace.final_ip == self._address:
            return ""
        owners = {world.snapshot.netns_of.get(c.name, "") for c, _ in world.endpoints.get(trace.final_ip, ())}
        return owners.pop() if len(owners) == 1 else ""

    def of(self, container: Container, netns: str) -> Sweep | None:
        """A container's part; None for nothing."""
        own = [*self._by_netns.get(netns, ()), *self._by_publisher.get(container.name, ()), *self._unknown]
        return part_of(self._address, own) if own else None
