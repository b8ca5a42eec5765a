"""Destinations that are the host itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct

from diag.kernel.fib import Fib, FibQuery
from diag.kernel.source_address import Sources
from diag.model.address import Family, Ip, Prefix
from diag.model.netns import Route, RouteType
from diag.model.snapshot import Snapshot
from diag.symbolic.stacks import Port, Stack


class Ends(Struct, frozen=True):
    """Destinations that are the host itself."""

    ports: tuple[Port, ...]
    """Addresses of the host on its links."""
    masks: Mapping[str, int]
    """Per link the host's address there, which a masqueraded packet gets."""


def ends(snapshot: Snapshot, family: Family, stacks: tuple[Stack, ...]) -> Ends:
    """The host on its links, by whichever address it calls the stacks behind them."""
    host = snapshot.netns["host"]
    fib, sources = Fib(host, family), Sources(host, family)
    ports, behind = [], defaultdict(list)
    for stack in stacks:
        for port in stack.ports:
            by = port.bridge if port.routed else port.sent_by
            if by:
                behind[by].append(port)
    for link in host.links or ():
        addresses = [a for a in link.addresses if a.ip.family is family and a.scope == "global"]
        if len(addresses) != 1 or addresses[0].tentative or not fib.is_local(addresses[0].ip.value):
            continue
        if all(_sends_from(sources, fib, port, addresses[0].ip) for port in behind[link.name]):
            ports.append(Port("host", link.name, addresses[0].ip, link.name))
    return Ends(tuple(ports), {port.bridge: port.ip for port in ports})


def _sends_from(sources: Sources, fib: Fib, port: Port, address: Ip) -> bool:
    """Whether the host calls a port from its address on the bridge, and masquerades as that towards it."""
    route = fib.lookup(FibQuery(port.ip))
    if route is None or sources.select(route, route.nexthops[0], port.ip) != address.value:
        return False
    plain = Route(Prefix(address.family, 0, 0), RouteType.UNICAST, "main")
    return sources.select(plain, route.nexthops[0], port.ip) == address.value
