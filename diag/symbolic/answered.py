"""How flows to the host fare that DNAT sends on, told where they are called: pairs with a container on its network have them."""

from __future__ import annotations

from diag.symbolic.kinds import FlowSets, Kind, Kinds
from diag.symbolic.space import Set

_LEFT = Kind(delivered=False, covered=False)


def with_answers(sets: FlowSets) -> Kinds:
    """All flows to the host, by kind. What docker-proxy takes, and DNAT to elsewhere, is left to the interpreter."""
    space, to_host = sets.pairs.space, sets.pairs.to_host
    sent_on: Set = space.empty
    found: dict[Kind, Set] = {}
    for kind, flows in sets.kinds:
        here = flows & to_host
        if kind.elsewhere:
            sent_on = sent_on | here
        elif here != space.empty:
            found[kind] = here
    for kind, flows in _answers(sets):
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
    arrived: dict[tuple[int, Kind], Set] = {}
    found: dict[Kind, Set] = {}
    for translation, product in sets.translations:
        there, port = numbers.get(translation.ip), translation.port
        called = product.flows & sets.diverting
        if there is None or called == space.empty:
            continue
        for kind, flows in sets.translated:
            if (there, kind) not in arrived:
                arrived[there, kind] = flows & space.destinations(there, there)
            fits = arrived[there, kind]
            if port is not None and fits != space.empty:
                fits = fits & space.ports(((port, port),))
            if fits != space.empty:
                here = called & space.anywhere(fits, any_port=port is not None)
                found[kind] = found.get(kind, space.empty) | here
    return tuple(found.items())
