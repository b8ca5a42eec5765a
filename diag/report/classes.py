"""Containers that behave alike, and their order: those on the same networks next to each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from msgspec import Struct

from diag.model.analysis import Group
from diag.model.snapshot import Snapshot


class Placed(Struct, frozen=True):
    """A container and the networks that it is on; one that joined another is on that one's."""

    name: str
    networks: tuple[str, ...]


def placed(snapshot: Snapshot) -> list[Placed]:
    """Every container once, in the order of the networks; those on none are last."""
    position = {network.name: number for number, network in enumerate(snapshot.networks)}
    stacks: dict[str, tuple[str, ...]] = {}
    for container in snapshot.containers:
        names = {e.network for e in container.endpoints}
        if names:
            on = tuple(sorted(names, key=lambda n: (position.get(n, len(position)), n)))
            stacks.setdefault(snapshot.netns_of.get(container.name, container.name), on)
    every = dict.fromkeys(c.name for c in snapshot.containers)
    found = [Placed(name, stacks.get(snapshot.netns_of.get(name, name), ())) for name in every]
    found.sort(key=lambda p: (not p.networks, [position.get(n, len(position)) for n in p.networks], p.networks, p.name))
    return found


class Class(Struct, frozen=True):
    """Containers that no group tells apart."""

    members: tuple[Placed, ...]


class Classes:
    """All containers of one host by class."""

    def __init__(self, snapshot: Snapshot, groups: Sequence[Group]) -> None:
        """`groups` are known by their position."""
        self.placed = placed(snapshot)
        """In the order of the report."""
        sides: dict[str, tuple[list[int], list[int]]] = {p.name: ([], []) for p in self.placed}
        for number, group in enumerate(groups):
            for name in group.sources:
                sides[name][0].append(number)
            for name in group.destinations:
                sides[name][1].append(number)
        alike: dict[object, list[Placed]] = {}
        for one in self.placed:
            as_source, as_destination = sides[one.name]
            alike.setdefault((one.networks, *as_source, None, *as_destination), []).append(one)
        self.all = tuple(Class(tuple(members)) for members in alike.values())
        self.of = {one.name: number for number, found in enumerate(self.all) for one in found.members}
        """Position in `all`, by name."""
        self.groups = {
            (source, destination): number
            for number, group in enumerate(groups)
            for source in self.numbers(group.sources)
            for destination in self.numbers(group.destinations)
        }
        """Number of the group, by class of the source and of the destination."""

    def numbers(self, names: Iterable[str]) -> set[int]:
        """The classes of some containers."""
        return {self.of[name] for name in names}


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as text.

    >>> ranges([7, 1, 2, 3, 9])
    '1-3,7,9'
    """
    return ",".join(_runs(sorted(numbers)))


def _runs(ordered: list[int]) -> Iterator[str]:
    for _, run in groupby(enumerate(ordered), key=lambda one: one[1] - one[0]):
        of_run = [number for _, number in run]
        yield str(of_run[0]) if len(of_run) == 1 else f"{of_run[0]}-{of_run[-1]}"
