"""Whether the expectations of a policy hold on a host, by sets of pairs that behave alike.

An expectation holds only if that is certain of every pair that it is about. Self-pairs are about nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from msgspec import Struct
from msgspec.structs import replace

from diag.model.analysis import Analysis, Group
from diag.model.health import Expectation
from diag.model.message import say
from diag.policy import model
from diag.policy.because import Because, Why
from diag.policy.model import Deny, Only, Policy, Reach, Resolve
from diag.policy.names import LookUps, Miss
from diag.policy.select import Members
from diag.policy.traffic import NOTHING, Traffic
from diag.policy.wording import expected_text
from diag.reach.matrix import bits


class Rectangle(Struct, frozen=True):
    """Every ordered pair of two sets, a name with itself left out: they behave alike."""

    sources: int
    destinations: int
    known: Traffic
    """What gets there at one or another of the addresses."""
    unknown: Traffic
    """What may or may not."""
    example: tuple[str, str]


class Broken(Struct, frozen=True):
    """Pairs of which an expectation does not hold."""

    sources: int
    destinations: int
    certain: bool
    """False: it cannot be told."""
    traffic: Traffic
    """What does not get there, or should not; nothing where any would do."""
    example: tuple[str, str]

    @property
    def pairs(self) -> int:
        both = self.sources & self.destinations
        return self.sources.bit_count() * self.destinations.bit_count() - both.bit_count()


def judge(policy: Policy, analysis: Analysis, *, fixes: bool = True) -> tuple[Expectation, ...]:
    """Every expectation of the policy, in its order. `fixes`: look for commands that would help."""
    judged = Judge(analysis)
    because = Because(analysis, policy, judged.members, fixes=fixes)
    return tuple(_one(judged, because, expected, policy.file) for expected in policy)


def _one(judged: Judge, because: Because, expected: model.Expectation, file: str) -> Expectation:
    plain = Expectation(expected.id, expected_text(expected), True, file=file, line=expected.line)
    missing = judged.members.missing(model.selectors(expected))
    if missing:
        if expected.optional:
            return replace(plain, explanation=say("It says nothing here: {why}.", why=missing))
        return replace(plain, held=False, explanation=say("{why}.", why=missing))
    if isinstance(expected, Resolve):
        return _with_misses(plain, judged.misses(expected))
    if not judged.about_some(expected):
        return replace(plain, held=False, explanation=say("Both sides are one container: it is about no pair."))
    broken = tuple(judged.broken(expected))
    if not broken:
        return plain
    certain = [each for each in broken if each.certain]
    first = (certain or broken)[0]
    pair = judged.subject(first)
    return _with_why(
        replace(plain, held=False if certain else None, failed=sum(each.pairs for each in certain or broken)),
        pair,
        because.pair(expected, pair, first.traffic, certain=bool(certain)),
    )


def _with_why(plain: Expectation, subject: tuple[str, str], why: Why) -> Expectation:
    return replace(plain, subject=subject, explanation=why.text, evidence=why.evidence, fixes=why.fixes)


def _with_misses(plain: Expectation, misses: tuple[Miss, ...]) -> Expectation:
    if not misses:
        return plain
    certain = [miss for miss in misses if miss.certain]
    first = (certain or misses)[0]
    why = Why(first.text, first.evidence)
    counted = replace(plain, held=False if certain else None, failed=len(certain or misses))
    return _with_why(counted, (first.source, first.name), why)


class Judge:
    """A host's groups and names as the expectations need them."""

    def __init__(self, analysis: Analysis) -> None:
        self.analysis = analysis
        self.members = Members(analysis.snapshot)

    @cached_property
    def rectangles(self) -> tuple[Rectangle, ...]:
        """All pairs, also those with `@host` and `@world`."""
        return tuple(self._rectangle(g) for g in (*self.analysis.groups, *self.analysis.endpoints))

    def _rectangle(self, group: Group) -> Rectangle:
        known, unknown = NOTHING, NOTHING
        for path in group.paths:
            known |= Traffic.known(path.allowed)
            unknown |= Traffic.unknown(path.allowed)
        sources, destinations = self.members.of(group.sources), self.members.of(group.destinations)
        return Rectangle(sources, destinations, known, unknown - known, group.example)

    @cached_property
    def _look_ups(self) -> LookUps:
        return LookUps(self.analysis, self.members)

    def misses(self, expected: Resolve) -> tuple[Miss, ...]:
        """The look-ups that do not give what is expected."""
        return tuple(self._look_ups.misses(expected))

    def about_some(self, expected: Reach | Deny | Only) -> bool:
        """Whether there is any pair."""
        if isinstance(expected, Only):
            return True
        sources, destinations = (self.members.any_of(s) for s in (expected.sources, expected.destinations))
        return sources != destinations or sources.bit_count() > 1

    def broken(self, expected: Reach | Deny | Only) -> Iterator[Broken]:
        """The pairs of which it does not hold, or not for certain."""
        members = self.members
        sources, destinations = members.any_of(expected.sources), members.any_of(expected.destinations)
        if isinstance(expected, Only):
            sources = (members.containers | members.world) & ~sources
        for rectangle in self.rectangles:
            a, b = rectangle.sources & sources, rectangle.destinations & destinations
            if not a or not b or (a == b and a.bit_count() == 1):
                continue
            match expected:
                case Reach():
                    found = _not_reached(rectangle, expected.traffic)
                case Deny() | Only():
                    found = _let_through(rectangle, expected.traffic)
            if found is not None:
                yield Broken(a, b, found[0], found[1], rectangle.example)

    def subject(self, broken: Broken) -> tuple[str, str]:
        """The group's example if it is one of the broken pairs, else the first of them."""
        bit = self.members.bit
        source, destination = broken.example
        if bit[source] & broken.sources and bit[destination] & broken.destinations:
            return broken.example
        names = self.members.names
        pairs = ((a, b) for a in bits(broken.sources) for b in bits(broken.destinations) if a != b)
        first, second = next(pairs)
        return names[first], names[second]


def _not_reached(rectangle: Rectangle, wanted: Traffic | None) -> tuple[bool, Traffic] | None:
    """Whether it is certain that not all of it gets there, and what does not; None: it does."""
    if wanted is None:
        return None if rectangle.known else (not rectangle.unknown, NOTHING)
    lacking = wanted - rectangle.known
    if not lacking:
        return None
    never = lacking - rectangle.unknown
    return (True, never) if never else (False, lacking)


def _let_through(rectangle: Rectangle, forbidden: Traffic) -> tuple[bool, Traffic] | None:
    """Whether it is certain that some of it gets there, and what does; None: nothing does."""
    through = forbidden & rectangle.known
    if through:
        return True, through
    perhaps = forbidden & rectangle.unknown
    return (False, perhaps) if perhaps else None
