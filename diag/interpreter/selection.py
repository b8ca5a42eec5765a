"""A chain's rules made ready, and which of a long one a packet can meet at all, by its addresses and interfaces.

A rule that asks for one destination address or port, for one range of sources, or for one interface by its full name, fails
for every other packet: it need not be looked at. What is left keeps its order, so that the walk is the same.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import chain as joined
from itertools import pairwise
from operator import itemgetter
from typing import NamedTuple

from diag.interpreter.matching import Context, Test, compiled
from diag.interpreter.packet import PortKind
from diag.model.netfilter import (
    AnyBit,
    AnyOf,
    Chain,
    FibOif,
    Field,
    InSet,
    Masked,
    Named,
    NamedSet,
    NfRule,
    NoEffect,
    Opaque,
    Statement,
    Within,
)
from diag.model.provenance import Evidence

_Selector = tuple[Field, int | str]
_SADDR, _DADDR, _PROTOCOL, _DPORT = Field.SADDR, Field.DADDR, Field.PROTOCOL, Field.DPORT
_BY_NAME = (Field.IIFNAME, Field.OIFNAME)
_SELECTING = (Field.DADDR, *_BY_NAME)
_MATCHES = (Within, Masked, AnyBit, Named, AnyOf, InSet, FibOif, Opaque)
_INERT = (*_MATCHES, NoEffect)

LONG_CHAIN = 12
"""Rules from which an index pays."""


class ReadyRule(NamedTuple):
    """A rule with its matches as functions, and without the parts that do nothing."""

    rule: NfRule
    evidence: Evidence
    tests: tuple[Test, ...]
    """The matches before the first statement."""
    acts: tuple[tuple[Statement, tuple[Test, ...]], ...]
    """Each statement, and the matches after it."""

    @classmethod
    def of(cls, rule: NfRule, find_set: Callable[[InSet], NamedSet | None]) -> ReadyRule:
        first: list[Test] = []
        acts: list[tuple[Statement, list[Test]]] = []
        for part in rule.parts:
            if isinstance(part, _MATCHES):
                tests = acts[-1][1] if acts else first
                tests.append(compiled(part, find_set))
            elif not isinstance(part, NoEffect):
                acts.append((part, []))
        return cls(rule, rule.evidence, tuple(first), tuple((act, tuple(tests)) for act, tests in acts))


class RuleSelection:
    """One chain's rules, those of a long one by what they ask for."""

    def __init__(self, chain: Chain, find_set: Callable[[InSet], NamedSet | None]) -> None:
        self._rules = chain.rules
        self._find_set = find_set
        self._ready: dict[int, ReadyRule | None] = {}
        self.is_long = len(chain.rules) >= LONG_CHAIN
        self._always: list[int] = []
        self._asked: dict[Field, dict[int | str, list[int]]] = {field: {} for field in _SELECTING}
        self._by_port: dict[tuple[int, int], list[int]] = defaultdict(list)
        """By protocol and port."""
        self._by_source: list[tuple[int, int, list[int]]] = []
        """By the first and the last address, in order: disjoint ranges."""
        if self.is_long:
            self._index(chain)
        self._ports: dict[int, list[int]] = {}
        """By protocol: the ports that some rule asks for."""
        self._of_any_port: dict[int, list[int]] = {}
        """By protocol: all rules that ask for a port."""
        for protocol, number in sorted(self._by_port):
            self._ports.setdefault(protocol, []).append(number)
            self._of_any_port.setdefault(protocol, []).extend(self._by_port[protocol, number])
        self._found: dict[tuple[int, int, str, str, int, int | None], tuple[ReadyRule, ...]] = {}

    @cached_property
    def all(self) -> tuple[ReadyRule, ...]:
        """In order; of a long chain, :meth:`rules` leaves out what a packet cannot meet."""
        return self._made_ready(range(len(self._rules)))

    def _made_ready(self, positions: Iterable[int]) -> tuple[ReadyRule, ...]:
        """Without those that do nothing. Of a long chain hardly any are ever met."""
        ready = self._ready
        for position in positions:
            if position not in ready:
                rule = self._rules[position]
                ready[position] = None if _is_inert(rule) else ReadyRule.of(rule, self._find_set)
        return tuple([made for position in positions if (made := ready[position]) is not None])

    def _index(self, chain: Chain) -> None:
        by_source: dict[tuple[int, int], list[int]] = defaultdict(list)
        for position, rule in enumerate(chain.rules):
            selector, port, sources = _asked_for(rule)
            if selector is not None:
                where, wanted = selector
                self._asked[where].setdefault(wanted, []).append(position)
            elif port is not None:
                self._by_port[port].append(position)
            elif sources is not None:
                by_source[sources].append(position)
            else:
                self._always.append(position)
        if any(last >= first for (_, last), (first, _) in pairwise(sorted(by_source))):
            self._always = sorted(joined.from_iterable((self._always, *by_source.values())))
        else:
            self._by_source = [(first, last, by_source[first, last]) for first, last in sorted(by_source)]

    def rules(self, context: Context) -> tuple[ReadyRule, ...]:
        """Of a long chain: those that a packet may meet, in order. The window shrinks to the ports for which that is so."""
        packet, iif, oif = context.packet, context.iif, context.oif
        protocol, dport = packet.protocol, packet.dport
        ports = self._ports.get(protocol, [])
        port = dport.value if dport.kind in (PortKind.FIXED, PortKind.ASKED) else None
        if dport.kind == PortKind.ASKED and ports:
            place = bisect_left(ports, dport.value)
            context.window.within(dport.value, tuple((p, p) for p in ports[max(0, place - 1) : place + 2]))
        key = (packet.saddr if self._by_source else 0, packet.daddr, iif, oif, protocol, port)
        if key not in self._found:
            positions = self._always.copy()
            wanted: tuple[int | str, ...] = (packet.daddr, iif, oif)
            for asked, value in zip(self._asked.values(), wanted, strict=True):
                positions += asked.get(value, [])
            of_port = self._of_any_port.get(protocol) if port is None else self._by_port.get((protocol, port))
            positions += of_port or ()
            positions += self._of_source(packet.saddr)
            self._found[key] = self._made_ready(sorted(positions))
        return self._found[key]

    def _of_source(self, saddr: int) -> list[int]:
        place = bisect_right(self._by_source, saddr, key=itemgetter(0))
        _, last, positions = self._by_source[place - 1] if place else (0, -1, [])
        return positions if saddr <= last else []


def _is_inert(rule: NfRule) -> bool:
    """Nothing in the rule can change the packet or its way: LOG with `-m limit`, a bare counter."""
    return isinstance(rule.parts[-1], NoEffect) and all(isinstance(p, _INERT) for p in rule.parts)


def _asked_for(rule: NfRule) -> tuple[_Selector | None, tuple[int, int] | None, tuple[int, int] | None]:
    """What the rule's leading matches ask for: a destination or an interface, else a protocol and port, or a range of sources.

    Matches that may hold by an unknown come after these.
    """
    protocol = port = sources = None
    for part in rule.parts:
        if isinstance(part, Within):
            if part.negated or len(part.ranges) != 1:
                continue
            low, high = part.ranges[0]
            where, one = part.field, low == high
            if where is _DADDR and one:
                return (_DADDR, low), None, None
            if where is _SADDR:
                sources = sources or (low, high)
            elif where is _PROTOCOL and one:
                protocol = low
            elif where is _DPORT and one and protocol is not None:
                port = port or (protocol, low)
        elif isinstance(part, Named):
            if part.field in _BY_NAME and not part.negated and len(part.patterns) == 1:
                name = part.patterns[0]
                if not name.endswith("*"):
                    return (part.field, name), None, None
        elif not isinstance(part, NoEffect):
            break
    return None, port, sources
