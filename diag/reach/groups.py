"""Pairs that behave alike, as rectangles of sources and destinations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from diag.reach.matrix import Cell, Column, PairMatrix, Signature, chosen
from diag.reach.pairs import PairFacts


class PairGroup(Struct, frozen=True):
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


def group_columns(matrix: PairMatrix) -> tuple[PairGroup, ...]:
    """The same of a matrix: what is alike for a set of sources is so for all destinations that have the same set."""
    by_signature: dict[Signature, list[tuple[Column, Cell]]] = {}
    for column in matrix.columns():
        for cell in column.cells:
            by_signature.setdefault(cell.signature, []).append((column, cell))
    everyone = [container.name for container in matrix.snapshot.containers]
    groups = []
    for found in by_signature.values():
        for sources, members in _joined(found):
            column, cell = members[0]
            addresses = {tuple(p.target.ip if p.target else None for p in c.paths) for _, c in members}
            names = tuple(chosen(everyone, sources))
            destinations = tuple(column.destination.name for column, _ in members)
            groups.append(PairGroup(names, destinations, matrix.example(column, cell), len(addresses) == 1))
    groups.sort(key=lambda g: (g.sources, g.destinations))
    return tuple(groups)


def _joined(found: list[tuple[Column, Cell]]) -> Iterator[tuple[int, list[tuple[Column, Cell]]]]:
    """Destinations with the same sources, or with the same ones once each counts itself among them."""
    alike = Counter(cell.sources for _, cell in found)
    cliques = Counter(cell.sources | 1 << column.position for column, cell in found)
    joined: dict[int, list[tuple[Column, Cell]]] = {}
    for column, cell in found:
        closed = cell.sources | 1 << column.position
        key = closed if cliques[closed] > alike[cell.sources] else cell.sources
        joined.setdefault(key, []).append((column, cell))
    yield from joined.items()


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
