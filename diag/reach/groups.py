"""Pairs that behave alike, as rectangles of sources and destinations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from diag.reach.pairs import PairFacts


@dataclass(frozen=True, slots=True)
class PairGroup:
    """Every ordered pair of `sources` × `destinations`, a container with itself left out."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    example: PairFacts
    same_address: bool
    """All pairs use the same destination addresses."""


def group_pairs(pairs: Iterable[PairFacts]) -> tuple[PairGroup, ...]:
    """Partition the pairs: each is in exactly one group.

    No pair has a container with itself, so that members of a clique each see different destinations: there a source
    counts as seeing itself like the others.
    """
    by_signature: dict[tuple[object, ...], dict[str, dict[str, PairFacts]]] = {}
    for pair in pairs:
        signature = (pair.reachability, *(path.signature() for path in pair.paths))
        by_signature.setdefault(signature, {}).setdefault(pair.source, {})[pair.destination] = pair
    groups = []
    for by_source in by_signature.values():
        for sources, destinations in _rectangles({source: frozenset(found) for source, found in by_source.items()}):
            members = [p for s in sources for p in by_source[s].values()]
            addresses = {tuple(p.target.ip if p.target else None for p in m.paths) for m in members}
            groups.append(PairGroup(sources, destinations, members[0], len(addresses) == 1))
    groups.sort(key=lambda g: (g.sources, g.destinations))
    return tuple(groups)


def _rectangles(seen: Mapping[str, frozenset[str]]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Join sources with the same destinations, or with the same ones once each counts itself among them."""
    alike = Counter(seen.values())
    cliques = Counter(found | {source} for source, found in seen.items())
    rectangles: dict[frozenset[str], list[str]] = {}
    for source, found in seen.items():
        closed = found | {source}
        key = closed if cliques[closed] > alike[found] else found
        rectangles.setdefault(key, []).append(source)
    for names, sources in rectangles.items():
        yield tuple(sorted(sources)), tuple(sorted(names))
