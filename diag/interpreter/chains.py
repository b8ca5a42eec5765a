"""A packet at a hook: every base chain in the kernel's order, connection tracking and NAT in their places.

Order and semantics: net/netfilter/core.c (nf_hook_slow), net/ipv4/netfilter/ip_tables.c, net/netfilter/nf_tables_core.c,
net/netfilter/nf_nat_core.c (nf_nat_inet_fn): NAT chains see only the first packet of a connection, and the first binding
wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import assert_never

from diag.interpreter.conntrack import ConntrackTable, apply_nat
from diag.interpreter.matching import Context, holds, lookup
from diag.interpreter.nat import Bound, NatBinder, look_up, map_data
from diag.interpreter.selection import RuleSelection
from diag.kernel.icmp_errors import reject_kind
from diag.model.address import Family
from diag.model.flow import Hop, HopKind
from diag.model.netfilter import (
    Accept,
    AnyBit,
    AnyOf,
    Base,
    Chain,
    ChainType,
    CopyMark,
    CtState,
    CtStatus,
    Drop,
    FibOif,
    Field,
    Goto,
    Hook,
    InSet,
    Jump,
    MapMark,
    Masked,
    Named,
    NamedSet,
    Nat,
    NfRule,
    NfTable,
    NoEffect,
    Notrack,
    Opaque,
    OpaqueStatement,
    Origin,
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

CONNTRACK_PRIORITY = -200
NAT_PRIORITY = {Hook.PREROUTING: -100, Hook.OUTPUT: -100, Hook.INPUT: 100, Hook.POSTROUTING: 100}
MATCHES = (Within, Masked, AnyBit, Named, AnyOf, InSet, FibOif, Opaque)
_DEVICE_HOOKS = frozenset({Hook.INGRESS, Hook.EGRESS})
_INERT = (*MATCHES, NoEffect)
MAX_DEPTH = 64
"""Jumps inside each other; the kernel refuses 16 in nft and more than the stack size in iptables."""

LONG_CHAIN = 12
"""Rules from which an index pays."""

ALL_PRIORITIES = (-(1 << 31), (1 << 31) - 1)

_CONTINUE = "continue"
_ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The packet does not pass the hook."""

    reject: str
    """The kind of answer, empty for a silent drop."""
    evidence: Evidence
    chain: str
    table: str
    hook: Hook
    rule: NfRule | None
    """None: the chain's policy."""
    unknown: str = ""
    """Not empty: what the rule does is not known, and why."""

    @property
    def rule_number(self) -> int:
        return self.rule.number if self.rule else 0


_ORIGIN_ORDER = {Origin.IPTABLES_LEGACY: 0, Origin.IPTABLES_NFT: 1, Origin.NFT: 2}


class HookTable:
    """Base chains of one namespace that packets of one kind meet, by hook, in the order in which they run."""

    def __init__(self, ruleset: Ruleset, chosen: Callable[[TableFamily, Hook], bool], missing: str = "") -> None:
        self.ruleset = ruleset
        self.missing = missing
        self.has_nat = False
        """A NAT chain exists, even an empty one: then the kernel binds every new connection."""
        self._selections: dict[int, RuleSelection] = {}
        """By the chain's identity: the ruleset keeps every chain alive."""
        self._filters: dict[Hook, list[tuple[int, NfTable, Chain]]] = {}
        self._nat: dict[Hook, list[tuple[int, NfTable, Chain]]] = {}
        for table in sorted(ruleset.tables, key=lambda t: _ORIGIN_ORDER[t.origin]):
            for chain in table.chains.values():
                if chain.base is None or not chosen(table.family, chain.base.hook):
                    continue
                self.has_nat |= chain.base.type is ChainType.NAT
                where = self._nat if chain.base.type is ChainType.NAT else self._filters
                if chain.rules or chain.base.policy_drop:
                    where.setdefault(chain.base.hook, []).append((chain.base.priority, table, chain))
        for listed in (*self._filters.values(), *self._nat.values()):
            listed.sort(key=lambda item: item[0])

    @classmethod
    def of_packets(cls, ruleset: Ruleset, family: Family) -> HookTable:
        """What IP packets of a family meet."""
        own = TableFamily.IP if family is Family.IPV4 else TableFamily.IP6
        return cls(
            ruleset,
            lambda found, hook: found in (own, TableFamily.INET) and hook not in _DEVICE_HOOKS,
            ruleset.missing.get(own, ""),
        )

    @classmethod
    def of_links(cls, ruleset: Ruleset, family: TableFamily) -> HookTable:
        """What frames meet in a bridge, at a device (netdev, and inet's chains there), or as ARP."""
        also = TableFamily.INET if family is TableFamily.NETDEV else None
        return cls(
            ruleset,
            lambda found, hook: found is family or (found is also and hook in _DEVICE_HOOKS),
            ruleset.missing.get(family, ""),
        )

    @property
    def acts(self) -> bool:
        """Some chain has rules or a policy that drops, or what there is was not captured."""
        return bool(self._filters or self._nat or self.missing)

    def filters(self, hook: Hook) -> list[tuple[int, NfTable, Chain]]:
        return self._filters.get(hook, [])

    def nat(self, hook: Hook) -> list[tuple[int, NfTable, Chain]]:
        return self._nat.get(hook, [])

    def selection(self, chain: Chain) -> RuleSelection:
        """The rules of a chain, indexed once."""
        found = self._selections.get(id(chain))
        if found is None:
            found = self._selections[id(chain)] = RuleSelection(chain)
        return found

    def find_set(self, table: NfTable, match: InSet) -> NamedSet | None:
        return self.ruleset.ipsets.get(match.set_name) if match.ipset else table.sets.get(match.set_name)


class HookRun:
    """One packet at one hook."""

    def __init__(
        self,
        table: HookTable,
        hook: Hook,
        context: Context,
        conntrack: ConntrackTable,
        record: Callable[[Hop], None],
        masquerade_address: Callable[[], int | None],
    ) -> None:
        self.hooks = table
        self.hook = hook
        self.context = context
        self.conntrack = conntrack
        self.record = record
        self.masquerade_address = masquerade_address
        self.untracked = False
        self._nat_bound = False
        self._probing = False
        """Whether a NAT statement is only asked for, not carried out."""

    def run(self, *, tracked: bool, priorities: tuple[int, int] = ALL_PRIORITIES) -> Stopped | None:
        """Through every chain; None when the packet passes. `tracked`: it has met conntrack in this namespace already.

        `priorities` are the first and the last that count.
        """
        if self.hooks.missing:
            where = f"{self.context.packet.family.label} rules of {self.context.netns}"
            cause = f"the {where} were not captured: {self.hooks.missing}"
            if self.context.ask(cause, key=("missing", self.hook)):
                evidence = Evidence("", 0, f"the {where} were not captured")
                may_rewrite = self.hook in (Hook.PREROUTING, Hook.OUTPUT)
                return Stopped("", evidence, "", "", self.hook, None, cause if may_rewrite else "")
        steps: list[tuple[int, Callable[[], Stopped | None]]] = []
        for position, (priority, _, _) in enumerate(self.hooks.filters(self.hook)):
            steps.append((priority, lambda p=position: self._filter(p)))  # type: ignore[misc]
        if self.hook in (Hook.PREROUTING, Hook.OUTPUT) and not tracked:
            steps.append((CONNTRACK_PRIORITY, self._track))
        if self.hook in NAT_PRIORITY:
            steps.append((NAT_PRIORITY[self.hook], self._nat))
        steps.sort(key=lambda step: step[0])
        for priority, step in steps:
            if not priorities[0] <= priority <= priorities[1]:
                continue
            stopped = step()
            if stopped is not None:
                return stopped
        if self.hook in (Hook.INPUT, Hook.POSTROUTING) and self.context.connection is not None:
            self.context.connection.status |= CtStatus.CONFIRMED
        return None

    def _filter(self, position: int) -> Stopped | None:
        """One filter chain. Where another of the same priority would answer otherwise, the kernel's order decides: that
        in which they were registered, the last one first (nf_hook_entries_grow()), which no listing shows."""
        chains = self.hooks.filters(self.hook)
        priority, table, chain = chains[position]
        stopped = self._base_chain(table, chain)
        if stopped is None:
            return None
        for other_priority, other_table, other_chain in chains[position + 1 :]:
            if other_priority != priority or other_table is table:
                continue
            with self._rehearsal():
                other = self._base_chain(other_table, other_chain)
            if other is not None and other.reject != stopped.reject and self._runs_first(other_table, table, priority):
                return other
        return stopped

    def _runs_first(self, other: NfTable, table: NfTable, priority: int) -> bool:
        where = f"{self.hook.value} at priority {priority} in {self.context.netns}"
        cause = f"which of the tables {_table_name(table)} and {_table_name(other)} runs first at {where} is not shown"
        self.context.rule = None
        return self.context.ask(cause)

    @contextmanager
    def _rehearsal(self) -> Iterator[None]:
        """What a chain does in it leaves no trace: no hops, no marks, no untracking."""
        context, connection = self.context, self.context.connection
        kept = self.record, self.untracked, context.packet, context.state, connection.mark if connection else 0
        self.record = lambda _hop: None
        try:
            yield
        finally:
            self.record, self.untracked, context.packet, context.state, mark = kept
            if connection is not None:
                connection.mark = mark

    def _track(self) -> None:
        if self.untracked:
            self.context.state = CtState.UNTRACKED
            return
        context = self.context
        context.connection, context.direction, context.state = self.conntrack.track(context.packet)

    def _nat(self) -> Stopped | None:
        connection = self.context.connection
        if connection is None:
            return None
        destination = self.hook in (Hook.PREROUTING, Hook.OUTPUT)
        done = connection.dst_done if destination else connection.src_done
        if self.context.direction == 0 and not connection.seen_reply and not done:
            self._nat_bound = False
            for table, chain in self._nat_order():
                stopped = self._base_chain(table, chain)
                if stopped is not None:
                    return stopped
                if self._nat_bound:
                    break
            if destination:
                connection.dst_done = True
            else:
                connection.src_done = True
                if not self._nat_bound and self.hooks.has_nat:
                    self._binder().bind_null(connection)
        before = self.context.packet
        self.context.packet = apply_nat(before, connection, self.context.direction, destination=destination)
        if self.context.packet != before:
            self._say(HopKind.NAT, f"NAT: {before} becomes {self.context.packet}", None)
        return None

    def _nat_order(self) -> Iterator[tuple[NfTable, Chain]]:
        """The NAT chains of the hook; of two that would bind at the same priority, either may be first."""
        waiting = list(self.hooks.nat(self.hook))
        while waiting:
            priority, table, chain = first = waiting[0]
            for peer in waiting[1:]:
                rival = peer[0] == priority and peer[1] is not table
                both = rival and self._would_bind(table, chain) and self._would_bind(peer[1], peer[2])
                if both and self._runs_first(peer[1], table, priority):
                    first = peer
            waiting.remove(first)
            yield first[1], first[2]

    def _would_bind(self, table: NfTable, chain: Chain) -> bool:
        self._probing, self._nat_bound = True, False
        with self._rehearsal():
            self._base_chain(table, chain)
        bound, self._probing, self._nat_bound = self._nat_bound, False, False
        return bound

    def _base_chain(self, table: NfTable, chain: Chain) -> Stopped | None:
        if chain.base and self.hook in _DEVICE_HOOKS and not self._is_attached(table, chain, chain.base):
            return None
        self.context.sets = lambda match: self.hooks.find_set(table, match)
        verdict = self._chain(table, chain, 0)
        if isinstance(verdict, Stopped):
            return verdict
        if verdict is _CONTINUE and chain.base and chain.base.policy_drop:
            evidence = chain.base.evidence or Evidence("", 0, f"policy of {chain.name}")
            return Stopped("", evidence, chain.name, table.name, self.hook, None)
        return None

    def _is_attached(self, table: NfTable, chain: Chain, base: Base) -> bool:
        """Whether the chain is one of the device at hand. JSON of nft 1.0.6 leaves its devices out.

        A chain of inet sees IP packets only (nft_do_chain_inet_ingress()).
        """
        frame = self.context.frame
        if table.family is TableFamily.INET and frame is not None and frame.arp:
            return False
        dev = self.context.iif or self.context.oif
        if base.devices:
            return dev in base.devices
        cause = f"whether chain {chain.name} of {_table_name(table)} is attached to {dev} was not captured"
        return self.context.choices.ask(
            ("attached", self.context.netns, table.family, table.name, chain.name, dev), cause
        )

    def _chain(self, table: NfTable, chain: Chain, depth: int) -> str | Stopped:
        """Run a chain's rules; `continue` means that it returned to its caller."""
        if depth > MAX_DEPTH:
            return _CONTINUE
        for rule in self._rules(chain):
            verdict = self._rule(table, chain, rule, depth)
            if verdict is None:
                continue
            if verdict == "return":
                return _CONTINUE
            return verdict
        return _CONTINUE

    def _rules(self, chain: Chain) -> tuple[NfRule, ...]:
        if len(chain.rules) < LONG_CHAIN:
            return chain.rules
        context = self.context
        return self.hooks.selection(chain).rules(context.packet, context.iif, context.oif, context.window)

    def _rule(self, table: NfTable, chain: Chain, rule: NfRule, depth: int) -> str | Stopped | None:
        """None: go on with the next rule."""
        if is_inert(rule):
            return None
        context = self.context
        for part in rule.parts:
            context.rule = rule.evidence
            if isinstance(part, MATCHES):
                if not holds(part, context):
                    return None
                continue
            verdict = self._statement(table, chain, rule, part, depth)
            if verdict is not None:
                return verdict
        return None

    def _statement(
        self, table: NfTable, chain: Chain, rule: NfRule, statement: Statement, depth: int
    ) -> str | Stopped | None:
        match statement:
            case Accept():
                self._say_rule(table, chain, rule, "accepts")
                return _ACCEPT
            case Drop():
                return self._stop("", table, chain, rule)
            case Reject(kind):
                return self._stop(reject_kind(kind, self.context.packet.family), table, chain, rule)
            case Queue():
                return self._unknown("the packet goes to a program in user space (NFQUEUE)", table, chain, rule)
            case Return():
                return "return"
            case Jump(name) | Goto(name):
                return self._jump(table, rule, name, depth, goto=isinstance(statement, Goto))
            case VerdictMap(fields, map_name):
                return self._verdict_map(table, chain, rule, fields, map_name, depth)
            case Nat():
                return self._bind(table, chain, rule, statement)
            case MapMark(where, data):
                found = map_data(data, table, self.context)
                if not found:
                    return self._unknown(f"the map {data.map_name} cannot be evaluated", table, chain, rule)
                self._mark(SetMark(where, found[0][0]))
                return None
            case SetMark() | CopyMark():
                self._mark(statement)
                return None
            case Notrack() | NoEffect():
                self._notrack(statement)
                return None
            case OpaqueStatement(text):
                return self._unknown(f"the effect of {text!r} is not modelled", table, chain, rule)
            case _:
                assert_never(statement)

    def _jump(self, table: NfTable, rule: NfRule, name: str, depth: int, *, goto: bool) -> str | Stopped | None:
        target = table.chains.get(name)
        if target is None:
            cause = f"chain {name} was not captured ({rule.evidence})"
            return Stopped("", rule.evidence, name, table.name, self.hook, rule, cause)
        verdict = self._chain(table, target, depth + 1)
        if verdict is _CONTINUE:
            return "return" if goto else None
        return verdict

    def _verdict_map(
        self, table: NfTable, chain: Chain, rule: NfRule, fields: tuple[Field, ...], name: str, depth: int
    ) -> str | Stopped | None:
        named = table.sets.get(name)
        if named is None or named.unmodelled:
            return self._unknown(f"the verdict map {name} cannot be evaluated", table, chain, rule)
        element = lookup(named, fields, self.context)
        if element is None or element.verdict is None:
            return None
        return self._statement(table, chain, rule, element.verdict, depth)

    def _stop(self, reject: str, table: NfTable, chain: Chain, rule: NfRule) -> Stopped:
        return Stopped(reject, rule.evidence, chain.name, table.name, self.hook, rule)

    def _notrack(self, statement: Notrack | NoEffect) -> None:
        """A packet that conntrack has seen already stays with its connection (xt_CT.c, nft_notrack.c)."""
        if isinstance(statement, Notrack) and self.context.connection is None:
            self.untracked = True
            self.context.state = CtState.UNTRACKED

    def _mark(self, statement: SetMark | CopyMark) -> None:
        context = self.context
        match statement:
            case SetMark(target, value, mask):
                pass
            case CopyMark(source, target, mask, source_mask, toggled):
                value = ((self._read_mark(source) & source_mask) ^ toggled) & mask
        changed = ((self._read_mark(target) & ~mask) ^ value) & 0xFFFFFFFF
        if target is Field.MARK:
            context.packet = replace(context.packet, mark=changed)
        elif context.connection is not None:
            context.connection.mark = changed

    def _read_mark(self, where: Field) -> int:
        if where is Field.MARK:
            return self.context.packet.mark
        return self.context.connection.mark if self.context.connection else 0

    def _bind(self, table: NfTable, chain: Chain, rule: NfRule, nat: Nat) -> str | Stopped | None:
        connection = self.context.connection
        own = TableFamily.IP if self.context.packet.family is Family.IPV4 else TableFamily.IP6
        if nat.family not in (None, own):
            return None
        if connection is None:
            return _ACCEPT
        if self._probing:
            self._nat_bound = True
            return _ACCEPT
        nat = look_up(nat, table, self.context)
        match self._binder().bind(connection, nat):
            case Bound.UNMODELLED:
                return self._unknown(
                    f"NAT with {nat.unmodelled or 'a large range'} is not modelled", table, chain, rule
                )
            case Bound.NO_ADDRESS | Bound.CLASH:
                return self._stop("", table, chain, rule)
        self._nat_bound = True
        self._say_rule(table, chain, rule, f"rewrites ({nat.kind.value})")
        return _ACCEPT

    def _binder(self) -> NatBinder:
        return NatBinder(self.context, self.conntrack, self.hook, self.masquerade_address)

    def _unknown(self, cause: str, table: NfTable, chain: Chain, rule: NfRule) -> Stopped:
        """What happens from here on cannot be told."""
        return replace(self._stop("", table, chain, rule), unknown=f"{cause} ({rule.evidence})")

    def _say_rule(self, table: NfTable, chain: Chain, rule: NfRule, verb: str) -> None:
        where = f"{table.name} {chain.name}"
        self._say(HopKind.RULE, f"{where} rule {rule.number} {verb}", rule.evidence, chain.name)

    def _say(self, kind: HopKind, text: str, evidence: Evidence | None, chain: str = "") -> None:
        self.record(Hop(kind, self.context.netns, text, evidence, self.hook.value, chain))


def _table_name(table: NfTable) -> str:
    return f"{table.family.value} {table.name} ({table.origin.value})"


def is_inert(rule: NfRule) -> bool:
    """Nothing in the rule can change the packet or its way: LOG with `-m limit`, a bare counter."""
    return isinstance(rule.parts[-1], NoEffect) and all(isinstance(p, _INERT) for p in rule.parts)
