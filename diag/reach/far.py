"""An address that stands for any on the internet.

It is one of those that are kept for documentation and tests. Some hosts, above all test hosts, use such addresses
themselves: then it is one that they do not know, for what they do with it is to be what they do with any other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from diag.model.address import Family, Ip
from diag.model.netfilter import AnyOf, Field, Masked, Match, Ruleset, Statement, Within
from diag.model.snapshot import Snapshot

KEPT: Mapping[Family, tuple[Ip, ...]] = MappingProxyType(
    {
        Family.IPV4: tuple(map(Ip.parse, ("198.51.100.1", "203.0.113.1", "192.0.2.1", "198.18.0.1"))),
        Family.IPV6: tuple(map(Ip.parse, ("2001:db8::1", "2001:db8:ffff:ffff::1", "3fff::1"))),
    }
)
"""RFC 5737, 2544, 3849 and 9637. The first are the usual ones."""
_ALL = sorted((ip for ips in KEPT.values() for ip in ips), key=lambda ip: ip.value)
_VALUES = [ip.value for ip in _ALL]
_SADDR, _DADDR = Field.SADDR, Field.DADDR


def far_addresses(snapshot: Snapshot) -> Mapping[Family, Ip]:
    """Of each family the first that the host has no route to, no Docker network has, and the host's rules do not name.

    Where there is none, one that no network has comes before one that no rule names.
    """
    host = snapshot.netns.get("host")
    named = Counter(_named(host.ruleset)) if host is not None else Counter()
    found = {}
    for family, kept in KEPT.items():
        known = [route.destination for route in (host.routes.get(family) or () if host is not None else ())]
        known += [config.subnet for network in snapshot.networks for config in network.ipam]
        prefixes = [prefix for prefix in known if prefix.length and prefix.family is family]
        found[family] = min(kept, key=lambda ip: (any(ip in prefix for prefix in prefixes), named[ip]))
    return MappingProxyType(found)


def _named(ruleset: Ruleset) -> Iterator[Ip]:
    """Each as often as a rule, or an element of a set, is about it."""
    sets = [named for table in ruleset.tables for named in table.sets.values()]
    for named in (*sets, *ruleset.ipsets.values()):
        for element in named.elements:
            for part in element.key:
                if not isinstance(part, str):
                    yield from _within(*part)
    for table in ruleset.tables:
        for chain in table.chains.values():
            for rule in chain.rules:
                yield from _matched(rule.parts)


def _matched(parts: Iterable[Match | Statement]) -> Iterator[Ip]:
    for part in parts:
        match part:
            case Within(field, ranges) if field is _SADDR or field is _DADDR:
                for low, high in ranges:
                    yield from _within(low, high)
            case Masked(field, mask, value) if field is _SADDR or field is _DADDR:
                yield from (ip for ip in _ALL if ip.value & mask == value)
            case AnyOf(alternatives):
                for alternative in alternatives:
                    yield from _matched(alternative)


def _within(low: int, high: int) -> list[Ip]:
    return _ALL[bisect_left(_VALUES, low) : bisect_right(_VALUES, high)]
