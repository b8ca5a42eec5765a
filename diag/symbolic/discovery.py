"""Neighbour discovery of IPv6, whose messages meet the host's rules like other packets (net/ipv6/ndisc.c).

ARP meets none of them. Pairs whose questions or answers do not all get through for certain are left to the interpreter,
in whichever direction: a neighbour that only the other side can ask for is known for a while only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from diag.kernel.fib import Fib, FibQuery
from diag.kernel.topology import Topology
from diag.model.address import Family, Ip, Prefix
from diag.model.flow import ICMPV6
from diag.model.netfilter import ChainType, CtState, Field, Hook, Ranges, SetHopLimit, TableFamily
from diag.model.netns import Link, Netns
from diag.symbolic.hooks import before_conntrack
from diag.symbolic.pairs import NO_STACK, Pairs
from diag.symbolic.rules import Outcome, RuleWalker, have
from diag.symbolic.space import Set, intervals
from diag.symbolic.view import Constant, OfProtocol, Packet, View

_SOLICITATION, _ADVERTISEMENT = 135, 136
_GROUPS = Prefix.parse("ff02::1:ff00:0/104")
"""Solicited-node addresses (RFC 4291, 2.7.1)."""
_ABSENT = OfProtocol({})
_CONSTANTS: Mapping[Field, Constant] = {
    Field.PROTOCOL: ICMPV6,
    Field.ICMPV6_CODE: 0,
    Field.MARK: 0,
    Field.FRAGMENT: 0,
    Field.NFPROTO: 10,
    **dict.fromkeys((Field.ICMP_TYPE, Field.ICMP_CODE, Field.TCP_FLAGS, Field.SPORT, Field.DPORT), _ABSENT),
    **{where: _ABSENT for where in Field if where.name.startswith("CT_") and where is not Field.CT_STATE},
}


class Neighbours(Struct, frozen=True):
    """The addresses that neighbours ask from and for, where they are not those of the flows."""

    on_bridge: Mapping[str, int]
    """What the host asks from: the link's own address, or its global one."""
    asking: Mapping[int, int]
    """By destination."""
    asked: Mapping[int, int]


class Message(Struct, frozen=True):
    """A question or an answer."""

    solicits: bool
    from_caller: bool
    """From the caller to the called, or the other way."""
    hook: Hook
    early: bool
    """Before conntrack."""
    host: bool
    """The caller is the host itself, on the called one's link."""


class MessageView(View):
    """What rules see of a message between the two sides of every pair, whatever the protocol and the port of its flows."""

    def __init__(self, pairs: Pairs, host: Netns, message: Message, neighbours: Neighbours) -> None:
        super().__init__(pairs, host, Packet.REQUEST, message.hook, tracked=not message.early)
        self._message = message
        self._neighbours = neighbours

    def _value(self, where: Field) -> Constant | None:
        if where is Field.CT_STATE:  # nf_conntrack_icmpv6.c
            return CtState.UNTRACKED if self.tracked else CtState.INVALID
        if where is Field.ICMPV6_TYPE:
            return _SOLICITATION if self._message.solicits else _ADVERTISEMENT
        return _CONSTANTS.get(where)

    def _computed(self, where: Field, ranges: Ranges | None, accepts: Callable[[int], bool]) -> tuple[Set, Set | None]:
        message, known = self._message, self._neighbours
        if where is Field.SADDR:
            instead = known.asking if message.solicits else known.asked
            return self.space.all, self._side(message.from_caller, ranges, accepts, instead)
        if where is not Field.DADDR:
            return self.space.all, None
        if not message.solicits:
            return self.space.all, self._side(not message.from_caller, ranges, accepts, known.asking)
        if ranges is not None and not any(low <= _GROUPS.last and _GROUPS.first <= high for low, high in ranges):
            return self.space.all, self.space.empty

        def group(ip: int) -> bool:
            return accepts(_GROUPS.first | (ip & 0xFFFFFF))

        return self.space.all, self._side(not message.from_caller, None, group, known.asked)

    def _side(
        self, caller: bool, ranges: Ranges | None, accepts: Callable[[int], bool], instead: Mapping[int, int]
    ) -> Set:
        """Pairs of which one side's address is accepted."""
        pairs = self.pairs
        if caller and self._message.host:
            found = (pairs.to_bridge[b] for b, ip in self._neighbours.on_bridge.items() if accepts(ip))
            return self.space.union(found)
        if caller:
            return pairs.saddr(ranges) if ranges is not None else pairs.saddr_where(accepts)
        inside = pairs.daddr(ranges) if ranges is not None else pairs.daddr_where(accepts)
        for number, ip in instead.items():
            own = self.space.destinations(number, number)
            inside = inside | own if accepts(ip) else inside & ~own
        return inside

    def _on_link(self, where: Field, name: str) -> Set:
        """Pairs whose message has an interface of this name."""
        to = self.pairs.to_bridge[name]
        if not self._message.host:
            nameless = where is Field.IIFNAME and self.hook is Hook.POSTROUTING
            nameless = nameless or (where is Field.OIFNAME and self.hook is Hook.PREROUTING)
            return self.space.empty if nameless else to & self.pairs.from_bridge[name]
        out = where is Field.OIFNAME
        return to if out == self._message.from_caller else self.space.empty

    def _named(self, where: Field, patterns: tuple[str, ...]) -> Set | None:
        if where not in (Field.IIFNAME, Field.OIFNAME):
            return None
        names = {name for pattern in patterns for name in self._named_by(pattern)}
        found = self.space.union(self._on_link(where, name) for name in sorted(names))
        if any(pattern.rstrip("*") == "" for pattern in patterns):
            found = found | ~self.space.union(self._on_link(where, name) for name in self.pairs.bridges)
        return found


def unheard(pairs: Pairs, host: Netns, topology: Topology, rules: RuleWalker, filtered: Set) -> Set:
    """Pairs of which somebody's question or answer may get lost; `filtered`: those whose frames meet iptables."""
    if pairs.family is not Family.IPV6:
        return pairs.space.empty
    if voids_messages(rules):
        return pairs.space.all
    return _Discovery(pairs, host, topology, rules).unheard(filtered)


def voids_messages(rules: RuleWalker) -> bool:
    """Whether some rule sets a hop limit: a message with another than 255 is not looked at (ndisc_rcv())."""
    tables = (table for table in rules.ruleset.tables if table.family in (TableFamily.IP6, TableFamily.INET))
    chains = (chain for table in tables for chain in table.chains.values())
    return any(have(chain.rules, SetHopLimit) for chain in chains)


class _Discovery:
    def __init__(self, pairs: Pairs, host: Netns, topology: Topology, rules: RuleWalker) -> None:
        self.pairs = pairs
        self.space = pairs.space
        self.host = host
        self.rules = rules
        self._links = {name: topology.link("host", name) for name in pairs.bridges}
        self._asking: dict[int, int] = {}
        self._asked: dict[int, int] = {}
        fib = Fib(host, pairs.family)
        for number, port in enumerate(pairs.ports):
            route = fib.lookup(FibQuery(port.ip)) if port.netns != "host" and port.routed else None
            gateway = route.nexthops[0].gateway if route is not None and route.nexthops else None
            if gateway is not None:
                link = topology.links[port.netns, port.link]
                self._asked[number] = gateway.value
                self._asking[number] = _link_local(link) or port.ip

    def unheard(self, filtered: Set) -> Set:
        """See :func:`unheard`."""
        lost = self._lost_with_host()
        numbers = [
            number
            for first, last, below in intervals(lost, 0, self.space.destination_levels, len(self.pairs.ports))
            if below != self.space.empty
            for number in range(first, last + 1)
        ]
        owners = {self.pairs.owner[number] for number in numbers} - {NO_STACK}
        found = self.space.destinations_among(numbers) | self.space.sources_among(owners) | self.pairs.split_of(owners)
        return found | (filtered & self._lost_between())

    def _lost_with_host(self) -> Set:
        """Destinations that the host and they may not find."""
        own = {name: _link_local(link) for name, link in self._links.items()}
        silent = self.space.union(self.pairs.to_bridge[name] for name, ip in own.items() if ip is None)
        local = {name: ip for name, ip in own.items() if ip is not None}
        known = {name: ip for name, ip in self.pairs.masks.items() if name in local}
        silent = silent | self.space.union(self.pairs.to_bridge[name] for name in local if name not in known)
        everyone = self.space.union(self.pairs.to_bridge.values()) & self.pairs.routed  # it asks for nobody else
        lost = silent = silent & everyone
        for addresses in (local, known):
            neighbours = Neighbours(addresses, self._asking, self._asked)
            lost = lost | self._lost(everyone & ~silent, neighbours, host=True)
        return lost

    def _lost_between(self) -> Set:
        """Pairs on one bridge that may not find each other."""
        pairs = self.pairs
        near = self.space.union(pairs.from_bridge[name] & found for name, found in pairs.near.items())
        return self._lost(near, Neighbours({}, {}, {}), host=False)

    def _lost(self, everyone: Set, neighbours: Neighbours, *, host: bool) -> Set:
        lost = self.space.empty
        for solicits in (True, False):
            for from_caller in (True, False):
                for hook in _hooks(from_caller, host=host):
                    lost = lost | self._stopped(everyone, Message(solicits, from_caller, hook, False, host), neighbours)
        return lost

    def _stopped(self, everyone: Set, message: Message, neighbours: Neighbours) -> Set:
        """Pairs whose message does not pass a hook of the host for certain."""
        return stopped(
            self.rules, everyone, message, lambda asked: MessageView(self.pairs, self.host, asked, neighbours)
        )


def stopped(rules: RuleWalker, everyone: Set, message: Message, view: Callable[[Message], View]) -> Set:
    """Flows whose message does not pass a hook for certain. NAT leaves what conntrack does not know alone."""
    views: dict[bool, View] = {}
    outcome, passed = Outcome.none(everyone & ~everyone), everyone
    for priority, table, chain in rules.base_chains(message.hook, ChainType.FILTER):
        early = before_conntrack(message.hook, priority)
        if early not in views:
            views[early] = view(Message(message.solicits, message.from_caller, message.hook, early, message.host))
        passed = rules.run(views[early], table, chain, passed, outcome)
    return everyone & ~(passed & ~outcome.unclear & ~outcome.may_stop)


def _hooks(from_caller: bool, *, host: bool) -> Iterator[Hook]:
    if not host:
        yield from (Hook.PREROUTING, Hook.FORWARD, Hook.POSTROUTING)
    elif from_caller:
        yield from (Hook.OUTPUT, Hook.POSTROUTING)
    else:
        yield from (Hook.PREROUTING, Hook.INPUT)


def _link_local(link: Link | None) -> int | None:
    """The address of a link that it asks from for others."""
    found = (a.ip for a in (link.addresses if link is not None else ()) if _is_own(a.ip))
    return next((ip.value for ip in found), None)


def _is_own(ip: Ip) -> bool:
    return ip.family is Family.IPV6 and ip.is_link_local
