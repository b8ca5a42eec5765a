"""Which of its addresses a namespace sends from.

IPv4 follows inet_select_addr() of net/ipv4/devinet.c, IPv6 ipv6_dev_get_saddr() of net/ipv6/addrconf.c, which is
RFC 6724 section 5 with the default policy table.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

from diag.model.address import Family, Ip, Prefix
from diag.model.netns import Address, Netns, Nexthop, Route, RouteType


class Sources:
    """One family's addresses of one namespace, by interface."""

    def __init__(self, netns: Netns, family: Family) -> None:
        self._netns = netns
        self._family = family

    @cached_property
    def _by_dev(self) -> dict[str, list[Address]]:
        found: dict[str, list[Address]] = {}
        for link in self._netns.links or ():
            for address in link.addresses:
                if address.ip.family is self._family and not address.tentative:
                    found.setdefault(link.name, []).append(address)
        return found

    def select(self, route: Route, nexthop: Nexthop | None, daddr: int) -> int | None:
        """The address that a socket gets which has none: the route's `src`, else the first that fits.

        None: there is no address to send from.
        """
        if route.prefsrc is not None:
            return route.prefsrc.value
        if route.type is RouteType.LOCAL:
            return daddr
        return self.on_the_way(nexthop, daddr)

    def on_the_way(self, nexthop: Nexthop | None, daddr: int) -> int | None:
        """The first address that fits a next hop."""
        dev = nexthop.dev if nexthop else ""
        if self._family is Family.IPV6:
            return self._select_ipv6(dev, Ip(self._family, daddr))
        target = daddr
        if nexthop and nexthop.gateway and nexthop.gateway.family is self._family:
            target = nexthop.gateway.value
        return self._select_ipv4(dev, target)

    def _select_ipv4(self, dev: str, target: int) -> int | None:
        usable = [a for a in self._by_dev.get(dev, ()) if a.scope != "host" and not a.secondary]
        for address in usable:
            if address.prefix.contains_value(target):
                return address.ip.value
        if usable:
            return usable[0].ip.value
        return next((a.ip.value for found in self._by_dev.values() for a in found if a.scope == "global"), None)

    @cached_property
    def _by_scope(self) -> dict[int, dict[str, list[Address]]]:
        """By scope, then by interface."""
        found: dict[int, dict[str, list[Address]]] = {}
        for dev, addresses in self._by_dev.items():
            for address in addresses:
                found.setdefault(_scope(address.ip), {}).setdefault(dev, []).append(address)
        return found

    @cached_property
    def _devs_of(self) -> dict[int, set[str]]:
        """The interfaces that have an address."""
        found: dict[int, set[str]] = {}
        for dev, addresses in self._by_dev.items():
            for address in addresses:
                found.setdefault(address.ip.value, set()).add(dev)
        return found

    def _select_ipv6(self, dev: str, target: Ip) -> int | None:
        """The rules of RFC 6724 one after the other: a host has thousands of addresses, and few that the first leave."""
        wanted = _scope(target)
        anywhere = not (target.is_multicast or wanted <= _LINK_SCOPE)
        owners = self._devs_of.get(target.value, set())
        if dev in owners or (anywhere and owners):
            return target.value
        scopes = [scope for scope, by_dev in self._by_scope.items() if anywhere or dev in by_dev]
        if not scopes:
            return None
        by_dev = self._by_scope[max(scopes, key=lambda scope: -scope if scope >= wanted else scope - 128)]
        fitting = by_dev.get(dev) or [address for addresses in by_dev.values() for address in addresses]
        label = _label(target)

        def rank(address: Address) -> tuple[bool, int]:
            common = 128 - (address.ip.value ^ target.value).bit_length()
            return _label(address.ip) == label, min(common, address.prefix.length)

        return max(fitting, key=rank).ip.value


_LINK_SCOPE, _GLOBAL_SCOPE = 2, 14
_LABELS = tuple(
    (Prefix.parse(text), label)
    for text, label in (
        ("::1/128", 0),
        ("::ffff:0:0/96", 4),
        ("::/96", 3),
        ("2001::/32", 6),
        ("2001:10::/28", 7),
        ("3ffe::/16", 12),
        ("2002::/16", 2),
        ("fec0::/10", 11),
        ("fc00::/7", 5),
        ("::/0", 1),
    )
)


def _scope(ip: Ip) -> int:
    return _LINK_SCOPE if ip.is_link_local or ip.is_loopback else _GLOBAL_SCOPE


@lru_cache(maxsize=1 << 12)
def _label(ip: Ip) -> int:
    return next(label for prefix, label in _LABELS if ip in prefix)
