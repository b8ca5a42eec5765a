"""Which rules of a long chain a packet can meet at all, by its destination and interfaces.

A rule that asks for one destination address or port, or for one interface by its full name, fails for every other packet:
it need not be looked at. What is left keeps its order, so that the walk is the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from diag.interpreter.matching import Window
from diag.interpreter.packet import Packet, PortKind
from diag.model.netfilter import Chain, Field, Named, NfRule, NoEffect, Opaque, Within

_Selector = tuple[Field, int | str]
_BY_NAME = (Field.IIFNAME, Field.OIFNAME)


class RuleSelection:
    """One chain's rules by what they ask for."""

    def __init__(self, chain: Chain) -> None:
        self._always: list[int] = []
        self._asked: dict[_Selector, list[int]] = defaultdict(list)
        self._by_port: dict[tuple[int, int], list[int]] = defaultdict(list)
        """By protocol and port."""
        self._rules = chain.rules
        for position, rule in enumerate(chain.rules):
            selector = _selector(rule)
            if selector is not None:
                self._asked[selector].append(position)
            elif (port := _port(rule)) is not None:
                self._by_port[port].append(position)
            else:
                self._always.append(position)
        self._ports: dict[int, list[int]] = {}
        for protocol, number in sorted(self._by_port):
            self._ports.setdefault(protocol, []).append(number)
        self._found: dict[tuple[int, str, str, int, int | None], tuple[NfRule, ...]] = {}

    def rules(self, packet: Packet, iif: str, oif: str, window: Window) -> tuple[NfRule, ...]:
        """Those that a packet may meet, in order. The window shrinks to the ports for which that is so."""
        protocol, dport = packet.protocol, packet.dport
        ports = self._ports.get(protocol, [])
        port = dport.value if dport.kind in (PortKind.FIXED, PortKind.ASKED) else None
        if dport.kind == PortKind.ASKED and ports:
            place = bisect_left(ports, dport.value)
            window.within(dport.value, tuple((p, p) for p in ports[max(0, place - 1) : place + 2]))
        key = (packet.daddr, iif, oif, protocol, port)
        if key not in self._found:
            wanted: tuple[_Selector, ...] = ((Field.DADDR, packet.daddr), (Field.IIFNAME, iif), (Field.OIFNAME, oif))
            positions = [*self._always, *(p for selector in wanted for p in self._asked.get(selector, ()))]
            for possible in [port] if port is not None else ports:
                positions += self._by_port.get((protocol, possible), ())
            self._found[key] = tuple(self._rules[p] for p in sorted(positions))
        return self._found[key]


def _selector(rule: NfRule) -> _Selector | None:
    """What the rule's leading matches ask for; matches that may hold by an unknown come after it."""
    for part in rule.parts:
        match part:
            case Within(Field.DADDR, ((low, high),), False) if low == high:
                return Field.DADDR, low
            case Named(where, (name,), False) if where in _BY_NAME and not name.endswith("*"):
                return where, name
            case Opaque():
                return None
            case Within() | Named() | NoEffect():
                continue
            case _:
                return None
    return None


def _port(rule: NfRule) -> tuple[int, int] | None:
    """The one protocol and destination port that the rule's leading matches ask for."""
    protocol = None
    for part in rule.parts:
        match part:
            case Within(Field.PROTOCOL, ((low, high),), False) if low == high:
                protocol = low
            case Within(Field.DPORT, ((low, high),), False) if low == high and protocol is not None:
                return protocol, low
            case Within() | Named() | NoEffect():
                continue
            case _:
                return None
    return None
