"""An address that stands for any on the internet.

It is one of those that are kept for documentation and tests. Some hosts use such addresses themselves, others drop all that
nobody on the internet should have: then it is one that they do not know, for what they do with it is to be what they do with
any other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from diag.model.address import Family, Ip
from diag.model.netfilter import AnyOf, Field, Masked, Match, Ruleset, Statement, Within
from diag.model.snapshot import Snapshot

KEPT: Mapping[Family, tuple[Ip, ...]] = MappingProxyType(
    {
        Family.IPV4: tuple(map(Ip.parse, ("198.51.100.1", "203.0.113.1", "192.0.2.1", "198.18.0.1", "192.31.196.1"))),
        Family.IPV6: tuple(map(Ip.parse, ("2001:db8::1", "2001:db8:ffff:ffff::1", "3fff::1", "2620:4f:8000::1"))),
    }
)
"""RFC 5737, 2544, 3849 and 9637; the last are of AS112 (RFC 7535, 7534): they are in use, so that lists of bogons lack them."""
_ALL = sorted((ip for ips in KEPT.values() for ip in ips), key=lambda ip: ip.value)
_VALUES = [ip.value for ip in _ALL]
_SADDR, _DADDR = Field.SADDR, Field.DADDR


def far_addresses(snapshot: Snapshot) -> Mapping[Family, Ip]:
    """Of each family the first that the host has no route to, no Docker network has, and the host's rules do not name.

    Where there is none, one that no network has comes before one that no rule names.
    """
    host = snapshot.netns.get("host")
    named = Counter(_named(host.ruleset)) if host is not None else Counter()
    routes = [route for found in (host.routes.values() if host is not None else ()) for route in found or ()]
    prefixes = [route.destination for route in routes]
    prefixes += [config.subnet for network in snapshot.networks for config in network.ipam]
    known = set(_within((prefix.first, prefix.last) for prefix in prefixes if prefix.length))
    return MappingProxyType({family: min(ips, key=lambda ip: (ip in known, named[ip])) for family, ips in KEPT.items()})


def _named(ruleset: Ruleset) -> Iterator[Ip]:
    """Each as often as a rule, or an element of a set, is about it."""
    sets = [named for table in ruleset.tables for named in table.sets.values()]
    for named in (*sets, *ruleset.ipsets.values()):
        for element in named.elements:
            yield from _within(part for part in element.key if not isinstance(part, str))
    for table in ruleset.tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                yield from _matched(rule.parts)


def _matched(parts: Iterable[Match | Statement]) -> Iterator[Ip]:
    for part in parts:  # of thousands of rules: a comparison of types is the quickest
        if type(part) is Within:
            if part.field is _SADDR or part.field is _DADDR:
                yield from _within(part.ranges)
        elif type(part) is Masked:
            if part.field is _SADDR or part.field is _DADDR:
                yield from (ip for ip in _ALL if ip.value & part.mask == part.value)
        elif type(part) is AnyOf:
            for alternative in part.alternatives:
                yield from _matched(alternative)


def _within(ranges: Iterable[tuple[int, int]]) -> Iterator[Ip]:
    for low, high in ranges:
        for position in range(bisect_left(_VALUES, low), len(_ALL)):
            if _VALUES[position] > high:
                break
            yield _ALL[position]
