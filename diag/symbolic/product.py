"""Flows as a product, for of published ports there are thousands on a host, and most of them share their pairs."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from diag.symbolic.space import PacketSpace, Set


class Product(Struct, frozen=True):
    """The flows of some pairs with some protocols and ports."""

    pairs: Set
    """Says nothing of protocols and ports, unless all of these are meant."""
    ports: Set | None = None
    """Says nothing of pairs; None: all."""

    @property
    def flows(self) -> Set:
        return self.pairs if self.ports is None else self.pairs & self.ports

    def within(self, flows: Set) -> Product:
        """Those of some flows."""
        return Product(self.flows & flows)

    def joined(self, other: Product) -> Product:
        """Those of both."""
        return Product(self.flows | other.flows)


def union(space: PacketSpace, products: Iterable[Product]) -> Set:
    """The flows of any: of the side of which there are fewer sets, what goes with each is joined first."""
    by_pairs: dict[Set, list[Set]] = {}
    by_ports: dict[Set, list[Set]] = {}
    for product in products:
        ports = space.all if product.ports is None else product.ports
        by_pairs.setdefault(product.pairs, []).append(ports)
        by_ports.setdefault(ports, []).append(product.pairs)
    fewer = min(by_pairs, by_ports, key=len)
    return space.union(one & space.union(others) for one, others in fewer.items())
