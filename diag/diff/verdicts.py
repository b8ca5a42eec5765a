"""Pairs whose verdict is another, from the groups of both analyses: sets of sources per destination, not N² results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from diag.model.analysis import Allowed, Analysis, Group, Path, PortSet
from diag.model.netfilter import Ranges
from diag.model.reasons import Reachability, Reason
from diag.model.snapshot import Snapshot
from diag.reach.beyond import HOST, RESERVED
from diag.reach.matrix import chosen
from diag.reach.pairs import PathFacts

_EPHEMERAL: Ranges = ((32768, 60999),)
"""Ports that Linux gives to clients unless told otherwise (net.ipv4.ip_local_port_range)."""


class Standing(Struct, frozen=True):
    """A verdict: what counts of it when two are compared."""

    reachability: Reachability
    allowed: Allowed
    """By any of the destination's addresses."""
    shown: Allowed
    """The same with what does not count."""
    families: tuple[tuple[str, Allowed], ...] = ()
    """The same by family, where there are several."""

    def differs(self, other: Standing) -> bool:
        """Whether it is another verdict. A family counts where both know it."""
        if (self.reachability, self.allowed) != (other.reachability, other.allowed):
            return True
        mine, theirs = dict(self.families), dict(other.families)
        return any(mine[family] != theirs[family] for family in mine.keys() & theirs.keys())


def standing(reachability: Reachability, paths: Iterable[Path | PathFacts], destination: str = "") -> Standing:
    """Of a pair's paths. UDP ports of the host that its clients are given come and go, and do not count."""
    by_family: dict[str, list[Allowed]] = {}
    for path in paths:
        by_family.setdefault(_family(path), []).append(path.allowed)
    families = {family: union(found) for family, found in by_family.items()}
    whole = union(families.values())
    several = families if len(families) > 1 else {}
    by_name = tuple(sorted((family, _stable(found, destination)) for family, found in several.items()))
    return Standing(reachability, _stable(whole, destination), whole, by_name)


def _family(path: Path | PathFacts) -> str:
    if isinstance(path, Path):
        return path.family
    return path.target.ip.family.label if path.target is not None else ""


def _stable(allowed: Allowed, destination: str) -> Allowed:
    if destination != HOST or not allowed.udp:
        return allowed
    return replace(allowed, udp=without(allowed.udp, _EPHEMERAL), unknown_udp=without(allowed.unknown_udp, _EPHEMERAL))


def union(parts: Iterable[Allowed]) -> Allowed:
    """What at least one of them allows.

    >>> union([Allowed(icmp=True), Allowed(tcp=PortSet(((80, 80),)), unknown_tcp=PortSet(((1, 90),)))]).words
    'icmp; tcp 80; tcp? 1-79,81-90'
    """
    found = tuple(parts)
    if len(found) == 1:
        return found[0]
    icmp = True if any(a.icmp for a in found) else None if any(a.icmp is None for a in found) else False
    tcp, udp = _joined(a.tcp for a in found), _joined(a.udp for a in found)
    unknown_tcp, unknown_udp = _joined(a.unknown_tcp for a in found), _joined(a.unknown_udp for a in found)
    return Allowed(icmp, tcp, udp, without(unknown_tcp, tcp.ranges), without(unknown_udp, udp.ranges))


def _joined(sets: Iterable[PortSet]) -> PortSet:
    ends: list[tuple[int, int]] = []
    for low, high in sorted(r for ports in sets for r in ports.ranges):
        if ends and low <= ends[-1][1] + 1:
            ends[-1] = (ends[-1][0], max(high, ends[-1][1]))
        else:
            ends.append((low, high))
    return PortSet(tuple(ends))


def without(ports: PortSet, taken: Ranges) -> PortSet:
    """The ports that are in none of the ranges.

    >>> without(PortSet(((1, 10),)), ((4, 5), (10, 12))).words
    '1-3,6-9'
    """
    found = list(ports.ranges)
    for low, high in taken:
        left = []
        for first, last in found:
            left += [(first, min(last, low - 1))] if first < low else []
            left += [(max(first, high + 1), last)] if last > high else []
        found = left
    return PortSet(tuple(found))


class Flipped(Struct, frozen=True):
    """Pairs (`sources` × `destinations`, in old names) whose verdict changed alike."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    before: Standing
    after: Standing
    reason: Reason


class _Half(Struct, frozen=True, eq=False):
    """A group of one analysis, over the names that both have."""

    sources: int
    """A bit for each name."""
    standing: Standing
    reason: Reason


def flipped(old: Analysis, new: Analysis, names: Mapping[str, str]) -> tuple[Flipped, ...]:
    """All pairs of names that both analyses have. `names` gives the old names of those that are called otherwise now."""
    common = _common(old.snapshot, new.snapshot, names)
    position = {name: number for number, name in enumerate(common)}
    before = _columns((*old.groups, *old.endpoints), position, {})
    after = _columns((*new.groups, *new.endpoints), position, names)
    found: dict[tuple[Standing, Standing, Reason], dict[int, int]] = {}
    known: dict[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[tuple[Standing, Standing, Reason], int]]] = {}
    for place in range(len(common)):
        mine, theirs = before.get(place, []), after.get(place, [])
        alike = (tuple(map(id, mine)), tuple(map(id, theirs)))
        if alike not in known:
            known[alike] = list(_met(mine, theirs))
        for key, sources in known[alike]:
            sources &= ~(1 << place)
            if sources:
                found.setdefault(key, {})[place] = found.get(key, {}).get(place, 0) | sources
    flips = [
        Flipped(tuple(chosen(common, sources)), tuple(common[p] for p in places), *key)
        for key, by_place in found.items()
        for sources, places in _rectangles(by_place)
    ]
    return tuple(sorted(flips, key=lambda f: (-len(f.sources) * len(f.destinations), f.sources, f.destinations)))


def _common(old: Snapshot, new: Snapshot, names: Mapping[str, str]) -> list[str]:
    there = {names.get(c.name, c.name) for c in new.containers}
    return [*RESERVED, *(c.name for c in old.containers if c.name in there)]


def _columns(groups: Iterable[Group], position: Mapping[str, int], names: Mapping[str, str]) -> dict[int, list[_Half]]:
    """The groups of each destination."""
    found: dict[int, list[_Half]] = {}
    for group in groups:
        sources = 0
        for name in group.sources:
            place = position.get(names.get(name, name))
            sources |= 1 << place if place is not None else 0
        halves: dict[bool, _Half] = {}
        for name in group.destinations:
            place = position.get(names.get(name, name))
            if place is None or not sources:
                continue
            to_host = name == HOST
            if to_host not in halves:
                verdict = standing(group.reachability, group.paths, name if to_host else "")
                halves[to_host] = _Half(sources, verdict, group.paths[0].reason)
            found.setdefault(place, []).append(halves[to_host])
    return found


def _met(before: Sequence[_Half], after: Sequence[_Half]) -> Iterator[tuple[tuple[Standing, Standing, Reason], int]]:
    for old in before:
        for new in after:
            sources = old.sources & new.sources
            if sources and old.standing.differs(new.standing):
                yield (old.standing, new.standing, new.reason), sources


def _rectangles(by_place: Mapping[int, int]) -> Iterator[tuple[int, list[int]]]:
    """Destinations with the same sources, or with the same ones once each counts itself among them."""
    alike = Counter(by_place.values())
    cliques = Counter(sources | 1 << place for place, sources in by_place.items())
    joined: dict[int, list[int]] = {}
    for place, sources in by_place.items():
        closed = sources | 1 << place
        joined.setdefault(closed if cliques[closed] > alike[sources] else sources, []).append(place)
    yield from joined.items()


def first_pair(flip: Flipped) -> tuple[str, str]:
    """One of its pairs."""
    return next((s, d) for s in flip.sources for d in flip.destinations if s != d)
