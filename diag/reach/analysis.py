"""A snapshot to an analysis: groups with words, names, roles, gaps."""

from __future__ import annotations

from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.analysis import Analysis, Group, PairResult, Path
from diag.model.docker import Container
from diag.model.message import listed, say
from diag.model.reasons import Reachability
from diag.model.snapshot import Snapshot
from diag.names.resolver import Resolver
from diag.reach.beyond import WORLD
from diag.reach.explain import Explainer, mode_phrase
from diag.reach.fixes import MAX_CONTAINERS, FixFinder
from diag.reach.groups import PairGroup, group_columns, group_pairs
from diag.reach.interfaces import interface_roles
from diag.reach.matrix import PairMatrix
from diag.reach.pairs import PairAnalyser, PairFacts, PathFacts
from diag.reach.reserved import ReservedPairs


class Analyser:
    """The parts that answer about pairs of one snapshot, sharing their indexes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.tracer = Tracer(snapshot)
        self.pairs = PairAnalyser(snapshot, self.tracer)
        self.resolver = Resolver(snapshot)
        self.explainer = Explainer(snapshot, self.tracer.world)
        self.fixes = FixFinder(snapshot, self.pairs)

    def reserved(self, plain: Snapshot) -> ReservedPairs:
        """Pairs with `@host` and `@world` of this snapshot, `plain` being the one without the world."""
        if WORLD in self.snapshot.netns:
            return ReservedPairs(plain, self.pairs)
        return ReservedPairs.of(plain, self.tracer.world)

    def pair(self, source: Container, destination: Container, *, fixes: bool = True) -> PairResult:
        """One ordered pair, explained, with its names and fixes."""
        facts = self.pairs.pair(source, destination)
        names = self.resolver.names_for(source.name, destination.name)
        return PairResult(
            facts.source,
            facts.destination,
            facts.reachability,
            tuple(self.path(facts, path, fixes=fixes) for path in facts.paths),
            names,
        )

    def path(self, facts: PairFacts, path: PathFacts, *, fixes: bool, address: bool = True) -> Path:
        trace = path.sweep.witness() if path.sweep else None
        partial = self.explainer.partial_clauses(path) if path.reachability is Reachability.PARTIAL else ()
        wanted = fixes and facts.reachability in (Reachability.UNREACHABLE, Reachability.PARTIAL)
        return Path(
            family=path.target.ip.family.label if path.target else "",
            address=str(path.target.ip) if path.target and address else "",
            network=path.target.network if path.target else "",
            reachability=path.reachability,
            allowed=path.allowed,
            reason=path.reason,
            decided_by=path.decided_by,
            explanation=self.explainer.path(facts, path, partial),
            hops=trace.forth if trace else (),
            hops_back=trace.back if trace else (),
            fixes=self.fixes.find(facts, path) if wanted else (),
            partial=partial,
            stoppers=path.stoppers(),
        )

    def group(self, group: PairGroup, *, fixes: bool = True) -> Group:
        """One group, explained by its example pair."""
        facts = group.example
        fixes = fixes and len(self.snapshot.containers) <= MAX_CONTAINERS
        return Group(
            group.sources,
            group.destinations,
            facts.reachability,
            tuple(self.path(facts, path, fixes=fixes, address=group.same_address) for path in facts.paths),
            (facts.source, facts.destination),
        )


def analyse(snapshot: Snapshot, analyser: Analyser | None = None) -> Analysis:
    """What there is to say about pairs and names of one host; `analyser` is of the same snapshot."""
    analyser = analyser or Analyser(snapshot)
    reserved = analyser.reserved(snapshot)
    matrix = PairMatrix(snapshot, analyser.pairs, reserved.solutions)
    groups = tuple(analyser.group(g) for g in group_columns(matrix))
    beyond = (replace(g, example=reserved.own(g.example)) for g in group_pairs(reserved.all_pairs()))
    endpoints = tuple(analyser.group(g, fixes=False) for g in beyond)
    return Analysis(
        snapshot=snapshot,
        interfaces=interface_roles(analyser.tracer.world),
        groups=groups,
        endpoints=endpoints,
        names=tuple(analyser.resolver.scope(c.name) for c in snapshot.containers),
        gaps=snapshot.gaps,
        notes=_notes(snapshot),
        roles={c.name: mode_phrase(snapshot, c) for c in snapshot.containers},
    )


def _notes(snapshot: Snapshot) -> tuple[str, ...]:
    """Which addresses stay and which change on restart."""
    fixed = [c.name for c in snapshot.containers if any(e.fixed_ip for e in c.endpoints)]
    notes = []
    if fixed:
        notes.append(say("Addresses chosen with --ip stay over restarts: {names}.", names=listed(fixed)))
    if any(c.endpoints for c in snapshot.containers):
        notes.append(say("All other addresses may change when containers restart: use names where they resolve."))
    return tuple(notes)
