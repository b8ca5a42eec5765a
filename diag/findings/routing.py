"""A namespace's default routes."""

from __future__ import annotations

from diag.model.address import Family
from diag.model.netns import Netns, Route, RouteType


def default_routes(space: Netns, family: Family) -> tuple[Route, ...]:
    """Those of the main table, the one that is used first; none also where routes were not captured."""
    found = [
        route
        for route in space.routes.get(family) or ()
        if route.destination.length == 0
        and route.destination.family is family
        and route.type is RouteType.UNICAST
        and route.table == "main"
        and route.nexthops
    ]
    return tuple(sorted(found, key=lambda route: route.metric))
