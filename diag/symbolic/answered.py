"""How flows to the host fare that DNAT sends on, told where they are called: pairs with a container on its network have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from diag.symbolic.kinds import FlowSets, Kind, Kinds
from diag.symbolic.space import PacketSpace, Set

_LEFT = Kind(delivered=False, covered=False)


def with_answers(sets: FlowSets) -> Kinds:
    """All flows to the host, by kind. DNAT to elsewhere is left to the interpreter."""
    space, to_host = sets.pairs.space, sets.pairs.to_host
    sent_on: Set = space.empty
    found: dict[Kind, Set] = {}
    for kind, flows in sets.kinds:
        here = flows & to_host
        if kind.elsewhere:
            sent_on = sent_on | here
        elif here != space.empty:
            found[kind] = here
    for kind, flows in (*sets.proxied, *_answers(sets)):
        here = flows & sent_on
        if here != space.empty:
            found[kind] = found.get(kind, space.empty) | here
            sent_on = sent_on & ~here
    if sent_on != space.empty:
        found[_LEFT] = found.get(_LEFT, space.empty) | sent_on
    return tuple(found.items())


def _answers(sets: FlowSets) -> Kinds:
    """The kinds of the new destinations, put back to where these were called."""
    space = sets.pairs.space
    numbers = {port.ip: number for number, port in enumerate(sets.pairs.ports)}
    arrived: dict[int, list[tuple[Kind, Set]]] = {}
    found: dict[Kind, list[Set]] = defaultdict(list)
    for translation, product in sets.translations:
        there, port = numbers.get(translation.ip), translation.port
        called = product.flows & sets.diverting
        if there is None or called == space.empty:
            continue
        if there not in arrived:
            arrived[there] = list(_within(space, sets.translated, space.destinations(there, there)))
        asked = space.ports(((port, port),)) if port is not None else space.all
        for kind, flows in _within(space, arrived[there], asked):
            found[kind].append(called & space.anywhere(flows, any_port=port is not None))
    return tuple((kind, sets.pairs.of_stacks(space.union(flows))) for kind, flows in found.items())


def _within(space: PacketSpace, kinds: Iterable[tuple[Kind, Set]], wanted: Set) -> Iterator[tuple[Kind, Set]]:
    for kind, flows in kinds:
        here = flows & wanted
        if here != space.empty:
            yield kind, here
