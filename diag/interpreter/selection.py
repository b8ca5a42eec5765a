"""Which rules of a long chain a packet can meet at all, by its destination and interfaces.

A rule that asks for one destination address, or for one interface by its full name, fails for every other packet: it need
not be looked at. What is left keeps its order, so that the walk is the same.
"""

from __future__ import annotations

from collections import defaultdict

from diag.model.netfilter import Chain, Field, Named, NfRule, NoEffect, Opaque, Within

_Selector = tuple[Field, int | str]
_BY_NAME = (Field.IIFNAME, Field.OIFNAME)


class RuleSelection:
    """One chain's rules by what they ask for."""

    def __init__(self, chain: Chain) -> None:
        self._always: list[int] = []
        self._asked: dict[_Selector, list[int]] = defaultdict(list)
        self._rules = chain.rules
        for position, rule in enumerate(chain.rules):
            selector = _selector(rule)
            (self._always if selector is None else self._asked[selector]).append(position)
        self._found: dict[tuple[int, str, str], tuple[NfRule, ...]] = {}

    def rules(self, daddr: int, iif: str, oif: str) -> tuple[NfRule, ...]:
        """Those that a packet may meet, in order."""
        key = (daddr, iif, oif)
        if key not in self._found:
            wanted: tuple[_Selector, ...] = ((Field.DADDR, daddr), (Field.IIFNAME, iif), (Field.OIFNAME, oif))
            positions = [*self._always, *(p for selector in wanted for p in self._asked.get(selector, ()))]
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
