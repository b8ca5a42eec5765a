"""Rules over sets: what a chain does with every flow at once.

A chain is summed up once per view, for all flows; its callers cut that down to what they send it. Where a rule cannot be
told exactly, or does what is not followed here (most NAT, marks that something reads, a program in user space), the flows
that may meet it are `unclear`, and the interpreter decides their pairs. A match that nobody models splits what is certain
from what may be: flows go on as if it failed, and whatever the rule would do to them is kept as a possibility.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cached_property

from msgspec import Struct, field
from msgspec.structs import replace

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
    SetHopLimit,
    SetMark,
    Statement,
    TableFamily,
    VerdictMap,
    Within,
)
from diag.model.provenance import Evidence
from diag.symbolic.product import Product, union
from diag.symbolic.space import PacketSpace, Set
from diag.symbolic.tables import TABLES
from diag.symbolic.view import OF_PORTS, View

_MATCHES = (Within, Masked, AnyBit, Named, AnyOf, InSet, FibOif, Opaque)
_PLAIN = (Within, Masked, AnyBit, Named)
"""Matches that look nothing up."""
_Plain = Within | Masked | AnyBit | Named
_MARKS = (Field.MARK, Field.CT_MARK)
_MAX_DEPTH = 64
_SHORT = 8
"""Rules of a chain that are walked in a row."""


class Blocker(Struct, frozen=True):
    """What stops flows: a rule, or several that say the same of their own destination."""

    key: str
    rejects: bool = False


class Translation(Struct, frozen=True):
    """A destination that a DNAT rule gives flows instead of their own."""

    ip: int
    port: int | None
    """None: each keeps its own."""
    evidence: Evidence


class Outcome(Struct):
    """What becomes of flows: disjoint sets."""

    nothing: Set
    accepted: Set
    back: Set
    """To the caller, or the policy."""
    unclear: Set
    masked: Set
    """Their source becomes the host's address on the link by which they leave (MASQUERADE)."""
    elsewhere: Set
    """They go to an address that is not the host's own (DNAT)."""
    may_pass: Set
    may_stop: Set
    """What a rule of which it is not known whether it matches would do to flows of any of the other sets."""
    stopped: dict[Blocker, Set] = field(default_factory=dict)
    diverted: dict[Translation, Product] = field(default_factory=dict)
    """What goes `elsewhere`, by the address, as far as it is in `diverting`."""
    diverting: Set | None = None
    """None: all flows. Of published ports there are thousands, which are not cut down one by one."""

    @classmethod
    def none(cls, nothing: Set) -> Outcome:
        return cls(nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing)

    def add(self, other: Outcome, flows: Set | None) -> None:
        """What becomes of some of the flows by other rules; of all that these rules are about, where none is given."""

        def join(known: Set, found: Set) -> Set:
            if found == self.nothing:
                return known
            return known | (found if flows is None else flows & found)

        self.accepted = join(self.accepted, other.accepted)
        self.back = join(self.back, other.back)
        self.unclear = join(self.unclear, other.unclear)
        self.masked = join(self.masked, other.masked)
        self.may_pass = join(self.may_pass, other.may_pass)
        self.may_stop = join(self.may_stop, other.may_stop)
        for blocker, stopped in other.stopped.items():
            self.stop(blocker, stopped if flows is None else flows & stopped)
        if other.diverted:
            self.add_diverted(other, flows)

    def stop(self, blocker: Blocker, flows: Set) -> None:
        known = self.stopped.get(blocker)
        self.stopped[blocker] = flows if known is None else known | flows

    def add_diverted(self, other: Outcome, flows: Set | None) -> None:
        """The part of :meth:`add` that is about new destinations."""
        both = [cut for cut in (other.diverting, flows) if cut is not None]
        within = both[0] & both[-1] if both else None
        self.elsewhere = self.elsewhere | (other.elsewhere if flows is None else other.elsewhere & flows)
        if not self.diverted:
            self.diverted, self.diverting = other.diverted.copy(), within
            return
        if self.diverting is not None:
            self.diverted = {key: found.within(self.diverting) for key, found in self.diverted.items()}
            self.diverting = None
        for translation, diverted in other.diverted.items():
            self._send(translation, diverted if within is None else diverted.within(within))

    def divert(self, translation: Translation, flows: Product) -> None:
        self.elsewhere = self.elsewhere | flows.flows
        self._send(translation, flows)

    def _send(self, translation: Translation, flows: Product) -> None:
        known = self.diverted.get(translation)
        self.diverted[translation] = flows if known is None else known.joined(flows)


class _Where(Struct, frozen=True):
    """Which chains are walked, and for what."""

    view: View
    table: NfTable
    within: Set
    """Flows that can come here at all: chains that none of them would enter are not summed up."""
    depth: int = 0

    def inner(self) -> _Where:
        return replace(self, depth=self.depth + 1)


_Effect = Accept | Blocker | Translation | NatKind
"""NatKind: MASQUERADE."""


class _Simple(Struct, frozen=True):
    """A rule that ends all flows that it fits."""

    fits: Product
    effect: _Effect | None
    """None: it fits none."""


class _Shape(Struct, frozen=True):
    """A rule up to its first statement."""

    of_pairs: tuple[_Plain, ...]
    of_ports: tuple[_Plain, ...]
    act: Match | Statement
    """Or a match that is none of these."""


class _Part(Struct, frozen=True):
    """What some rules in a row do."""

    found: Outcome
    left: Set
    """The flows that none of them ends."""
    ports: Set
    """Protocols and ports, of any pair, outside of which no flow is ended."""


About = Ip | str | None
"""The one destination that a rule is about, or the one bridge or uplink towards it, if it is about one."""


class RuleWalker:
    """The rulesets of the host, walked with sets."""

    def __init__(
        self,
        ruleset: Ruleset,
        family: Family,
        own: Container[int],
        bridge_of: Mapping[Ip, str],
        *,
        routes_by_mark: bool = False,
    ) -> None:
        self.ruleset = ruleset
        self._bridge_of = bridge_of
        self._family = family
        self._tables = (TABLES[family], TableFamily.INET)
        self._own = own
        """The host's addresses."""
        self.reads = _fields_read(ruleset)
        """What any rule looks at."""
        self.blockers: dict[tuple[str, About], Evidence | None] = {}
        """The rule behind each key, by what it is about; None where there are several."""
        self._marks_matter = routes_by_mark or not self.reads.isdisjoint(_MARKS)
        self._summaries: dict[tuple[View, str, str, str, Set | None], Outcome] = {}
        """By the flows that a summary is for; None: for all."""
        self._shapes: dict[int, _Shape | None] = {}
        """By the rule's identity."""
        self._pruned = 0
        """How often something was left out of a summary: one during which this grows is for some flows only."""

    @cached_property
    def rejects(self) -> bool:
        """Some rule answers instead of dropping in silence."""
        verdicts = (e.verdict for t in self.ruleset.tables for s in t.sets.values() for e in s.elements)
        chains = (chain for table in self.ruleset.tables for chain in table.chains.values())
        return any(isinstance(verdict, Reject) for verdict in verdicts) or any(have(c.rules, Reject) for c in chains)

    def base_chains(self, hook: Hook, kind: ChainType) -> Iterator[tuple[int, NfTable, Chain]]:
        """Those that packets meet at a hook, by priority; NAT chains apart from the others."""
        found = [
            (chain.base.priority, table, chain)
            for table in self.ruleset.tables
            if table.family in self._tables
            for chain in table.chains.values()
            if chain.base is not None
            and chain.base.hook is hook
            and (chain.base.type is ChainType.NAT) == (kind is ChainType.NAT)
            and (chain.rules or chain.base.policy_drop)
        ]
        yield from sorted(found, key=lambda item: item[0])

    def run(self, view: View, table: NfTable, chain: Chain, flows: Set, outcome: Outcome) -> Set:
        """A base chain; returns what passes, and adds the rest to `outcome`.

        What a rule may let pass before another one stops it, passes, and may be stopped.
        """
        found = self._chain(_Where(view, table, flows), chain)
        nothing, perhaps = view.space.empty, flows & found.may_pass
        outcome.unclear = outcome.unclear | (flows & found.unclear)
        outcome.masked = outcome.masked | (flows & found.masked)
        if found.diverted:
            outcome.add_diverted(found, flows)
        passed, rest = flows & (found.accepted | found.masked), flows & found.back
        stopped = list(found.stopped.items())
        if chain.base is None or not chain.base.policy_drop:
            passed = passed | rest
        else:
            evidence = chain.base.evidence or Evidence("", 0, f"policy of {chain.name}")
            stopped.append((Blocker(_key(evidence, {})), rest))
        for blocker, ended in stopped:
            here = flows & ended
            if here == nothing:
                continue
            outcome.stop(blocker, here & ~perhaps)
            outcome.may_stop = outcome.may_stop | (here & perhaps)
            passed = passed | (here & perhaps)
        outcome.unclear = outcome.unclear | (perhaps & (found.masked | ~passed))
        outcome.may_stop = outcome.may_stop | (flows & found.may_stop)
        return passed

    def _chain(self, where: _Where, chain: Chain) -> Outcome:
        table = where.table
        key = (where.view, table.family.value + table.origin.value, table.name, chain.name)
        universal = self._summaries.get((*key, None))
        if universal is not None:
            return universal
        found, before = self._summaries.get((*key, where.within)), self._pruned
        if found is not None:
            self._pruned += 1
            return found
        found = self._sum_up(where, chain)
        self._summaries[*key, None if self._pruned == before else where.within] = found
        return found

    def _sum_up(self, where: _Where, chain: Chain) -> Outcome:
        if len(chain.rules) <= _SHORT:
            return self._in_a_row(where, chain.rules)
        translates = have(chain.rules, Nat)
        simple = tuple(self._simple(where.view, rule) for rule in chain.rules)
        part = self._part(where, chain.rules, simple, by_port=translates)
        part.found.back = part.found.back | part.left
        return part.found

    def _in_a_row(self, where: _Where, rules: tuple[NfRule, ...]) -> Outcome:
        """A short chain, rule by rule, each for the flows that the others leave."""
        space = where.view.space
        found, left = Outcome.none(space.empty), space.all
        for rule in rules:
            left = self._rule(replace(where, within=where.within & left), rule, left, found)
        found.back = found.back | left
        return found

    def _part(
        self, where: _Where, rules: tuple[NfRule, ...], simple: tuple[_Simple | None, ...], *, by_port: bool
    ) -> _Part:
        """Some rules in a row, with what is known of each that is simple.

        By halves: sets of many small parts are joined when both sides are about as large. Of published ports there are
        thousands, each for ports that no other rule is about (`by_port`), which then need not be cut down to what the
        rules before leave.
        """
        space = where.view.space
        at_once = self._at_once(space, simple, by_port=by_port)
        if at_once is not None:
            return at_once
        if len(rules) <= 1:
            found, left = Outcome.none(space.empty), space.all
            for rule in rules:
                left = self._rule(where, rule, left, found)
            return _Part(found, left, space.ports_of(~left) if by_port else space.all)
        middle = len(rules) // 2
        first = self._part(where, rules[:middle], simple[:middle], by_port=by_port)
        then = self._part(where, rules[middle:], simple[middle:], by_port=by_port)
        apart = by_port and first.ports & then.ports == space.empty
        first.found.add(then.found, None if apart else first.left)
        return _Part(first.found, first.left & then.left, first.ports | then.ports)

    def _at_once(self, space: PacketSpace, simple: tuple[_Simple | None, ...], *, by_port: bool) -> _Part | None:
        """Simple rules that all do the same, or all send different ports elsewhere; None for others.

        Chains that are walked `by_port` have rules that send elsewhere.
        """
        if not simple or any(rule is None for rule in simple):
            return None
        some = [rule for rule in simple if rule is not None and rule.effect is not None]
        if not some:
            return _Part(Outcome.none(space.empty), space.all, space.empty)
        effects = {rule.effect: rule.fits for rule in some}
        elsewhere = {effect: fits for effect, fits in effects.items() if isinstance(effect, Translation)}
        if len(elsewhere) < len(some) if elsewhere else len(effects) > 1:
            return None
        about = [space.all if rule.fits.ports is None else rule.fits.ports for rule in some] if by_port else [space.all]
        ports = space.union_of_disjoint(about) if elsewhere else space.union(about)
        if ports is None:
            return None
        found, ended = Outcome.none(space.empty), union(space, (rule.fits for rule in some))
        match some[0].effect:
            case Accept():
                found.accepted = ended
            case NatKind():
                found.masked = ended
            case Blocker() as blocker:
                found.stop(blocker, ended)
            case _:
                found.diverted, found.elsewhere = elsewhere, ended
        return _Part(found, ~ended, ports)

    def _simple(self, view: View, rule: NfRule) -> _Simple | None:
        """What a rule of exact matches does that ends all flows that it fits; None for any other."""
        key = id(rule)  # the ruleset keeps every rule alive
        if key not in self._shapes:
            self._shapes[key] = self._shape(rule)
        shape = self._shapes[key]
        if shape is None:
            return None
        pairs, ports = view.space.all, None
        for match in shape.of_pairs:
            holds = view.plain(match)
            if holds is None:
                return None
            pairs = pairs & holds
        for match in shape.of_ports:
            holds = view.plain(match)
            if holds is None:
                return None
            ports = holds if ports is None else ports & holds
        fits = Product(pairs, ports)
        if view.space.empty in (pairs, ports):
            return _Simple(fits, None)
        effect = self._effect(view, rule, shape.act)
        return _Simple(fits, effect) if effect is not None else None

    def _shape(self, rule: NfRule) -> _Shape | None:
        """None: matches that look something up come before its first statement, or there is none."""
        of_pairs: list[_Plain] = []
        of_ports: list[_Plain] = []
        for part in rule.parts:
            if isinstance(part, _PLAIN):
                (of_ports if part.field in OF_PORTS else of_pairs).append(part)
            elif not self._is_inert(part):
                return _Shape(tuple(of_pairs), tuple(of_ports), part)
        return None

    def _effect(self, view: View, rule: NfRule, part: Match | Statement) -> _Effect | None:
        match part:
            case Accept():
                return part
            case Drop() | Reject():
                return Blocker(self._blocker_key(rule), isinstance(part, Reject))
            case Nat(family=family) if family is None or family in self._tables:
                return NatKind.MASQUERADE if _masks(view, part) else self._translation(view, part, rule.evidence)
            case _:
                return None

    def _rule(self, where: _Where, rule: NfRule, left: Set, found: Outcome) -> Set:
        """One rule for the flows that are left; returns those that go on to the next rule."""
        view, table = where.view, where.table
        here, sure, known, nothing = left, True, True, view.space.empty

        def find_set(match: InSet) -> NamedSet | None:
            return self.ruleset.ipsets.get(match.set_name) if match.ipset else table.sets.get(match.set_name)

        for part in rule.parts:
            if isinstance(part, Opaque):
                known = False
                continue
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
            if not known:
                if not self._perhaps(where, part, here, found):
                    found.unclear = found.unclear | here
                    return left & ~here
                continue
            going_on = self._statement(where, rule, part, here, found)
            left = left & ~(here & ~going_on)
            here = going_on
            if here == nothing:
                return left
        return left

    def _perhaps(self, where: _Where, statement: Statement, here: Set, found: Outcome) -> bool:
        """What a statement would do to flows that may meet it; False where that is more than to stop them or let them pass."""
        match statement:
            case Accept():
                found.may_pass = found.may_pass | here
            case Drop() | Reject():
                found.may_stop = found.may_stop | here
            case Jump(name) if name in where.table.chains and where.depth <= _MAX_DEPTH:
                if not self._is_entered(where, here):
                    return True
                inner, nothing = self._chain(where.inner(), where.table.chains[name]), where.view.space.empty
                found.unclear = found.unclear | (here & (inner.unclear | inner.masked | inner.elsewhere))
                found.may_pass = found.may_pass | (here & (inner.accepted | inner.may_pass))
                stopped = where.view.space.union(inner.stopped.values()) | inner.may_stop
                found.may_stop = found.may_stop | (here & stopped)
                return found.unclear & here == nothing
            case _:
                return False
        return True

    def _is_inert(self, statement: Match | Statement) -> bool:
        """Flows that are not unclear carry the mark 0, which may be copied to and fro."""
        if isinstance(statement, (SetMark, CopyMark, MapMark)):
            return not self._marks_matter or (isinstance(statement, CopyMark) and not statement.toggled)
        return isinstance(statement, (NoEffect, SetHopLimit))

    def _statement(self, where: _Where, rule: NfRule, statement: Statement, here: Set, found: Outcome) -> Set:
        """Returns the flows that go on in the rule."""
        nothing = where.view.space.empty
        match statement:
            case Accept():
                found.accepted = found.accepted | here
            case Drop() | Reject():
                key = self._blocker_key(rule)
                found.stop(Blocker(key, isinstance(statement, Reject)), here)
            case Return():
                found.back = found.back | here
            case Jump(name) | Goto(name):
                return self._jump(where, name, here, found, goto=isinstance(statement, Goto))
            case VerdictMap(fields, name):
                return self._verdict_map(where, rule, fields, where.table.sets.get(name), here, found)
            case NoEffect() | SetHopLimit():
                return here
            case Nat(family=TableFamily() as family) if family not in self._tables:
                return here
            case Nat():
                self._nat(where.view, rule, statement, here, found)
            case Queue() | SetMark() | CopyMark() | MapMark() | Notrack() | OpaqueStatement():
                found.unclear = found.unclear | here
        return nothing

    def _blocker_key(self, rule: NfRule) -> str:
        """The same for rules that say the same of their own destination, or of the bridge towards it."""
        about = _about(rule, self._family)
        bridge = self._bridge_of.get(about, "") if isinstance(about, Ip) else about or ""
        words = {bridge: "bridge"} if bridge else {}
        if isinstance(about, Ip):
            words[str(about)] = "destination"
        key = _key(rule.evidence, words)
        if self.blockers.setdefault((key, about), rule.evidence) != rule.evidence:
            self.blockers[key, about] = None
        return key

    def _nat(self, view: View, rule: NfRule, nat: Nat, here: Set, found: Outcome) -> None:
        masked = here & self._masked(view, nat)
        found.masked, here = found.masked | masked, here & ~masked
        if here == found.nothing:
            return
        translation = self._translation(view, nat, rule.evidence)
        if translation is not None:
            found.divert(translation, Product(here))
        else:
            found.unclear = found.unclear | here

    def _masked(self, view: View, nat: Nat) -> Set:
        """Flows whose source becomes the host's address on the link by which they leave, if the rule matches."""
        if _masks(view, nat):
            return view.space.all
        if nat.kind is NatKind.SNAT and view.hook is Hook.POSTROUTING and _keeps_ports(nat) and len(nat.addresses) == 1:
            low, high = nat.addresses[0]
            return view.pairs.mask(((low.value, low.value),)) if low == high else view.space.empty
        return view.space.empty

    def _translation(self, view: View, nat: Nat, evidence: Evidence) -> Translation | None:
        """Where DNAT to one place that is not the host's own sends everything."""
        if (
            view.hook is not Hook.PREROUTING
            or nat.kind is not NatKind.DNAT
            or nat.unmodelled
            or nat.random
            or nat.address_map
            or nat.port_map
        ):
            return None
        port, last_port = nat.ports or (None, None)
        if len(nat.addresses) != 1 or port != last_port:
            return None
        low, high = nat.addresses[0]
        if low != high or low.family is not self._family or low.value in self._own:
            return None
        return Translation(low.value, port, evidence)

    def _is_entered(self, where: _Where, here: Set) -> bool:
        """Whether any flow comes to a jump."""
        entered = here & where.within != where.view.space.empty
        self._pruned += not entered
        return entered

    def _jump(self, where: _Where, name: str, here: Set, found: Outcome, *, goto: bool) -> Set:
        target = where.table.chains.get(name)
        if target is None or where.depth > _MAX_DEPTH:
            found.unclear = found.unclear | here
            return where.view.space.empty
        if not self._is_entered(where, here):
            return here
        inner = self._chain(where.inner(), target)
        returned = found.back
        found.add(inner, here)
        found.back, back = returned, here & inner.back
        if not goto:
            return back
        found.back = found.back | back
        return where.view.space.empty

    def _verdict_map(
        self,
        where: _Where,
        rule: NfRule,
        fields: tuple[Field, ...],
        named: NamedSet | None,
        here: Set,
        found: Outcome,
    ) -> Set:
        view = where.view
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
            after = self._statement(where, rule, element.verdict, inside, found)
            going_on = (going_on & ~inside) | after
        return going_on


def have(rules: tuple[NfRule, ...], kind: type) -> bool:
    """Whether any has a part of a kind. To ask each part whether it is an instance takes three times as long."""
    return any(kind in map(type, rule.parts) for rule in rules)


def _keeps_ports(nat: Nat) -> bool:
    """Whether it rewrites no more than one address, and ports only where it must."""
    return not (nat.unmodelled or nat.ports or nat.random or nat.address_map or nat.port_map)


def _masks(view: View, nat: Nat) -> bool:
    """Whether it is MASQUERADE to any port, and nothing more."""
    return nat.kind is NatKind.MASQUERADE and _keeps_ports(nat) and view.hook is Hook.POSTROUTING


def _about(rule: NfRule, family: Family) -> About:
    found: str | None = None
    for part in rule.parts:
        match part:
            case Within(Field.DADDR, ((low, high),), False):
                return Ip(family, low) if low == high else None
            case Named(Field.OIFNAME, (name,), False) if not name.endswith("*"):
                found = name
    return found


def _key(evidence: Evidence, words: Mapping[str, str]) -> str:
    """A rule's file and text, with other words for some."""
    text = evidence.text
    for word, other in words.items():
        text = text.replace(word, other)
    return f"{evidence.file} {text}"


def _fields_read(ruleset: Ruleset) -> frozenset[Field]:
    found: set[Field] = set()
    for table in ruleset.tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                _add_fields(found, rule.parts)
    return frozenset(found)


def _add_fields(found: set[Field], parts: Iterable[Match | Statement]) -> None:
    for part in parts:
        if type(part) is Within or type(part) is Named:  # as nearly all are, and a `case` that fails takes its time
            found.add(part.field)
            continue
        match part:
            case Masked(field=where) | AnyBit(field=where):
                found.add(where)
            case InSet(fields=fields) | VerdictMap(fields=fields):
                found.update(fields)
            case AnyOf(alternatives=alternatives):
                for alternative in alternatives:
                    _add_fields(found, alternative)
            case FibOif(marked=True) | Opaque() | OpaqueStatement():
                found.add(Field.MARK)
