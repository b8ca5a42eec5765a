"""What rules stop of the traffic that should pass: between containers of one network, and on their way out.

Taken from the analysis, where each stop is proved; Docker's own rules that keep networks apart have reasons of their own there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from typing import TYPE_CHECKING

from msgspec import Struct

from diag.findings.host_rules import NATIVE_TABLE
from diag.findings.phrases import some
from diag.model.analysis import Group, Path
from diag.model.docker import DockerNetwork
from diag.model.message import say
from diag.model.netfilter import NfRule, NfTable, Origin, TableFamily
from diag.model.provenance import Evidence
from diag.model.reasons import Reachability, Reason

if TYPE_CHECKING:
    from diag.findings.check import Facts

_RULES = frozenset({Reason.FIREWALL_DROP, Reason.FIREWALL_REJECT, Reason.POLICY_DROP, Reason.REPLY_BLOCKED})
_BRIDGE = re.compile(r"\bbr-[0-9a-f]{12}\b")
_LONGEST = 300
"""Characters of a subject: comments may have more than anyone reads."""
_BLOCKED = frozenset({Reachability.UNREACHABLE, Reachability.PARTIAL})


class Culprit(Struct, frozen=True):
    """The rule or the policy that stops it."""

    netns: str
    table: NfTable
    chain: str
    rule: NfRule | None
    """None: the chain's policy."""
    evidence: Evidence

    @property
    def is_docker(self) -> bool:
        """Docker itself made it."""
        own = self.table.name == NATIVE_TABLE or self.chain.startswith("DOCKER")
        return self.netns == "host" and own and self.chain != "DOCKER-USER"


class Blocked(Struct, frozen=True):
    """What one rule stops."""

    culprit: Culprit
    network: DockerNetwork | None
    """The one that the containers share; None: it stops their way out."""
    pairs: tuple[tuple[str, str], ...]
    """Some of them."""
    count: int
    wholly: bool
    """For some of them nothing at all passes, and nothing but this rule is why."""


def all_blocked(facts: Facts) -> tuple[Blocked, ...]:
    """By rule and network, in the order of the evidence."""
    analysis = facts.analysis
    found: dict[tuple[Evidence, str], list[tuple[Group, Path]]] = {}
    for group in analysis.groups:
        for path in group.paths:
            if path.stoppers and path.reachability in _BLOCKED and _shared(facts, group, path):
                for reason, evidence in path.stoppers:
                    if reason in _RULES:
                        found.setdefault((evidence, path.network), []).append((group, path))
    for group in analysis.endpoints:
        if group.destinations == ("@world",) and group.reachability is Reachability.UNREACHABLE:
            for path in group.paths:
                for reason, evidence in path.stoppers:
                    if reason in _RULES:
                        found.setdefault((evidence, ""), []).append((group, path))
    if not found:
        return ()
    places = dict(_places(facts, {evidence for evidence, _ in found}))
    return tuple(
        _blocked(facts, places[evidence], network, stopped)
        for (evidence, network), stopped in sorted(found.items(), key=lambda item: item[0])
        if evidence in places and not places[evidence].is_docker
    )


def _blocked(facts: Facts, culprit: Culprit, network: str, stopped: list[tuple[Group, Path]]) -> Blocked:
    pairs = dict.fromkeys(pair for group, _ in stopped for pair in _first_pairs(group))
    count = sum({id(group): group.pairs for group, _ in stopped}.values())
    wholly = any(path.reachability is Reachability.UNREACHABLE and len(path.stoppers) == 1 for _, path in stopped)
    return Blocked(culprit, facts.snapshot.network(network) if network else None, tuple(pairs), count, wholly)


def _first_pairs(group: Group) -> Iterator[tuple[str, str]]:
    yield group.example
    for source in group.sources[:3]:
        for destination in group.destinations[:3]:
            if source != destination:
                yield source, destination


def _shared(facts: Facts, group: Group, path: Path) -> bool:
    """Whether both ends of a pair are on the network of the path's address."""
    return bool(path.network) and all(path.network in facts.networks_of(name) for name in group.example)


def _places(facts: Facts, wanted: Set[Evidence]) -> Iterator[tuple[Evidence, Culprit]]:
    lines = {evidence.line for evidence in wanted}  # a number is found sooner than evidence, which most rules are not
    for netns, space in facts.snapshot.netns.items():
        for table in space.ruleset.tables:
            for chain in table.chains.values():
                if chain.base is not None and chain.base.evidence is not None and chain.base.evidence in wanted:
                    evidence = chain.base.evidence
                    yield evidence, Culprit(netns, table, chain.name, None, evidence)
                for rule in [rule for rule in chain.rules if rule.evidence.line in lines]:
                    if rule.evidence in wanted:
                        yield rule.evidence, Culprit(netns, table, chain.name, rule, rule.evidence)


def by_culprit(stops: Iterable[Blocked]) -> Iterator[tuple[Culprit, list[Blocked]]]:
    """What each rule or policy stops, on whichever network."""
    found: dict[Evidence, list[Blocked]] = {}
    for blocked in stops:
        found.setdefault(blocked.culprit.evidence, []).append(blocked)
    for stopped in found.values():
        yield stopped[0].culprit, stopped


def what_is_stopped(stopped: Iterable[Blocked]) -> str:
    """`web to db and 3 more on app`, or the way out of containers."""
    return some(_stop(blocked) for blocked in stopped)


def _stop(blocked: Blocked) -> str:
    if blocked.network is None:
        return say("{names} to the world", names=some(dict.fromkeys(source for source, _ in blocked.pairs)))
    source, destination = blocked.pairs[0]
    pair, more = say("{a} to {b}", a=source, b=destination), blocked.count - 1
    if more > 0:
        return say("{pair} and {n} more on {network}", pair=pair, n=more, network=blocked.network.name)
    return say("{pair} on {network}", pair=pair, network=blocked.network.name)


def subject_of(facts: Facts, culprit: Culprit) -> str:
    """A name for the rule or policy that stays while it does, bridges by the networks that they are of."""
    where = f"{culprit.table.name} {culprit.chain}"
    if culprit.table.family is TableFamily.IP6:
        where += " (IPv6)"
    if culprit.netns != "host":
        where = f"{facts.world.label(culprit.netns)}: {where}"
    if culprit.rule is None:
        return f"{where} policy"
    what = culprit.rule.comment or _body(culprit)
    names = {network.bridge_name: network.name for network in facts.snapshot.networks}
    return f"{where}: {_BRIDGE.sub(lambda found: names.get(found[0], found[0]), what)}"[:_LONGEST]


def _body(culprit: Culprit) -> str:
    """The rule without its place."""
    text = culprit.evidence.text
    if culprit.table.origin is Origin.NFT:
        return text.partition(f"{culprit.chain}: ")[2] or text
    return text.removeprefix(f"-A {culprit.chain} ")
