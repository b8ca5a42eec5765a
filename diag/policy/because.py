"""Why an expectation does not hold, told of one of its pairs: the facts, the evidence, and what would help."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.analysis import Analysis, Fix, PortSet
from diag.model.flow import Flow, HopKind, Protocol, Trace
from diag.model.message import listed, say, sentences
from diag.model.provenance import Evidence
from diag.model.reasons import Reachability
from diag.policy.model import Deny, Only, Policy, Reach
from diag.policy.select import Members
from diag.policy.traffic import ALL_TRAFFIC, Traffic
from diag.policy.wording import traffic_words
from diag.reach.analysis import Analyser
from diag.reach.beyond import RESERVED, with_world
from diag.reach.explanation import flow_text
from diag.reach.fixes import MAX_CONTAINERS
from diag.reach.pairs import PairFacts, PathFacts
from diag.reach.reserved import ReservedPairs
from diag.reach.windows import Span, part_of

MAX_FIXED, MAX_FIXED_LARGE = 16, 2
"""Expectations that get fixes; on a host of more than :data:`MAX_CONTAINERS` each proof takes seconds."""


class Why(Struct, frozen=True):
    """The answer."""

    text: str
    evidence: Evidence | None = None
    fixes: tuple[Fix, ...] = ()


class Because:
    """Explains pairs of one host. What is needed for that is made when the first is asked for."""

    def __init__(self, analysis: Analysis, policy: Policy, members: Members, *, fixes: bool) -> None:
        self._snapshot = analysis.snapshot
        self._policy = policy
        self._members = members
        large = len(self._snapshot.containers) > MAX_CONTAINERS
        self._left = (MAX_FIXED_LARGE if large else MAX_FIXED) if fixes else 0
        """Expectations that may still be given fixes."""
        self._fixed: dict[tuple[tuple[str, str], Traffic], tuple[Fix, ...]] = {}

    def pair(self, expected: Reach | Deny | Only, pair: tuple[str, str], traffic: Traffic, *, certain: bool) -> Why:
        """Why `traffic` of a pair does not get there or does, or why that cannot be told."""
        beyond = not set(pair).isdisjoint(RESERVED)
        analyser = self._beyond if beyond else self._analyser
        facts = self._reserved.pair(*pair) if beyond else self._between(pair)
        if not isinstance(expected, Reach) and certain:
            return self._let_through(analyser, facts, traffic)
        if not traffic or facts.reachability is Reachability.UNREACHABLE:
            why = self._whole(analyser, facts)
            path = facts.paths[0]
        else:
            why, path = self._part(analyser, facts, traffic)
        return replace(why, fixes=self._fixes(facts, path, traffic)) if certain and not beyond else why

    @cached_property
    def _analyser(self) -> Analyser:
        return Analyser(self._snapshot)

    @cached_property
    def _beyond(self) -> Analyser:
        return Analyser(with_world(self._snapshot))

    @cached_property
    def _reserved(self) -> ReservedPairs:
        return self._beyond.reserved(self._snapshot)

    def _between(self, pair: tuple[str, str]) -> PairFacts:
        source, destination = (self._snapshot.container(name) for name in pair)
        assert source is not None
        assert destination is not None
        return self._analyser.pairs.pair(source, destination)

    def _whole(self, analyser: Analyser, facts: PairFacts) -> Why:
        """Of the pair as a whole."""
        text = sentences(dict.fromkeys(analyser.explainer.path(facts, path) for path in facts.paths))
        return Why(text, facts.paths[0].decided_by)

    def _part(self, analyser: Analyser, facts: PairFacts, traffic: Traffic) -> tuple[Why, PathFacts]:
        """Of the flows that are stopped or not known, by the path that is best else."""
        path = facts.paths[0]
        part = _narrowed(analyser, path, traffic)
        trace = _retraced(analyser.tracer, part) if part is not None else None
        if part is None or trace is None or part.reachability not in (Reachability.UNREACHABLE, Reachability.UNKNOWN):
            return self._whole(analyser, facts), path
        text = flow_text(facts.source, facts.destination, part.reachability, trace)
        return Why(text, trace.decided_by), part

    def _let_through(self, analyser: Analyser, facts: PairFacts, traffic: Traffic) -> Why:
        """By the first address at which some of it gets there. No command is given: what to close is not ours to say."""
        for path in facts.paths:
            through = traffic & Traffic.known(path.allowed)
            if through and path.target is not None:
                part = _narrowed(analyser, path, through) or path
                text = _reaches(facts, str(path.target.ip), through, analyser.explainer.how(*_ends(facts), part))
                return Why(text, part.decided_by or _accepted(part))
        return self._whole(analyser, facts)

    def _fixes(self, facts: PairFacts, path: PathFacts, traffic: Traffic) -> tuple[Fix, ...]:
        """Those after which the expectation holds of the pair."""
        key = _ends(facts), traffic
        if key not in self._fixed:
            if not self._left:
                return ()
            self._left -= 1
            found = self._analyser.fixes.find(facts, path)
            enough = [fix for fix in found if fix.effect is Reachability.REACHABLE or not traffic]
            marked = [(self._against(fix), fix) for fix in enough]
            marked.sort(key=lambda each: bool(each[0]))
            self._fixed[key] = tuple(_noted(fix, ids) for ids, fix in marked)
        return self._fixed[key]

    def _against(self, fix: Fix) -> tuple[str, ...]:
        """The policy's own expectations that a fix would go against."""
        members = self._members
        found = []
        forbidding: tuple[Deny | Only, ...] = (*self._policy.deny, *self._policy.only)
        for expected in forbidding:
            sources, destinations = members.any_of(expected.sources), members.any_of(expected.destinations)
            if isinstance(expected, Only):
                sources = members.containers & ~sources
            if any(members.bit[a] & sources and members.bit[b] & destinations for a, b in fix.opens):
                found.append(expected.id)
        return tuple(found)


def _ends(facts: PairFacts) -> tuple[str, str]:
    return facts.source, facts.destination


def _reaches(facts: PairFacts, ip: str, through: Traffic, how: str) -> str:
    a, b = _ends(facts)
    if through == ALL_TRAFFIC:
        return say("{a} reaches {b} at {ip}: {how}.", a=a, b=b, ip=ip, how=how)
    return say("{a} reaches {b} at {ip} on {allowed}: {how}.", a=a, b=b, ip=ip, allowed=traffic_words(through), how=how)


def _noted(fix: Fix, against: tuple[str, ...]) -> Fix:
    if not against:
        return fix
    note = say("It goes against {ids} of the same policy.", ids=listed(against))
    return replace(fix, note=sentences((fix.note, note)))


def _narrowed(analyser: Analyser, path: PathFacts, traffic: Traffic) -> PathFacts | None:
    """The path for some of its flows only; None where these were not looked at one by one."""
    if path.sweep is None or path.target is None:
        return None
    spans = [part for span in path.sweep.spans if (part := _cut(span, traffic)) is not None]
    return analyser.pairs.path_of(path.target, part_of(path.sweep.address, spans)) if spans else None


def _cut(span: Span, traffic: Traffic) -> Span | None:
    if span.protocol is Protocol.ICMP:
        return span if traffic.icmp else None
    ports = PortSet(tuple(span.ranges))
    asked = Traffic(tcp=ports) if span.protocol is Protocol.TCP else Traffic(udp=ports)
    both = asked & traffic
    left = both.tcp or both.udp
    return replace(span, ranges=left.ranges) if left else None


def _retraced(tracer: Tracer, part: PathFacts) -> Trace | None:
    """The first of the flows, on its own port."""
    if part.sweep is None:
        return None
    witness = part.sweep.witness()
    span = next((s for s in part.sweep.spans if s.trace is witness), part.sweep.spans[0])
    return tracer.trace(Flow(witness.flow.source, part.sweep.address, span.protocol, span.ranges[0][0]))


def _accepted(part: PathFacts) -> Evidence | None:
    """The rule that let it through."""
    hops = part.sweep.witness().forth if part.sweep else ()
    return next((hop.evidence for hop in reversed(hops) if hop.kind is HopKind.RULE), None)
