"""Sets of containers as few selectors: networks, Compose projects and services, else names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from diag.policy.model import Selector
from diag.policy.select import Members, exactly
from diag.reach.beyond import HOST, WORLD
from diag.reach.matrix import bits


class Cover:
    """Selectors for sets of one host."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._known: dict[int, tuple[Selector, ...]] = {}

    def network(self, name: str) -> Selector:
        """A network's members."""
        return Selector(network=exactly(name))

    def cliques(self, rows: Mapping[int, int]) -> Iterator[str]:
        """Networks of which each member has each other in its row; the largest first, none within another."""
        taken: list[int] = []
        by_size = sorted(self._members.on_network.items(), key=lambda each: (-each[1].bit_count(), each[0]))
        for name, mask in by_size:
            if not name or mask.bit_count() < 2 or any(mask & ~larger == 0 for larger in taken):
                continue
            if all(mask & ~(rows.get(source, 0) | 1 << source) == 0 for source in bits(mask)):
                taken.append(mask)
                yield name

    def of(self, mask: int) -> tuple[Selector, ...]:
        """Selectors that fit exactly these."""
        if mask not in self._known:
            self._known[mask] = tuple(self._selectors(mask))
        return self._known[mask]

    def _selectors(self, mask: int) -> Iterator[Selector]:
        members = self._members
        for reserved, name in ((members.world, WORLD), (members.host, HOST)):
            if mask & reserved:
                yield Selector(name)
        left = mask & members.containers
        if left == members.containers and left.bit_count() > 1:
            yield Selector("*")
            return
        usable = [(fit, selector) for fit, selector in self._larger if fit & ~mask == 0]
        while usable:
            gain, _, selector, fit = max(
                ((fit & left).bit_count(), -place, selector, fit) for place, (fit, selector) in enumerate(usable)
            )
            if gain < 2:
                break
            yield selector
            left &= ~fit
        services = {bit: selector for fit, selector in self._services if fit & ~mask == 0 for bit in bits(fit & left)}
        done: set[Selector] = set()
        for position in bits(left):
            selector = services.get(position) or Selector(exactly(members.names[position]))
            if selector not in done:
                done.add(selector)
                yield selector

    @cached_property
    def _services(self) -> list[tuple[int, Selector]]:
        """Each of which may have one container only: its name may change, the service's does not."""
        return [
            (mask, Selector(project=exactly(project), service=exactly(service)))
            for (project, service), mask in sorted(self._members.services.items())
            if service and "/" not in project + service
        ]

    @cached_property
    def _larger(self) -> list[tuple[int, Selector]]:
        """In the order in which they are preferred where two fit as many."""
        projects: dict[str, int] = {}
        for (project, _), mask in sorted(self._members.services.items()):
            projects[project] = projects.get(project, 0) | mask
        found = [(mask, Selector(project=exactly(name))) for name, mask in projects.items() if "/" not in name]
        found += self._services
        found += [(mask, self.network(name)) for name, mask in sorted(self._members.on_network.items()) if name]
        return found
