"""The forwarding information base: policy rules, then longest prefix match.

Follows net/ipv4/fib_rules.c, fib_trie.c and net/ipv6/ip6_fib.c as far as `ip route` and `ip rule` show the state.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from diag.model.address import Family, Ip, Prefix
from diag.model.message import say
from diag.model.netns import LOST, Netns, Nexthop, PolicyRule, Route, RouteType

_UNICAST, _LOCAL, _THROW, _IPV4 = RouteType.UNICAST, RouteType.LOCAL, RouteType.THROW, Family.IPV4
DEFAULT_RULES = (
    PolicyRule(0, "lookup", "local"),
    PolicyRule(32766, "lookup", "main"),
    PolicyRule(32767, "lookup", "default"),
)
"""What a fresh namespace has."""


class FibQuery(Struct, frozen=True, gc=False):
    """What a route is looked up by."""

    daddr: int
    saddr: int = 0
    """0: not chosen yet."""
    iif: str = "lo"
    """`lo` for packets that start here."""
    oif: str = ""
    mark: int = 0


class RouteNotCapturedError(Exception):
    """The answer depends on state that the capture does not hold; the message says which."""


class Fib:
    """One family's routes of one namespace, indexed for look-ups."""

    def __init__(self, netns: Netns, family: Family) -> None:
        self.netns = netns
        self.family = family
        self._bits = family.bits
        self.rules = _effective_rules(netns, family)
        routes = netns.routes.get(family)
        self.captured = routes is not None
        self._tables: dict[str, dict[int, dict[int, list[Route]]]] = {}
        for route in routes or ():
            if route.destination.family is not family:
                continue  # `ip route show table all` without a family lists both
            by_length = self._tables.setdefault(route.table, {})
            by_value = by_length.setdefault(route.destination.length, {})
            shift = family.bits - route.destination.length
            by_value.setdefault(route.destination.value >> shift, []).append(route)
        for by_length in self._tables.values():
            for by_value in by_length.values():
                for same in by_value.values():
                    same.sort(key=lambda r: r.metric)
        self._lengths = {table: sorted(by_length, reverse=True) for table, by_length in self._tables.items()}
        self.by_destination = all(r.source is None and not r.iif and r.fwmark is None for r in self.rules)
        """No policy rule looks at more than the destination and the output interface."""
        self._cache: dict[FibQuery | tuple[int, str], Route | None] = {}
        self._local_types: dict[tuple[int, str], RouteType] = {}
        self._nexthops: dict[int, tuple[Nexthop, ...]] = {}
        """By the route's identity: the namespace keeps every route alive, the cache those that policy rules make."""

    def lookup(self, query: FibQuery) -> Route | None:
        """The route for a packet, of any type but `throw`; None: no route at all.

        Raises RouteNotCapturedError when routes or policy rules that matter are not known.
        """
        if not self.captured:
            raise RouteNotCapturedError(
                say("the {family} routes of {netns} were not captured", family=self.family.label, netns=self.netns.id)
            )
        key = (query.daddr, query.oif) if self.by_destination else query
        if key not in self._cache:
            self._cache[key] = self._walk_rules(query)
        return self._cache[key]

    def _walk_rules(self, query: FibQuery) -> Route | None:
        skip_to = 0
        for rule in self.rules:
            if rule.priority < skip_to or not _selects(rule, query, self.family):
                continue
            if rule.unmodelled:
                raise RouteNotCapturedError(
                    say("a policy rule of {netns} selects by {what}", netns=self.netns.id, what=rule.unmodelled)
                )
            match rule.action:
                case "lookup":
                    route = self._longest(rule, query)
                    if route is not None and route.type is not _THROW:
                        return route
                case "blackhole" | "unreachable" | "prohibit":
                    return Route(Prefix(self.family, 0, 0), RouteType(rule.action), "rule", evidence=rule.evidence)
                case "goto":
                    skip_to = rule.goto or 0
                case "nop":
                    pass
                case str(action) if action == LOST:
                    raise RouteNotCapturedError(
                        say("part of the routes or policy rules of {netns} could not be read", netns=self.netns.id)
                    )
                case other:
                    raise RouteNotCapturedError(
                        say("a policy rule of {netns} has the action {action}", netns=self.netns.id, action=other)
                    )
        return None

    def _longest(self, rule: PolicyRule, query: FibQuery) -> Route | None:
        for route in self.candidates(rule.table, query.daddr):
            if query.oif and route.type is _UNICAST and all(n.dev != query.oif for n in route.nexthops):
                continue
            if rule.suppress_prefixlength is not None and route.destination.length <= rule.suppress_prefixlength:
                return None
            if (
                route.nexthops
                and route.nexthops[0].dead
                and route.type in (_UNICAST, _LOCAL)
                and all(n.dead for n in route.nexthops)
            ):
                continue
            return route
        return None

    def nexthops(self, route: Route) -> tuple[Nexthop, ...]:
        """The ways that a packet may take over a route, at least one."""
        found = self._nexthops.get(id(route))
        if found is None:
            found = tuple(self._connected(n) for n in route.nexthops if not n.dead) or route.nexthops
            found = found or (Nexthop("lo" if route.type is RouteType.LOCAL else ""),)
            self._nexthops[id(route)] = found
        return found

    def _connected(self, nexthop: Nexthop) -> Nexthop:
        """An IPv4 gateway that is one of the namespace's own addresses means a directly connected network
        (fib_check_nh_v4_gw(), rt_set_nexthop())."""
        gateway = nexthop.gateway
        if gateway is None or gateway.family is not _IPV4 or not self.is_local(gateway.value):
            return nexthop
        return replace(nexthop, gateway=None)

    def candidates(self, table: str, value: int) -> Iterator[Route]:
        """Routes of one table that cover an address, longest prefix first, then by metric."""
        by_length = self._tables.get(table)
        if by_length is None:
            return
        for length in self._lengths[table]:
            yield from by_length[length].get(value >> (self._bits - length), ())

    def local_type(self, value: int, dev: str = "") -> RouteType:
        """Type of an address in the local table, as xt_addrtype sees it (net/ipv4/fib_frontend.c, inet_dev_addr_type).

        With `dev`, only addresses of that interface count.
        """
        found = self._local_types.get((value, dev))
        if found is None:
            found = self._local_types[value, dev] = self._local_type(value, dev)
        return found

    def _local_type(self, value: int, dev: str) -> RouteType:
        ip = Ip(self.family, value)
        if ip.is_multicast:
            return RouteType.MULTICAST
        if self.family is _IPV4 and value in (0, 0xFFFFFFFF):
            return RouteType.BROADCAST
        for route in self.candidates("local", value):
            if not dev or any(n.dev == dev for n in route.nexthops):
                return route.type
            return RouteType.UNICAST
        return RouteType.UNICAST

    def address_type(self, value: int, dev: str = "") -> RouteType:
        """Type of an address as xt_addrtype and nft's `fib … type` see it: of IPv4 that of the local table.

        IPv6 asks the routes too (xt_addrtype.c match_lookup_rt6(), nft_fib_ipv6.c __nft_fib6_eval_type()).
        """
        if self.family is _IPV4:
            return self.local_type(value, dev)
        if Ip(self.family, value).is_multicast:
            return RouteType.MULTICAST
        kind = self.local_type(value, dev)
        if kind is not RouteType.UNICAST:
            return kind
        route = self.lookup(FibQuery(value))
        if route is None:
            return RouteType.UNREACHABLE
        return RouteType.UNICAST if route.type is RouteType.LOCAL else route.type

    def is_local(self, value: int) -> bool:
        """Whether the address is one of the namespace's own."""
        return self.local_type(value) is _LOCAL


def is_damaged(netns: Netns, family: Family) -> bool:
    """Whether routes or policy rules of the namespace could not be read."""
    return any(rule.action == LOST for rule in netns.rules.get(family) or ())


def _effective_rules(netns: Netns, family: Family) -> tuple[PolicyRule, ...]:
    """Captured rules; where they are missing and no table but the usual ones has routes, the usual ones."""
    rules = netns.rules.get(family)
    if rules is not None:
        return tuple(sorted(rules, key=lambda r: r.priority))
    tables = {route.table for route in netns.routes.get(family) or ()}
    if tables <= {"local", "main", "default"}:
        return DEFAULT_RULES
    return (PolicyRule(0, "lookup", "local"), PolicyRule(1, "lookup", "main", unmodelled=say("something not captured")))


def _selects(rule: PolicyRule, query: FibQuery, family: Family) -> bool:
    holds = (
        (rule.source is None or (rule.source.family is family and rule.source.contains_value(query.saddr)))
        and (
            rule.destination is None
            or (rule.destination.family is family and rule.destination.contains_value(query.daddr))
        )
        and (not rule.iif or rule.iif == query.iif)
        and (not rule.oif or rule.oif == query.oif)
        and (rule.fwmark is None or query.mark & rule.fwmask == rule.fwmark & rule.fwmask)
    )
    if rule.source is not None and rule.source.length and query.saddr == 0:
        holds = False  # an unbound socket has no source yet: `from` rules see 0.0.0.0
    return holds != rule.inverted
