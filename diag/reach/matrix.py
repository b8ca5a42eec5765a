"""Every ordered pair, as classes of pairs that behave alike: sets of sources per destination, not N² results.

Most pairs are decided at once by :mod:`diag.symbolic`. The interpreter decides the others one by one, and one pair of
each class, whose trace gives the reason: where it does not see the same set of flows, the whole class is left to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, reduce
from itertools import accumulate, chain, compress, count
from operator import or_
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from diag.model.address import Ip
from diag.model.docker import Container
from diag.model.flow import Trace
from diag.model.reasons import Reachability
from diag.model.snapshot import Snapshot
from diag.reach.pairs import ORDER, PairAnalyser, PairFacts, PathFacts, Target, reachability_of
from diag.reach.windows import sampled
from diag.symbolic.behaviours import Behaviour, Decisions, Solution
from diag.symbolic.engine import Solutions, solve
from diag.symbolic.kinds import Kind

T = TypeVar("T")
Signature = tuple[object, ...]
_Alike = tuple[Sequence[Target], tuple[Behaviour, ...], int]
"""Addresses of a destination, what flows to each of them do, and the callers of whom that is so, a bit per container."""
_Spans = tuple[tuple[int, Behaviour], ...]
"""Callers, a bit per container, with what their flows to one address do."""


class Cell(Struct, frozen=True):
    """Sources whose pairs with one destination behave alike."""

    sources: int
    """A bit per container of the snapshot, in its order."""
    reachability: Reachability
    paths: tuple[PathFacts, ...]
    """Best first; what they cite is of one of the pairs."""
    signature: Signature
    behaviours: tuple[Behaviour, ...] = ()
    """Per address of the destination, where the symbolic engine covers the pairs, or a part of their flows."""


class Column(Struct, frozen=True):
    """Every pair with one destination: each source but itself is in one cell."""

    position: int
    """The destination's, in the snapshot's containers."""
    destination: Container
    cells: tuple[Cell, ...]


_FLAGS = bytes.maketrans(b"01", b"\0\1")


def chosen(items: Iterable[T], mask: int) -> Iterator[T]:
    """The items whose bits are set, the lowest bit being the first item's.

    >>> "".join(chosen("abcd", 0b1010))
    'bd'
    """
    return compress(items, bin(mask)[:1:-1].encode().translate(_FLAGS))


def lowest(mask: int) -> int:
    """The position of the first bit that is set.

    >>> lowest(0b1010)
    1
    """
    return (mask & -mask).bit_length() - 1


def bits(mask: int) -> Iterator[int]:
    """The positions of the bits that are set.

    >>> list(bits(0b1010))
    [1, 3]
    """
    return chosen(count(), mask)


class PairMatrix:
    """All pairs of a snapshot's containers."""

    def __init__(self, snapshot: Snapshot, pairs: PairAnalyser, solutions: Solutions | None = None) -> None:
        """`solutions` may be those of the same host with the world at its uplinks."""
        self.snapshot = snapshot
        self.pairs = pairs
        self._everyone = (1 << len(snapshot.containers)) - 1
        self._in_netns: dict[str, int] = {}
        for position, container in enumerate(snapshot.containers):
            netns = snapshot.netns_of.get(container.name)
            if netns is not None:
                self._in_netns[netns] = self._in_netns.get(netns, 0) | 1 << position
        if solutions is None:
            solutions = solve(snapshot, pairs.tracer.world.topology, with_host="host" in self._in_netns)
        self._decisions = Decisions(solutions)
        self._alike = dict(entry for solution in solutions.values() for entry in self._by_destination(solution))
        self._witnesses: dict[tuple[bool, Behaviour], PathFacts | None] = {}
        """By whether the host is called, and what the flows do."""
        self._unheard: dict[Kind, Trace] = {}
        self._traces: dict[tuple[Behaviour, Target], dict[Kind, Trace]] = {}
        """Of behaviours that are covered in part, by kind."""
        self._in_parts: dict[tuple[Behaviour, str, Target], PathFacts] = {}
        self._samples: dict[tuple[Behaviour, str, Target], PathFacts | None] = {}

    def columns(self) -> Iterator[Column]:
        """Every destination, in the containers' order."""
        for position, destination in enumerate(self.snapshot.containers):
            cells = list(self._solved(destination))
            seen = 1 << position
            for cell in cells:
                seen |= cell.sources
            others = self._one_by_one(destination, self._everyone & ~seen)
            yield Column(position, destination, tuple(_of_one_signature(chain(cells, others))))

    def _by_destination(self, solution: Solution) -> Iterator[tuple[Ip, _Spans]]:
        """For each destination the containers that call it alike, as masks."""
        ports = solution.pairs.ports
        stacks = (self._in_netns.get(stack.netns, 0) for stack in solution.pairs.stacks)
        below = [0, *accumulate(stacks, or_)]
        on_host = self._in_netns.get("host", 0)
        known: dict[int, _Spans] = {}
        for row in solution.rows:
            masks = known.get(id(row.spans))
            if masks is None:
                spans = ((below[last + 1] ^ below[first], behaviour) for first, last, behaviour in row.spans)
                masks = known[id(row.spans)] = tuple((mask, behaviour) for mask, behaviour in spans if mask)
            address = ports[row.destination].address
            yield address, (*masks, (on_host, solution.from_host[address.value])) if on_host else masks

    def standing(self, touched: frozenset[str]) -> list[tuple[int, int]]:
        """Per destination who reaches it and who reaches it in part; of pairs with none of `touched` nothing, if it is given."""
        moved = self._mask_of(touched) if touched else self._everyone
        found = []
        for position, destination in enumerate(self.snapshot.containers):
            wanted = self._everyone if moved >> position & 1 else moved
            wanted &= ~(1 << position)
            masks = dict.fromkeys(Reachability, 0)
            for _, behaviours, sources in self._covered(destination):
                best = min((reachability_of(b.allowed) for b in behaviours), key=ORDER.__getitem__)
                masks[best] |= sources & wanted
                wanted &= ~sources
            for cell in self._one_by_one(destination, wanted):
                masks[cell.reachability] |= cell.sources
            found.append((masks[Reachability.REACHABLE], masks[Reachability.PARTIAL]))
        return found

    def _mask_of(self, names: frozenset[str]) -> int:
        return sum(1 << position for position, c in enumerate(self.snapshot.containers) if c.name in names)

    def _solved(self, destination: Container) -> Iterator[Cell]:
        """The cells that the symbolic engine gives."""
        on_host = self.snapshot.netns_of.get(destination.name) == "host"
        for targets, behaviours, sources in self._covered(destination):
            cell = self._cell(sources, targets, behaviours, to_host=on_host)
            if cell is not None:
                yield cell

    def _covered(self, destination: Container) -> Iterator[_Alike]:
        """The callers all of whose flows the symbolic engine covers."""
        for found in self._callers(destination):
            if all(behaviour.covered for behaviour in found[1]):
                yield found

    def _callers(self, destination: Container) -> Sequence[_Alike]:
        """Callers that the symbolic engine knows, by what their flows to each of the destination's addresses do."""
        there = self.snapshot.netns_of.get(destination.name)
        if there == "host":
            return self._callers_of_host
        targets = self.pairs.own_addresses(destination) if there is not None else ()
        spans = [self._alike.get(target.ip) for target in targets]
        if not spans or there is None:
            return ()
        alike: dict[tuple[Behaviour, ...], int] = {(): self._everyone & ~self._in_netns.get(there, 0)}
        for found in spans:
            if found is None:
                return ()
            finer: dict[tuple[Behaviour, ...], int] = {}
            for behaviours, sources in alike.items():
                for mask, behaviour in found:
                    both = sources & mask
                    if both:
                        key = (*behaviours, behaviour)
                        finer[key] = finer.get(key, 0) | both
            alike = finer
        return [(targets, behaviours, sources) for behaviours, sources in alike.items()]

    @cached_property
    def _unseen(self) -> int:
        """Callers of which whatever they send is as unknown as what the others do."""
        lost = (netns.id for netns in self.snapshot.netns.values() if netns.unseen)
        return reduce(or_, (self._in_netns.get(netns, 0) for netns in lost), 0)

    @cached_property
    def _callers_of_host(self) -> Sequence[_Alike]:
        """The same of any container on the host's network: each caller has addresses of its own for the host."""
        alike: dict[tuple[tuple[Target, ...], tuple[Behaviour, ...]], int] = {}
        for netns, sources in self._in_netns.items():
            targets = tuple(self.pairs.host_targets(netns)) if netns != "host" else ()
            behaviours = tuple(b for t in targets if (b := self._decisions.to_host(netns, t.ip)) is not None)
            if targets and len(behaviours) == len(targets):
                alike[targets, behaviours] = alike.get((targets, behaviours), 0) | sources
        return [(targets, behaviours, sources) for (targets, behaviours), sources in alike.items()]

    def _cell(
        self, sources: int, targets: Sequence[Target], behaviours: tuple[Behaviour, ...], *, to_host: bool
    ) -> Cell | None:
        netns = self.snapshot.netns_of[self.snapshot.containers[lowest(sources)].name]
        paths = []
        for target, behaviour in zip(targets, behaviours, strict=True):
            witness = self._witness(behaviour, netns, target, to_host=to_host)
            if witness is None:
                return None
            paths.append(replace(witness, target=target))
        paths.sort(key=lambda path: ORDER[path.reachability])
        return replace(_cell(sources, paths[0].reachability, tuple(paths)), behaviours=behaviours)

    def _witness(self, behaviour: Behaviour, netns: str, target: Target, *, to_host: bool) -> PathFacts | None:
        """What the interpreter says of one pair of a behaviour; None where it says something else."""
        key = (to_host, behaviour)
        if key not in self._witnesses:
            self._witnesses[key] = self._sampled(behaviour, netns, target, to_host=to_host)
        return self._witnesses[key]

    def _sampled(self, behaviour: Behaviour, netns: str, target: Target, *, to_host: bool) -> PathFacts | None:
        """The same with traces of this pair; what the engine does not cover of it is traced flow by flow."""
        key = (behaviour, netns, target)
        if key not in self._samples:
            unheard = self._unheard if to_host else None
            sweep = sampled(self.pairs.tracer, netns, target.ip, behaviour, unheard)
            self._samples[key] = self.pairs.path_of(target, sweep) if sweep is not None else None
        return self._samples[key]

    def _one_by_one(self, destination: Container, sources: int) -> Iterator[Cell]:
        """What the symbolic engine does not cover, or a part of which it does not."""
        for targets, behaviours, alike in self._callers(destination):
            if any(behaviour.partial for behaviour in behaviours):
                for position in bits(sources & alike):
                    yield self._in_part(position, targets, behaviours)
                sources &= ~alike
        there = self.snapshot.netns_of.get(destination.name)
        # Each calls the host by an address of its own network: for those they are not alike.
        unseen = sources & self._unseen & ~self._in_netns.get(there or "", 0) if there != "host" else 0
        for alike in (unseen, *(1 << position for position in bits(sources & ~unseen))):
            if alike:
                facts = self.pairs.pair(self.snapshot.containers[lowest(alike)], destination)
                yield _cell(alike, facts.reachability, facts.paths)

    def _in_part(self, source: int, targets: Sequence[Target], behaviours: tuple[Behaviour, ...]) -> Cell:
        """One pair of which a part is covered: by traces of others like it as far as these go."""
        netns = self.snapshot.netns_of[self.snapshot.containers[source].name]
        paths = [
            self._path_in_part(behaviour, netns, target) for behaviour, target in zip(behaviours, targets, strict=True)
        ]
        paths.sort(key=lambda path: ORDER[path.reachability])
        return replace(_cell(1 << source, paths[0].reachability, tuple(paths)), behaviours=behaviours)

    def _path_in_part(self, behaviour: Behaviour, netns: str, target: Target) -> PathFacts:
        """One address. Containers on the host's network have the host's in common."""
        key = (behaviour, netns, target)
        if key not in self._in_parts:
            traces = self._traces.setdefault((behaviour, target), {})
            found = sampled(self.pairs.tracer, netns, target.ip, behaviour, traces=traces)
            path = self.pairs.path_of(target, found) if found is not None else self.pairs.path(netns, target)
            self._in_parts[key] = path
        return self._in_parts[key]

    def example(self, column: Column, cell: Cell) -> PairFacts:
        """The first pair of a cell, with traces of its own, one for each kind of its flows."""
        source, destination = self.snapshot.containers[lowest(cell.sources)], column.destination
        if not cell.behaviours:
            return self.pairs.pair(source, destination)
        netns, to_host = self.snapshot.netns_of[source.name], self.snapshot.netns_of[destination.name] == "host"
        paths = [
            self._sampled(behaviour, netns, target, to_host=to_host)
            for behaviour, target in zip(cell.behaviours, self.pairs.targets(netns, destination), strict=True)
        ]
        found = [path for path in paths if path is not None]
        if len(found) != len(paths):
            return self.pairs.pair(source, destination)
        found.sort(key=lambda path: ORDER[path.reachability])
        return PairFacts(source.name, destination.name, found[0].reachability, tuple(found))


def _of_one_signature(cells: Iterable[Cell]) -> Iterable[Cell]:
    """Cells that say the same as one; what it cites is of its first source."""
    found: dict[Signature, Cell] = {}
    for cell in cells:
        known = found.setdefault(cell.signature, cell)
        if known is not cell:
            first = min(known, cell, key=lambda c: lowest(c.sources))
            found[cell.signature] = replace(first, sources=known.sources | cell.sources)
    return found.values()


def _cell(sources: int, reachability: Reachability, paths: tuple[PathFacts, ...]) -> Cell:
    return Cell(sources, reachability, paths, (reachability, *(path.signature() for path in paths)))
