"""Whether every packet that one rule matches is one that another rule matches: told from the matches as they stand."""

from __future__ import annotations

from collections.abc import Iterator

from diag.model.netfilter import (
    Accept,
    AnyBit,
    AnyOf,
    Chain,
    Drop,
    FibOif,
    Field,
    Goto,
    InSet,
    Masked,
    Match,
    Named,
    NfRule,
    NoEffect,
    Opaque,
    Reject,
    Return,
    Statement,
    Within,
)

_Host = tuple[Field, int] | None
_Before = tuple[tuple[Match, ...], Statement, NfRule]
"""Matches, verdict and the rule itself."""
_MATCHES = (Within, Masked, AnyBit, Named, AnyOf, InSet, FibOif, Opaque)
_OF_ONE_FIELD = (Within, AnyBit, Named)
_ENDS = (Accept, Drop, Reject, Return, Goto)


def shadowed(chain: Chain) -> Iterator[tuple[NfRule, NfRule]]:
    """Rules that accept or stop packets and never see one, each with the rule before it that takes them all.

    Rules that would do the same as the one before are left out: that they never match changes nothing.
    """
    before: dict[_Host, list[_Before]] = {}
    for rule in chain.rules:
        matches = tuple(part for part in rule.parts if isinstance(part, _MATCHES))
        statements = [part for part in rule.parts if not isinstance(part, (*_MATCHES, NoEffect))]
        if len(statements) != 1 or not isinstance(statements[0], _ENDS) or rule.parts[-1] is not statements[0]:
            continue
        verdict = statements[0]
        if isinstance(verdict, (Accept, Drop, Reject)):
            first = _first(matches, before)
            if first is not None and not _same(first[1], verdict):
                yield rule, first[2]
        if not any(isinstance(match, Opaque) for match in matches):
            before.setdefault(next(_hosts(matches), None), []).append((matches, verdict, rule))


def _first(matches: tuple[Match, ...], before: dict[_Host, list[_Before]]) -> _Before | None:
    """The first rule before it that takes all of its packets."""
    found = [
        earlier
        for host in (None, *_hosts(matches))
        for earlier in before.get(host, ())
        if all(_implied(match, matches) for match in earlier[0])
    ]
    return min(found, key=lambda earlier: earlier[2].number, default=None)


def _hosts(matches: tuple[Match, ...]) -> Iterator[_Host]:
    """The single addresses that a rule asks for: only rules that ask for one of them too, or for none, take its packets."""
    for match in matches:
        match match:
            case Within(Field.SADDR | Field.DADDR as field, ((low, high),), False) if low == high:
                yield field, low


def _same(first: Statement, second: Statement) -> bool:
    """A packet that is dropped or refused is stopped either way."""
    stops = (Drop, Reject)
    return type(first) is type(second) or (isinstance(first, stops) and isinstance(second, stops))


def _implied(wanted: Match, given: tuple[Match, ...]) -> bool:
    """Whether a packet for which all of `given` hold is one for which `wanted` holds."""
    return wanted in given or any(_implies(match, wanted) for match in given)


def _implies(given: Match, wanted: Match) -> bool:
    if not isinstance(given, _OF_ONE_FIELD) or not isinstance(wanted, _OF_ONE_FIELD) or given.field is not wanted.field:
        return False
    match given, wanted:
        case (Within(negated=False), Within(negated=False)):
            return all(any(lo <= low and high <= hi for lo, hi in wanted.ranges) for low, high in given.ranges)
        case (Within(negated=False), Within(negated=True)):
            return all(high < lo or hi < low for low, high in given.ranges for lo, hi in wanted.ranges)
        case (Within(negated=True), Within(negated=True)):
            return all(any(lo <= low and high <= hi for lo, hi in given.ranges) for low, high in wanted.ranges)
        case (Named(negated=False), Named(negated=False)):
            return all(any(_fits(name, pattern) for pattern in wanted.patterns) for name in given.patterns)
        case (Named(negated=False), Named(negated=True)):
            return not any(_may_meet(name, pattern) for name in given.patterns for pattern in wanted.patterns)
        case (AnyBit(negated=False), AnyBit(negated=False)):
            return given.mask & ~wanted.mask == 0
    return False


def _fits(name: str, pattern: str) -> bool:
    """Whether every interface that `name` stands for is one of `pattern`."""
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


def _may_meet(name: str, pattern: str) -> bool:
    return _fits(name, pattern) or _fits(pattern, name)
