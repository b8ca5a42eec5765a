"""A first policy from today's verdicts: what is so now is to stay so.

Networks, Compose services and projects stand for their containers wherever they say the same, so that a host of a
thousand containers gives hundreds of lines and not a million. What cannot be told is not expected, and not forbidden.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from diag.model.analysis import Analysis, NameAnswer
from diag.model.reasons import Via
from diag.names.resolver import Resolver
from diag.policy.cover import Cover
from diag.policy.judge import Judge
from diag.policy.model import Deny, Only, Policy, Reach, Resolve
from diag.policy.select import Members
from diag.policy.traffic import ALL_TRAFFIC, Traffic
from diag.reach.matrix import bits

Rows = dict[int, int]
"""A set of destinations for each source, by its position."""


def policy_of_today(analysis: Analysis, file: str) -> Policy:
    """It holds on the host that it is made from. `@host` is in none of it: it is on every bridge itself."""
    judged = Judge(analysis)
    verdicts = _Verdicts(judged)
    names = _Names(analysis, judged.members)
    return Policy(file, tuple(verdicts.reach()), tuple(verdicts.deny()), tuple(verdicts.only()), tuple(names.resolve()))


class _Verdicts:
    """What pairs of containers, and pairs with the world, are allowed today."""

    def __init__(self, judged: Judge) -> None:
        self.members = judged.members
        self.cover = Cover(judged.members)
        members = judged.members
        sides = members.containers | members.world
        self.known: dict[Traffic, Rows] = {}
        """By what is known to get there."""
        self.possible: dict[Traffic, Rows] = {}
        """By what gets there or may."""
        for rectangle in judged.rectangles:
            sources, destinations = rectangle.sources & sides, rectangle.destinations & sides
            for found, traffic in (
                (self.known, rectangle.known),
                (self.possible, rectangle.known | rectangle.unknown),
            ):
                if traffic and sources and destinations:
                    rows = found.setdefault(traffic, {})
                    for source in bits(sources):
                        rows[source] = rows.get(source, 0) | destinations & ~(1 << source)

    def reach(self) -> Iterator[Reach]:
        """Whole networks first, what is left by what gets there."""
        everything = self.known.get(ALL_TRAFFIC, {})
        number = 0
        for network in self.cover.cliques(everything):
            number += 1
            selected = (self.cover.network(network),)
            yield Reach(id=f"reach[{number}]", sources=selected, destinations=selected, traffic=ALL_TRAFFIC)
            take_away(everything, self.members.on_network[network])
        for traffic, rows in sorted(self.known.items(), key=lambda each: _order(each[0])):
            for sources, destinations in rectangles(rows):
                number += 1
                yield Reach(
                    id=f"reach[{number}]",
                    sources=self.cover.of(sources),
                    destinations=self.cover.of(destinations),
                    traffic=traffic,
                )

    def deny(self) -> Iterator[Deny]:
        """The rest of what reaches its destination in part."""
        number = 0
        for traffic, rows in sorted(self.possible.items(), key=lambda each: _order(each[0])):
            if traffic == ALL_TRAFFIC:
                continue
            for sources, destinations in rectangles(rows):
                number += 1
                yield Deny(
                    id=f"deny[{number}]",
                    sources=self.cover.of(sources),
                    destinations=self.cover.of(destinations),
                    traffic=ALL_TRAFFIC - traffic,
                )

    def only(self) -> Iterator[Only]:
        """Nothing else reaches them."""
        everyone = self.members.containers | self.members.world
        columns: Rows = dict.fromkeys(bits(everyone), 0)
        for rows in self.possible.values():
            for source, destinations in rows.items():
                for destination in bits(destinations):
                    columns[destination] |= 1 << source
        number = 0
        for destinations, sources in rectangles(columns, empty=True):
            others = everyone & ~sources
            if not others or (others == destinations and others.bit_count() == 1):
                continue
            number += 1
            yield Only(id=f"only[{number}]", sources=self.cover.of(sources), destinations=self.cover.of(destinations))


class _Names:
    """What containers call each other today: by their own names, by Compose's services, and by links."""

    def __init__(self, analysis: Analysis, members: Members) -> None:
        self.members = members
        self.cover = Cover(members)
        self.scopes = analysis.names
        self._resolver = Resolver(analysis.snapshot)
        self._ids = {container.short_id for container in analysis.snapshot.containers}
        """`--link` gives a name to these too; they do not last."""
        self._owners: dict[int, int] = {}
        """By the answer's identity: answers are shared by containers that get the same."""

    def _target(self, answer: NameAnswer) -> int:
        """The containers that the name leads to; nothing where an address is nobody's."""
        key = id(answer)
        if key not in self._owners:
            owners = [self.members.bit.get(self._resolver.owner(address), 0) for address in answer.addresses]
            self._owners[key] = self._joined(owners) if owners and all(owners) else 0
        return self._owners[key]

    @staticmethod
    def _joined(masks: list[int]) -> int:
        found = 0
        for mask in masks:
            found |= mask
        return found

    def resolve(self) -> Iterator[Resolve]:
        own, others = self._today()
        number = 0
        for network in self.cover.cliques(own):
            number += 1
            selected = (self.cover.network(network),)
            yield Resolve(id=f"resolve[{number}]", sources=selected, targets=selected)
            take_away(own, self.members.on_network[network])
        for sources, targets in rectangles(own):
            number += 1
            yield Resolve(id=f"resolve[{number}]", sources=self.cover.of(sources), targets=self.cover.of(targets))
        for (name, target), sources in sorted(others.items()):
            number += 1
            yield Resolve(
                id=f"resolve[{number}]", sources=self.cover.of(sources), name=name, targets=self.cover.of(target)
            )

    def _today(self) -> tuple[Rows, Mapping[tuple[str, int], int]]:
        """Who is resolved by its own name, and sources by other names with what they lead to."""
        services = {(service, mask): mask for (_, service), mask in self.members.services.items() if service}
        of_service: dict[str, list[int]] = {}
        for service, mask in services:
            of_service.setdefault(service, []).append(mask)
        own: Rows = {}
        others: dict[tuple[str, int], int] = {}
        for scope in self.scopes:
            source = self.members.bit.get(scope.container, 0)
            for answer in scope.names:
                target = self._target(answer)
                if not source or not target:
                    continue
                if self.members.bit.get(answer.name) == target:
                    position = source.bit_length() - 1
                    own[position] = own.get(position, 0) | target & ~source
                    continue
                whole = next((mask for mask in of_service.get(answer.name, ()) if target & ~mask == 0), 0)
                if not whole and answer.via is Via.LINK and answer.name not in self._ids:
                    whole = target
                if whole:
                    key = (answer.name, whole)
                    others[key] = others.get(key, 0) | source
        return own, others


def _order(traffic: Traffic) -> tuple[bool, tuple[str, ...]]:
    return traffic != ALL_TRAFFIC, traffic.spelled


def take_away(rows: Rows, members: int) -> None:
    """Every pair of two members."""
    for source in bits(members):
        if source in rows:
            rows[source] &= ~members


def rectangles(rows: Rows, *, empty: bool = False) -> list[tuple[int, int]]:
    """Sources with the same row, or with the same one once each counts itself in it; `empty`: also those with none.

    >>> [(bin(a), bin(b)) for a, b in rectangles({0: 0b110, 1: 0b101, 2: 0b011, 3: 0b1})]
    [('0b111', '0b111'), ('0b1000', '0b1')]
    """
    wanted = {source: row for source, row in rows.items() if row or empty}
    alike = Counter(wanted.values())
    cliques = Counter(row | 1 << source for source, row in wanted.items())
    found: dict[int, int] = {}
    for source, row in sorted(wanted.items()):
        closed = row | 1 << source
        key = closed if cliques[closed] > alike[row] else row
        found[key] = found.get(key, 0) | 1 << source
    return [(sources, key) for key, sources in found.items()]
