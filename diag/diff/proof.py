"""Which fact flipped a pair: each is applied alone to the old model, and the pair is judged again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from diag.diff.facts import Fact
from diag.diff.sections import Comparison
from diag.diff.verdicts import Standing, standing
from diag.interpreter.trace import Tracer
from diag.reach.beyond import RESERVED, with_world
from diag.reach.pairs import PairAnalyser, PairFacts
from diag.reach.reserved import ReservedPairs

MAX_FACTS = 200
"""Facts that are tried for a flip."""


class _Model:
    """The old host with some of the facts."""

    def __init__(self, comparison: Comparison, facts: Iterable[Fact]) -> None:
        self.snapshot = comparison.applied(atom for fact in facts for atom in fact.atoms)
        self._pairs: PairAnalyser | None = None
        self._reserved: ReservedPairs | None = None
        self._known: dict[tuple[str, str], Standing | None] = {}

    def standing(self, pair: tuple[str, str]) -> Standing | None:
        """The verdict of a pair; None where it is no pair there."""
        if pair not in self._known:
            facts = self._facts(*pair)
            found = standing(facts.reachability, facts.paths, pair[1]) if facts is not None else None
            self._known[pair] = found
        return self._known[pair]

    def _facts(self, source: str, destination: str) -> PairFacts | None:
        if source in RESERVED or destination in RESERVED:
            if self._reserved is None:
                world = with_world(self.snapshot)
                self._reserved = ReservedPairs(self.snapshot, PairAnalyser(world, Tracer(world)))
            return self._reserved.pair(source, destination)
        here, there = self.snapshot.container(source), self.snapshot.container(destination)
        if here is None or there is None:
            return None
        if self._pairs is None:
            self._pairs = PairAnalyser(self.snapshot, Tracer(self.snapshot))
        return self._pairs.pair(here, there)


class Prover:
    """Proves causes of flips between two snapshots."""

    def __init__(self, comparison: Comparison, facts: Sequence[Fact]) -> None:
        self._comparison = comparison
        self._facts = tuple(facts)
        self._models: dict[Fact, _Model] = {}

    def causes(self, pair: tuple[str, str], wanted: Standing) -> tuple[Fact, ...]:
        """Every fact that alone gives a pair, in old names, its new verdict. What somebody told comes before what nobody did."""
        near = [f for f in self._facts if not f.containers or f.containers & set(pair)]
        far = [f for f in self._facts if f.containers and not f.containers & set(pair)]
        for facts in (
            [f for f in near if not f.quiet],
            [f for f in far if not f.quiet],
            [f for f in (*near, *far) if f.quiet],
        ):
            found = tuple(f for f in facts[:MAX_FACTS] if self._gives(f, pair, wanted))
            if found:
                return found
        return ()

    def together(self, pair: tuple[str, str], wanted: Standing) -> tuple[Fact, ...]:
        """Facts that give the new verdict together and that all are needed for it; empty where even all do not."""
        if len(self._facts) < 2 or not self._hold(self._facts, pair, wanted):
            return ()
        needed = list(self._facts)
        for part in _parts(self._facts):
            left = [fact for fact in needed if fact not in part]
            if left and self._hold(left, pair, wanted):
                needed = left
        return tuple(needed) if len(needed) <= _MOST_TOGETHER else ()

    def _gives(self, fact: Fact, pair: tuple[str, str], wanted: Standing) -> bool:
        if fact not in self._models:
            self._models[fact] = _Model(self._comparison, (fact,))
        found = self._models[fact].standing(pair)
        return found is not None and not found.differs(wanted)

    def _hold(self, facts: Sequence[Fact], pair: tuple[str, str], wanted: Standing) -> bool:
        found = _Model(self._comparison, facts).standing(pair)
        return found is not None and not found.differs(wanted)


_MOST_TOGETHER = 8
"""Facts that make an explanation; more than that explain nothing."""


def _parts(facts: Sequence[Fact]) -> Iterator[Sequence[Fact]]:
    """The halves, quarters and so on down to single facts: what is not needed is soon left out."""
    size = (len(facts) + 1) // 2
    while True:
        for start in range(0, len(facts), size):
            yield facts[start : start + size]
        if size == 1:
            return
        size = (size + 1) // 2
