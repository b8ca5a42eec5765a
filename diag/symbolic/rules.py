"""Rules over sets: what a chain does with every flow at once.

A chain is summed up once per view, for all flows; its callers cut that down to what they send it. Where a rule cannot be
told exactly, or does what is not followed here (most NAT, marks that something reads, a program in user space), the flows
that may meet it are `unclear`, and the interpreter decides their pairs.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from diag.model.address import Family, Ip
from diag.model.netfilter import (
    Accept,
    AnyBit,
    AnyOf,
    Chain,
    ChainType,
    CopyMark,
    Drop,
    FibOif,
    Field,
    Goto,
    Hook,
    InSet,
    Jump,
    MapMark,
    Masked,
    Match,
    Named,
    NamedSet,
    Nat,
    NatKind,
    NfRule,
    NfTable,
    NoEffect,
    Notrack,
    Opaque,
    OpaqueStatement,
    Queue,
    Reject,
    Return,
    Ruleset,
    SetMark,
    Statement,
    TableFamily,
    VerdictMap,
    Within,
)
from diag.model.provenance import Evidence
from diag.symbolic.space import Set
from diag.symbolic.view import View

_MATCHES = (Within, Masked, AnyBit, Named, AnyOf, InSet, FibOif, Opaque)
_MARKS = (Field.MARK, Field.CT_MARK)
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Blocker:
    """What stops flows: a rule, or several that say the same of their own destination."""

    key: str
    rejects: bool = False


@dataclass(slots=True)
class Outcome:
    """What becomes of flows: disjoint sets."""

    accepted: Set
    back: Set
    """To the caller, or the policy."""
    unclear: Set
    masked: Set
    """Their source becomes the host's address on the link by which they leave (MASQUERADE)."""
    diverted: Set
    """They go to an address that is not the host's own (DNAT)."""
    stopped: dict[Blocker, Set] = field(default_factory=dict)

    @classmethod
    def none(cls, nothing: Set) -> Outcome:
        return cls(nothing, nothing, nothing, nothing, nothing)

    def add(self, other: Outcome, flows: Set) -> None:
        """What becomes of some of the flows by other rules."""
        self.accepted = self.accepted | (flows & other.accepted)
        self.back = self.back | (flows & other.back)
        self.unclear = self.unclear | (flows & other.unclear)
        self.masked = self.masked | (flows & other.masked)
        self.diverted = self.diverted | (flows & other.diverted)
        for blocker, stopped in other.stopped.items():
            self.stop(blocker, flows & stopped)

    def stop(self, blocker: Blocker, flows: Set) -> None:
        known = self.stopped.get(blocker)
        self.stopped[blocker] = flows if known is None else known | flows


def blocker_key(evidence: Evidence, destination: int | None) -> str:
    """A rule's file and text, with the address of the flow's own destination left out."""
    text = evidence.text
    if destination is not None:
        text = text.replace(str(Ip(Family.IPV4, destination)), "destination")
    return f"{evidence.file} {text}"


class RuleWalker:
    """The rulesets of the host, walked with sets."""

    def __init__(self, ruleset: Ruleset, own: Container[int]) -> None:
        self.ruleset = ruleset
        self._own = own
        """The host's addresses."""
        self._marks_matter = any(part in _MARKS for part in _fields_read(ruleset))
        self._summaries: dict[tuple[View, str, str, str], Outcome] = {}

    @property
    def rejects(self) -> bool:
        """Some rule answers instead of dropping in silence."""
        verdicts = (e.verdict for t in self.ruleset.tables for s in t.sets.values() for e in s.elements)
        parts = (p for t in self.ruleset.tables for c in t.chains.values() for r in c.rules for p in r.parts)
        return any(isinstance(part, Reject) for part in (*verdicts, *parts))

    def base_chains(self, hook: Hook, kind: ChainType) -> Iterator[tuple[int, NfTable, Chain]]:
        """Those that IPv4 packets meet at a hook, by priority; NAT chains apart from the others."""
        found = [
            (chain.base.priority, table, chain)
            for table in self.ruleset.tables
            if table.family in (TableFamily.IP, TableFamily.INET)
            for chain in table.chains.values()
            if chain.base is not None
            and chain.base.hook is hook
            and (chain.base.type is ChainType.NAT) == (kind is ChainType.NAT)
            and (chain.rules or chain.base.policy_drop)
        ]
        yield from sorted(found, key=lambda item: item[0])

    def run(self, view: View, table: NfTable, chain: Chain, flows: Set, outcome: Outcome) -> Set:
        """A base chain; returns what passes, and adds the rest to `outcome`."""
        found = self._chain(view, table, chain, 0)
        outcome.unclear = outcome.unclear | (flows & found.unclear)
        outcome.masked = outcome.masked | (flows & found.masked)
        outcome.diverted = outcome.diverted | (flows & found.diverted)
        nothing = view.space.empty
        for blocker, stopped in found.stopped.items():
            here = flows & stopped
            if here != nothing:
                outcome.stop(blocker, here)
        passed = flows & (found.accepted | found.masked)
        if chain.base is None or not chain.base.policy_drop:
            return passed | (flows & found.back)
        evidence = chain.base.evidence or Evidence("", 0, f"policy of {chain.name}")
        outcome.stop(Blocker(blocker_key(evidence, None)), flows & found.back)
        return passed

    def _chain(self, view: View, table: NfTable, chain: Chain, depth: int) -> Outcome:
        key = (view, table.family.value + table.origin.value, table.name, chain.name)
        if key not in self._summaries:
            self._summaries[key] = self._sum_up(view, table, chain, depth)
        return self._summaries[key]

    def _sum_up(self, view: View, table: NfTable, chain: Chain, depth: int) -> Outcome:
        found, left = self._part(view, table, chain.rules, depth)
        found.back = found.back | left
        return found

    def _part(self, view: View, table: NfTable, rules: tuple[NfRule, ...], depth: int) -> tuple[Outcome, Set]:
        """Some rules in a row, and the flows that no rule of them ends.

        By halves: sets of many small parts are joined when both sides are about as large.
        """
        if len(rules) <= 1:
            found, left = Outcome.none(view.space.empty), view.space.all
            for rule in rules:
                left = self._rule(view, table, rule, left, found, depth)
            return found, left
        middle = len(rules) // 2
        found, left = self._part(view, table, rules[:middle], depth)
        then, rest = self._part(view, table, rules[middle:], depth)
        found.add(then, left)
        return found, left & rest

    def _rule(self, view: View, table: NfTable, rule: NfRule, left: Set, found: Outcome, depth: int) -> Set:
        """One rule for the flows that are left; returns those that go on to the next rule."""
        here, sure, nothing = left, True, view.space.empty

        def find_set(match: InSet) -> NamedSet | None:
            return self.ruleset.ipsets.get(match.set_name) if match.ipset else table.sets.get(match.set_name)

        for part in rule.parts:
            if isinstance(part, _MATCHES):
                holds = view.holds(part, find_set)
                if holds is None:
                    sure = False
                    continue
                here = here & holds
                if here == nothing:
                    return left
                continue
            if self._is_inert(part):
                continue
            if not sure:
                found.unclear = found.unclear | here
                return left & ~here
            going_on = self._statement(view, table, rule, part, here, found, depth)
            left = left & ~(here & ~going_on)
            here = going_on
            if here == nothing:
                return left
        return left

    def _is_inert(self, statement: Statement) -> bool:
        if isinstance(statement, (SetMark, CopyMark, MapMark)):
            return not self._marks_matter
        return isinstance(statement, NoEffect)

    def _statement(
        self, view: View, table: NfTable, rule: NfRule, statement: Statement, here: Set, found: Outcome, depth: int
    ) -> Set:
        """Returns the flows that go on in the rule."""
        nothing = view.space.empty
        match statement:
            case Accept():
                found.accepted = found.accepted | here
            case Drop() | Reject():
                found.stop(Blocker(blocker_key(rule.evidence, _own(rule)), isinstance(statement, Reject)), here)
            case Return():
                found.back = found.back | here
            case Jump(name) | Goto(name):
                return self._jump(view, table, name, here, found, depth, goto=isinstance(statement, Goto))
            case VerdictMap(fields, name):
                return self._verdict_map(view, table, rule, fields, table.sets.get(name), here, found, depth)
            case NoEffect():
                return here
            case Nat(family=TableFamily.IP6):
                return here
            case Nat():
                self._nat(view, statement, here, found)
            case Queue() | SetMark() | CopyMark() | MapMark() | Notrack() | OpaqueStatement():
                found.unclear = found.unclear | here
        return nothing

    def _nat(self, view: View, nat: Nat, here: Set, found: Outcome) -> None:
        plain = not (nat.unmodelled or nat.ports or nat.random or nat.address_map or nat.port_map)
        fixed = bool(nat.addresses) and not (nat.unmodelled or nat.address_map or nat.port_map)
        fixed = fixed and all(low == high and low.value not in self._own for low, high in nat.addresses)
        if nat.kind is NatKind.MASQUERADE and plain and view.hook is Hook.POSTROUTING:
            found.masked = found.masked | here
        elif nat.kind is NatKind.DNAT and fixed and view.hook is Hook.PREROUTING:
            found.diverted = found.diverted | here
        else:
            found.unclear = found.unclear | here

    def _jump(self, view: View, table: NfTable, name: str, here: Set, found: Outcome, depth: int, *, goto: bool) -> Set:
        target = table.chains.get(name)
        if target is None or depth > _MAX_DEPTH:
            found.unclear = found.unclear | here
            return view.space.empty
        inner = self._chain(view, table, target, depth + 1)
        returned = found.back
        found.add(inner, here)
        found.back, back = returned, here & inner.back
        if not goto:
            return back
        found.back = found.back | back
        return view.space.empty

    def _verdict_map(
        self,
        view: View,
        table: NfTable,
        rule: NfRule,
        fields: tuple[Field, ...],
        named: NamedSet | None,
        here: Set,
        found: Outcome,
        depth: int,
    ) -> Set:
        if named is None or named.unmodelled:
            found.unclear = found.unclear | here
            return view.space.empty
        going_on = here
        for element in named.elements:
            holds = view.element(fields, element)
            if holds is None:
                found.unclear = found.unclear | going_on
                return view.space.empty
            inside = going_on & holds
            if inside == view.space.empty or element.verdict is None:
                continue
            after = self._statement(view, table, rule, element.verdict, inside, found, depth)
            going_on = (going_on & ~inside) | after
        return going_on


def _own(rule: NfRule) -> int | None:
    """The one address that a rule is about, which is then the destination of whatever meets it."""
    for part in rule.parts:
        if isinstance(part, Within) and part.field is Field.DADDR and not part.negated and len(part.ranges) == 1:
            low, high = part.ranges[0]
            return low if low == high else None
    return None


def _fields_read(ruleset: Ruleset) -> Iterator[Field]:
    for table in ruleset.tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                for part in rule.parts:
                    yield from _read_by(part)


def _read_by(part: Match | Statement) -> Iterator[Field]:
    match part:
        case Within(field=where) | Masked(field=where) | AnyBit(field=where) | Named(field=where):
            yield where
        case InSet(fields=fields) | VerdictMap(fields=fields):
            yield from fields
        case AnyOf(alternatives=alternatives):
            for alternative in alternatives:
                for inner in alternative:
                    yield from _read_by(inner)
        case FibOif(marked=True) | Opaque() | OpaqueStatement():
            yield Field.MARK
