"""A packet at a hook: every base chain in the kernel's order, connection tracking and NAT in their places.

Order and semantics: net/netfilter/core.c (nf_hook_slow), net/ipv4/netfilter/ip_tables.c, net/netfilter/nf_tables_core.c,
net/netfilter/nf_nat_core.c (nf_nat_inet_fn): NAT chains see only the first packet of a connection, and the first binding
wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, assert_never

from msgspec import Struct
from msgspec.structs import replace

from diag.interpreter.conntrack import ConntrackTable, apply_nat
from diag.interpreter.matching import Context, Test, lookup
from diag.interpreter.nat import Bound, NatBinder, look_up, map_data
from diag.interpreter.selection import ReadyRule, RuleSelection
from diag.kernel.hooks import CONNTRACK_PRIORITY, DEVICE_HOOKS, ENTRY_HOOKS, NAT_PRIORITY
from diag.kernel.icmp_errors import reject_kind
from diag.model.address import Family
from diag.model.flow import Hop, HopKind
from diag.model.message import Message, say
from diag.model.netfilter import (
    Accept,
    Base,
    Chain,
    ChainType,
    CopyMark,
    CtState,
    CtStatus,
    Drop,
    Field,
    Goto,
    Hook,
    InSet,
    Jump,
    MapMark,
    NamedSet,
    Nat,
    NfRule,
    NfTable,
    NoEffect,
    Notrack,
    OpaqueStatement,
    Origin,
    Queue,
    Reject,
    Return,
    Ruleset,
    SetHopLimit,
    SetMark,
    Statement,
    TableFamily,
    VerdictMap,
)
from diag.model.provenance import Evidence

_EXIT_HOOKS = frozenset({Hook.INPUT, Hook.POSTROUTING})
"""Where its source may be rewritten, and a connection is confirmed."""
MAX_DEPTH = 64
"""Jumps inside each other; the kernel refuses 16 in nft and more than the stack size in iptables."""

ALL_PRIORITIES = (-(1 << 31), (1 << 31) - 1)

_CONTINUE = "continue"
_ACCEPT = "accept"
_RETURN = "return"


class Stopped(Struct, frozen=True):
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


class Step(NamedTuple):
    """One thing that runs at a hook."""

    priority: int
    run: Callable[[HookRun], Stopped | None]


_Attached = tuple[int, NfTable, Chain]
"""A base chain with its priority and table."""
_ORIGIN_ORDER = {Origin.IPTABLES_LEGACY: 0, Origin.IPTABLES_NFT: 1, Origin.NFT: 2}


class HookTable:
    """Base chains of one namespace that packets of one kind meet, by hook, in the order in which they run."""

    def __init__(self, ruleset: Ruleset, chosen: Callable[[TableFamily, Hook], bool], missing: str = "") -> None:
        self.ruleset = ruleset
        self.missing = missing
        self.has_nat = False
        """A NAT chain exists, even an empty one: then the kernel binds every new connection."""
        self._steps: dict[tuple[Hook, bool, tuple[int, int]], tuple[Step, ...]] = {}
        self._selections: dict[int, RuleSelection] = {}
        """By the chain's identity: the ruleset keeps every chain alive."""
        self._filters: dict[Hook, list[_Attached]] = {}
        self._nat: dict[Hook, list[_Attached]] = {}
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
            lambda found, hook: found in (own, TableFamily.INET) and hook not in DEVICE_HOOKS,
            ruleset.missing.get(own, ""),
        )

    @classmethod
    def of_links(cls, ruleset: Ruleset, family: TableFamily) -> HookTable:
        """What frames meet in a bridge, at a device (netdev, and inet's chains there), or as ARP."""
        also = TableFamily.INET if family is TableFamily.NETDEV else None
        return cls(
            ruleset,
            lambda found, hook: found is family or (found is also and hook in DEVICE_HOOKS),
            ruleset.missing.get(family, ""),
        )

    @property
    def acts(self) -> bool:
        """Some chain has rules or a policy that drops, or what there is was not captured."""
        return bool(self._filters or self._nat or self.missing)

    def filters(self, hook: Hook) -> list[_Attached]:
        return self._filters.get(hook, [])

    def nat(self, hook: Hook) -> list[_Attached]:
        return self._nat.get(hook, [])

    def steps(self, hook: Hook, *, tracked: bool, priorities: tuple[int, int] = ALL_PRIORITIES) -> tuple[Step, ...]:
        """What runs at a hook, in order.

        `tracked`: the packet has met conntrack in this namespace already. `priorities` are the first and the last that
        count.
        """
        key = (hook, tracked, priorities)
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = tuple(self._listed(hook, tracked, priorities))
        return found

    def _listed(self, hook: Hook, tracked: bool, priorities: tuple[int, int]) -> Iterator[Step]:
        filters = enumerate(self.filters(hook))
        steps = [Step(priority, partial(HookRun.filter, position=position)) for position, (priority, _, _) in filters]
        if hook in ENTRY_HOOKS and not tracked:
            steps.append(Step(CONNTRACK_PRIORITY, HookRun.track))
        if hook in NAT_PRIORITY:
            steps.append(Step(NAT_PRIORITY[hook], partial(HookRun.rewrite, chains=self.nat(hook))))
        first, last = priorities
        if self.missing:
            yield Step(first, HookRun.guess)
        yield from (step for step in sorted(steps, key=lambda s: s.priority) if first <= step.priority <= last)

    def rules(self, table: NfTable, chain: Chain, context: Context) -> tuple[ReadyRule, ...]:
        """The rules of a chain that the packet may meet."""
        selection = self._selections.get(id(chain))
        if selection is None:
            selection = RuleSelection(chain, lambda match: self._find_set(table, match))
            self._selections[id(chain)] = selection
        return selection.rules(context) if selection.is_long else selection.all

    def _find_set(self, table: NfTable, match: InSet) -> NamedSet | None:
        return self.ruleset.ipsets.get(match.set_name) if match.ipset else table.sets.get(match.set_name)


class HookRun(Struct):
    """One packet at one hook."""

    hooks: HookTable
    hook: Hook
    context: Context
    conntrack: ConntrackTable
    record: Callable[[Hop], None]
    masquerade_address: Callable[[Context], int | None]
    _nat_bound: bool = False
    _probing: bool = False
    """Whether a NAT statement is only asked for, not carried out."""

    def run(self, steps: tuple[Step, ...]) -> Stopped | None:
        """Through every chain; None when the packet passes."""
        for step in steps:
            stopped = step.run(self)
            if stopped is not None:
                return stopped
        passage = self.context.passage
        if passage.connection is not None and self.hook in _EXIT_HOOKS:
            passage.connection.status |= CtStatus.CONFIRMED
        return None

    def guess(self) -> Stopped | None:
        """What rules do that were not captured."""
        family, netns = self.context.packet.family.label, self.context.surroundings.netns
        lost = say("the {family} rules of {netns} were not captured", family=family, netns=netns)
        cause = say("{lost}: {why}", lost=lost, why=self.hooks.missing)
        if not self.context.ask(cause, key=("missing", self.hook)):
            return None
        return Stopped("", Evidence("", 0, lost), "", "", self.hook, None, cause if self.hook in ENTRY_HOOKS else "")

    def filter(self, position: int) -> Stopped | None:
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
        cause = say(
            "which of the tables {table} and {other} runs first at {hook} at priority {priority} in {netns} is not shown",
            table=_table_name(table),
            other=_table_name(other),
            hook=self.hook.value,
            priority=priority,
            netns=self.context.surroundings.netns,
        )
        self.context.rule = None
        return self.context.ask(cause)

    @contextmanager
    def _rehearsal(self) -> Iterator[None]:
        """What a chain does in it leaves no trace: no hops, no marks, no untracking."""
        context, passage, connection = self.context, self.context.passage, self.context.passage.connection
        kept = self.record, passage.untracked, context.packet, passage.state, connection.mark if connection else 0
        self.record = lambda _hop: None
        try:
            yield
        finally:
            self.record, passage.untracked, context.packet, passage.state, mark = kept
            if connection is not None:
                connection.mark = mark

    def track(self) -> None:
        """Connection tracking."""
        passage = self.context.passage
        if passage.untracked:
            passage.state = CtState.UNTRACKED
        else:
            passage.connection, passage.direction, passage.state = self.conntrack.track(self.context.packet)

    def rewrite(self, chains: list[_Attached]) -> Stopped | None:
        """NAT: what its chains bind a new connection to, and what every packet of a bound one becomes."""
        passage = self.context.passage
        connection = passage.connection
        if connection is None:
            return None
        destination = self.hook in ENTRY_HOOKS
        done = connection.dst_done if destination else connection.src_done
        if not done and passage.direction == 0 and not connection.seen_reply:
            self._nat_bound = False
            for _, table, chain in chains if len(chains) < 2 else self._nat_order(chains):
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
        after = apply_nat(before, connection, passage.direction, destination=destination)
        if after is not before and after != before:
            self.context.packet = after
            self._say(HopKind.NAT, say("NAT: {before} becomes {after}", before=before, after=after), None)
        return None

    def _nat_order(self, chains: list[_Attached]) -> Iterator[_Attached]:
        """The NAT chains of the hook; of two that would bind at the same priority, either may be first."""
        waiting = chains.copy()
        while waiting:
            priority, table, chain = first = waiting[0]
            for peer in waiting[1:]:
                rival = peer[0] == priority and peer[1] is not table
                both = rival and self._would_bind(table, chain) and self._would_bind(peer[1], peer[2])
                if both and self._runs_first(peer[1], table, priority):
                    first = peer
            waiting.remove(first)
            yield first

    def _would_bind(self, table: NfTable, chain: Chain) -> bool:
        self._probing, self._nat_bound = True, False
        with self._rehearsal():
            self._base_chain(table, chain)
        bound, self._probing, self._nat_bound = self._nat_bound, False, False
        return bound

    def _base_chain(self, table: NfTable, chain: Chain) -> Stopped | None:
        if chain.base and self.hook in DEVICE_HOOKS and not self._is_attached(table, chain, chain.base):
            return None
        verdict = self._chain(table, chain, 0)
        if isinstance(verdict, Stopped):
            return verdict
        if verdict is _CONTINUE and chain.base and chain.base.policy_drop:
            evidence = chain.base.evidence or Evidence("", 0, say("policy of {chain}", chain=chain.name))
            return Stopped("", evidence, chain.name, table.name, self.hook, None)
        return None

    def _is_attached(self, table: NfTable, chain: Chain, base: Base) -> bool:
        """Whether the chain is one of the device at hand. JSON of nft 1.0.6 leaves its devices out.

        A chain of inet sees IP packets only (nft_do_chain_inet_ingress()).
        """
        if table.family is TableFamily.INET and self.context.arp:
            return False
        dev = self.context.iif or self.context.oif
        if base.devices:
            return dev in base.devices
        cause = say(
            "whether chain {chain} of {table} is attached to {dev} was not captured",
            chain=chain.name,
            table=_table_name(table),
            dev=dev,
        )
        return self.context.choices.ask(
            ("attached", self.context.surroundings.netns, table.family, table.name, chain.name, dev), cause
        )

    def _chain(self, table: NfTable, chain: Chain, depth: int) -> str | Stopped:
        """Run a chain's rules; `continue` means that it returned to its caller."""
        if depth > MAX_DEPTH:
            return _CONTINUE
        context = self.context
        for rule, evidence, tests, acts in self.hooks.rules(table, chain, context):
            context.rule = evidence
            for holds in tests:
                if not holds(context):
                    break
            else:
                verdict = self._carry_out(table, chain, rule, acts, depth)
                if verdict is not None:
                    return _CONTINUE if verdict is _RETURN else verdict
        return _CONTINUE

    def _carry_out(
        self,
        table: NfTable,
        chain: Chain,
        rule: NfRule,
        acts: tuple[tuple[Statement, tuple[Test, ...]], ...],
        depth: int,
    ) -> str | Stopped | None:
        """What a rule does once its first matches hold. None: go on with the next rule."""
        context = self.context
        for statement, tests in acts:
            verdict = self._statement(table, chain, rule, statement, depth)
            if verdict is not None:
                return verdict
            context.rule = rule.evidence
            for holds in tests:
                if not holds(context):
                    return None
        return None

    def _statement(
        self, table: NfTable, chain: Chain, rule: NfRule, statement: Statement, depth: int
    ) -> str | Stopped | None:
        match statement:
            case Jump(name) | Goto(name):
                return self._jump(table, rule, name, depth, goto=isinstance(statement, Goto))
            case Accept():
                self._say_rule(table, chain, rule, say("accepts"))
                return _ACCEPT
            case Drop():
                return self._stop("", table, chain, rule)
            case Reject(kind):
                return self._stop(reject_kind(kind, self.context.packet.family), table, chain, rule)
            case Queue():
                return self._unknown(say("the packet goes to a program in user space (NFQUEUE)"), table, chain, rule)
            case Return():
                return _RETURN
            case VerdictMap(fields, map_name):
                return self._verdict_map(table, chain, rule, fields, map_name, depth)
            case Nat():
                return self._bind(table, chain, rule, statement)
            case MapMark():
                return self._map_mark(table, chain, rule, statement)
            case SetMark() | CopyMark():
                self._mark(statement)
                return None
            case SetHopLimit(value):
                self.context.packet = replace(self.context.packet, ttl=value)
                return None
            case Notrack() | NoEffect():
                self._notrack(statement)
                return None
            case OpaqueStatement(text):
                return self._unknown(
                    say("the effect of {what} is not modelled", what=_quoted(text)), table, chain, rule
                )
            case _:
                assert_never(statement)

    def _jump(self, table: NfTable, rule: NfRule, name: str, depth: int, *, goto: bool) -> str | Stopped | None:
        target = table.chains.get(name)
        if target is None:
            cause = say("chain {chain} was not captured ({rule})", chain=name, rule=rule.evidence)
            return Stopped("", rule.evidence, name, table.name, self.hook, rule, cause)
        verdict = self._chain(table, target, depth + 1)
        if verdict is _CONTINUE:
            return _RETURN if goto else None
        return verdict

    def _verdict_map(
        self, table: NfTable, chain: Chain, rule: NfRule, fields: tuple[Field, ...], name: str, depth: int
    ) -> str | Stopped | None:
        named = table.sets.get(name)
        if named is None or named.unmodelled:
            return self._unknown(say("the verdict map {name} cannot be evaluated", name=name), table, chain, rule)
        element = lookup(named, fields, self.context)
        if element is None or element.verdict is None:
            return None
        return self._statement(table, chain, rule, element.verdict, depth)

    def _stop(self, reject: str, table: NfTable, chain: Chain, rule: NfRule) -> Stopped:
        return Stopped(reject, rule.evidence, chain.name, table.name, self.hook, rule)

    def _notrack(self, statement: Notrack | NoEffect) -> None:
        """A packet that conntrack has seen already stays with its connection (xt_CT.c, nft_notrack.c)."""
        passage = self.context.passage
        if isinstance(statement, Notrack) and passage.connection is None:
            passage.untracked = True
            passage.state = CtState.UNTRACKED

    def _map_mark(self, table: NfTable, chain: Chain, rule: NfRule, statement: MapMark) -> Stopped | None:
        found = map_data(statement.data, table, self.context)
        if not found:
            cause = say("the map {map_name} cannot be evaluated", map_name=statement.data.map_name)
            return self._unknown(cause, table, chain, rule)
        self._mark(SetMark(statement.field, found[0][0]))
        return None

    def _mark(self, statement: SetMark | CopyMark) -> None:
        context = self.context
        match statement:
            case SetMark(target, value, mask):
                pass
            case CopyMark(source, target, mask, source_mask, toggled):
                value = ((self._read_mark(source) & source_mask) ^ toggled) & mask
        changed = ((self._read_mark(target) & ~mask) ^ value) & 0xFFFFFFFF
        if target is Field.MARK:
            context.packet = context.packet.marked(changed)
        elif context.passage.connection is not None:
            context.passage.connection.mark = changed

    def _read_mark(self, where: Field) -> int:
        if where is Field.MARK:
            return self.context.packet.mark
        connection = self.context.passage.connection
        return connection.mark if connection else 0

    def _bind(self, table: NfTable, chain: Chain, rule: NfRule, nat: Nat) -> str | Stopped | None:
        connection = self.context.passage.connection
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
                    say("NAT with {what} is not modelled", what=nat.unmodelled or say("a large range")),
                    table,
                    chain,
                    rule,
                )
            case Bound.NO_ADDRESS | Bound.CLASH:
                return self._stop("", table, chain, rule)
        self._nat_bound = True
        self._say_rule(table, chain, rule, say("rewrites ({kind})", kind=nat.kind.value))
        return _ACCEPT

    def _binder(self) -> NatBinder:
        return NatBinder(self.context, self.conntrack, self.hook, self.masquerade_address)

    def _unknown(self, cause: str, table: NfTable, chain: Chain, rule: NfRule) -> Stopped:
        """What happens from here on cannot be told."""
        return replace(
            self._stop("", table, chain, rule), unknown=say("{cause} ({rule})", cause=cause, rule=rule.evidence)
        )

    def _say_rule(self, table: NfTable, chain: Chain, rule: NfRule, verb: str) -> None:
        text = say(
            "{table} {chain} rule {number} {verb}", table=table.name, chain=chain.name, number=rule.number, verb=verb
        )
        self._say(HopKind.RULE, text, rule.evidence, chain.name)

    def _say(self, kind: HopKind, text: str, evidence: Evidence | None, chain: str = "") -> None:
        self.record(Hop(kind, self.context.surroundings.netns, text, evidence, self.hook.value, chain))


def _quoted(text: str) -> str:
    """As it stands in the rules, or what stands for rules that are not there."""
    return say("'{text}'", text=text) if isinstance(text, Message) else repr(text)


def _table_name(table: NfTable) -> str:
    return f"{table.family.value} {table.name} ({table.origin.value})"
