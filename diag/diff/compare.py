"""Two analyses of one host to what is different between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from diag.diff.facts import Fact, facts_of
from diag.diff.lookups import changed_names
from diag.diff.matching import Matching, match
from diag.diff.proof import Prover
from diag.diff.renaming import Renaming
from diag.diff.sections import Comparison
from diag.diff.telling import Teller
from diag.diff.verdicts import Flipped, first_pair, flipped
from diag.model.analysis import Analysis
from diag.model.difference import Difference, Flip
from diag.model.finding import Finding
from diag.model.snapshot import Snapshot
from diag.reach.analysis import Analyser

_Naming = Callable[[str], str]

MAX_PROVED = 200
"""Groups of flipped pairs whose causes are looked for."""


def compare(old: Analysis, new: Analysis) -> Difference:
    """What changed from one capture to a later one. Restarts and what they bring about are no change."""
    matching = match(old.snapshot, new.snapshot)
    renaming = Renaming(old.snapshot, new.snapshot, matching)
    aligned = renaming.aligned()
    comparison = Comparison(old.snapshot, aligned)
    teller = Teller(old.snapshot, aligned, renaming)
    facts = facts_of(comparison, teller)
    flips, told = _flips(old, new, comparison, facts, matching)
    renamed = [teller.renamed(o, n) for o, n in matching.containers if o.name in matching.renamed]
    shown = (fact.change for fact in facts if not fact.quiet or fact in told)
    return Difference(
        before=old.snapshot.captured_at,
        after=new.snapshot.captured_at,
        changes=(*renamed, *shown),
        flips=flips,
        names=changed_names(old, new, matching, renaming),
        appeared=_other_findings(new.findings, old.findings, renaming.text, lambda text: text),
        gone=_other_findings(old.findings, new.findings, lambda text: text, renaming.text),
        restarted=matching.restarted,
    )


def unchanged(old: Snapshot, new: Snapshot) -> Difference | None:
    """The difference where no fact changed, so that no verdict, name or finding can have: neither has to be analysed.

    None where some did.
    """
    matching = match(old, new)
    renaming = Renaming(old, new, matching)
    aligned = renaming.aligned()
    facts = facts_of(Comparison(old, aligned), Teller(old, aligned, renaming))
    if facts or matching.renamed:
        return None
    return Difference(old.captured_at, new.captured_at, restarted=matching.restarted)


def _flips(
    old: Analysis, new: Analysis, comparison: Comparison, facts: tuple[Fact, ...], matching: Matching
) -> tuple[tuple[Flip, ...], set[Fact]]:
    """The flips, and the facts that explain them."""
    called = {o.name: n.name for o, n in matching.containers}
    found = flipped(old, new, {n: o for o, n in called.items()})
    prover = Prover(comparison, facts)
    words = _Words(new) if found else None
    flips, told = [], set[Fact]()
    for number, flip in enumerate(found):
        pair = first_pair(flip)
        because: tuple[Fact, ...] = ()
        together: tuple[Fact, ...] = ()
        if number < MAX_PROVED:
            because = prover.causes(pair, flip.after)
            together = prover.together(pair, flip.after) if not because else ()
        told |= {*because, *together}
        flips.append(_flip(flip, pair, called, words, because, together))
    return tuple(flips), told


def _flip(
    flip: Flipped,
    pair: tuple[str, str],
    called: Mapping[str, str],
    words: _Words | None,
    because: Iterable[Fact],
    together: Iterable[Fact],
) -> Flip:
    example = called.get(pair[0], pair[0]), called.get(pair[1], pair[1])
    before, after, family = flip.before.shown, flip.after.shown, ""
    if (flip.before.reachability, flip.before.allowed) == (flip.after.reachability, flip.after.allowed):
        theirs = dict(flip.after.families)
        family, before, after = next(
            (f, a, theirs[f]) for f, a in flip.before.families if f in theirs and theirs[f] != a
        )
    return Flip(
        sources=tuple(sorted(called.get(s, s) for s in flip.sources)),
        destinations=tuple(sorted(called.get(d, d) for d in flip.destinations)),
        before=flip.before.reachability,
        after=flip.after.reachability,
        allowed_before=before,
        allowed_after=after,
        reason=flip.reason,
        example=example,
        explanation=words.of(example) if words is not None else "",
        because=tuple(fact.change for fact in because),
        together=tuple(fact.change for fact in together),
        family=family,
    )


class _Words:
    """Explanations of single pairs of the new analysis."""

    def __init__(self, new: Analysis) -> None:
        self._examples = {
            group.example: group.paths[0].explanation for group in (*new.groups, *new.endpoints) if group.paths
        }
        self._analyser: Analyser | None = None
        self._new = new

    def of(self, pair: tuple[str, str]) -> str:
        """What the new capture says of a pair."""
        if pair not in self._examples:
            self._examples[pair] = self._explained(*pair)
        return self._examples[pair]

    def _explained(self, source: str, destination: str) -> str:
        snapshot = self._new.snapshot
        if self._analyser is None:
            self._analyser = Analyser(snapshot)
        here, there = snapshot.container(source), snapshot.container(destination)
        if here is None or there is None:
            facts = self._analyser.reserved(snapshot).pair(source, destination)
        else:
            facts = self._analyser.pairs.pair(here, there)
        return self._analyser.explainer.path(facts, facts.paths[0])


def _other_findings(
    mine: Iterable[Finding], theirs: Iterable[Finding], my_names: _Naming, their_names: _Naming
) -> tuple[Finding, ...]:
    """Findings that have none of their key on the other side, in old names."""
    known = {(f.code, their_names(f.subject)) for f in theirs}
    return tuple(f for f in mine if (f.code, my_names(f.subject)) not in known)
