"""The new facts in the names of the old ones, so that what only a restart made different is no difference.

Ids, veth names, interface names inside containers, MAC addresses, ifindexes and addresses that Docker chose are replaced
by those that the same container on the same network had before, all at once: two containers may have changed places.
An address stays as it is where somebody relies on it: chosen with `--ip`, or named by a rule, a route or a name that is
not Docker's own. Evidence is left alone: it cites the new capture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from diag.diff.matching import Matching
from diag.diff.ownership import addresses_of, is_dockers
from diag.kernel.topology import Topology
from diag.model.address import Family, Ip, Prefix
from diag.model.docker import Container
from diag.model.netfilter import Field, SetElement, Within
from diag.model.netns import Link, LinkKind, Netns
from diag.model.provenance import Evidence
from diag.model.snapshot import Snapshot

K = TypeVar("K", bound=Hashable)

_TOKEN = re.compile(
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}|[0-9A-Za-z]+"  # addresses and words
)
_ADDRESS_FIELDS = frozenset(
    {
        Field.SADDR,
        Field.DADDR,
        Field.CT_ORIG_SADDR,
        Field.CT_ORIG_DADDR,
        Field.CT_REPL_SADDR,
        Field.CT_REPL_DADDR,
        Field.ARP_SADDR_IP,
        Field.ARP_DADDR_IP,
    }
)
_MAC_FIELDS = frozenset({Field.ETHER_SADDR, Field.ETHER_DADDR, Field.ARP_SADDR_ETHER, Field.ARP_DADDR_ETHER})
_LEAST_ADDRESS = 1 << 24
"""Numbers below are ports and marks: 0.0.0.0/8 is nobody's."""
_FIRST_INDEX = 1 << 22
"""Of links that the old capture does not have."""


class Renaming:
    """From names of the new capture to those of the old one."""

    def __init__(self, before: Snapshot, after: Snapshot, matching: Matching) -> None:
        self._before, self._after = before, after
        self._tops = Topology(before), Topology(after)
        self.names = {new.name: old.name for old, new in matching.containers if old.name != new.name}
        """Containers by their new names, where these differ."""
        self._words = _closed(_ids(matching))
        self._interfaces: dict[str, dict[str, str]] = {}
        """By namespace in old names: of a container's links."""
        veths: dict[str, str] = {}
        macs: dict[str, str] = {}
        for old, new in matching.containers:
            self._pair_links(old, new, veths, macs)
        self._words |= _closed(veths)
        self._macs = _closed(macs)
        self._ips = self._addresses(matching)
        self._numbers = {a.value: b.value for a, b in self._ips.items()}
        self._mac_numbers = {_number(a): _number(b) for a, b in self._macs.items()}
        self._tokens = {**self._words, **self._macs, **{str(a): str(b) for a, b in self._ips.items()}}
        self._plain = _Walk(self, {})

    def _pair_links(self, old: Container, new: Container, veths: dict[str, str], macs: dict[str, str]) -> None:
        """Links of a container by the networks that they are on, and their other ends."""
        there, here = self._before.netns_of.get(old.name), self._after.netns_of.get(new.name)
        if there is None or here is None or "host" in (there, here) or there in self._interfaces:
            return
        by_network = {network: link for link, network in _on_networks(self._before, old, there)}
        pairs = [
            (by_network[network], link)
            for link, network in _on_networks(self._after, new, here)
            if network in by_network
        ]
        self._interfaces[there] = _closed({n.name: o.name for o, n in pairs})
        for o, n in pairs:
            _add(macs, n.mac, o.mac)
            far, near = self._tops[0].peers.get((there, o.name)), self._tops[1].peers.get((here, n.name))
            if far is not None and near is not None and far[0] == near[0] == "host":
                _add(veths, near[1], far[1])
                _add(macs, self._tops[1].links[near].mac, self._tops[0].links[far].mac)

    def _addresses(self, matching: Matching) -> dict[Ip, Ip]:
        relied_on = _relied_on(self._before) | _relied_on(self._after)
        same_subnets = {o.name for o, n in matching.networks if o.ipam == n.ipam}
        moved: dict[Ip, Ip] = {}
        kept: set[Ip] = set()
        for old, new in matching.containers:
            others = {e.network: e for e in old.endpoints}
            for endpoint in new.endpoints:
                other = others.get(endpoint.network)
                if other is not None:
                    fixed = endpoint.fixed_ip or other.fixed_ip or endpoint.network not in same_subnets
                    for a, b in ((endpoint.ip, other.ip), (endpoint.ip6, other.ip6)):
                        if a is not None and b is not None and a in moved and moved[a] != b:
                            kept |= {a, b, moved[a]}
                        elif a is not None and b is not None:
                            moved[a] = b
                            kept |= {a, b} if fixed else set()
        kept |= relied_on & {ip for pair in moved.items() for ip in pair if pair[0] != pair[1]}
        return _closed(_without(moved, kept))

    def aligned(self) -> Snapshot:
        """The new snapshot in the names of the old one."""
        after, plain = self._after, self._plain
        if not (self._tokens or self.names or any(self._interfaces.values())):
            return after
        spaces: dict[str, Netns] = {}
        for key, space in after.netns.items():
            name = plain.text(key)
            walk = _Walk(self, moved) if (moved := self._interfaces.get(name)) else plain
            spaces[name] = walk.of(space)
        spaces = self._with_old_indexes(spaces)
        containers = tuple(sorted((plain.of(c) for c in after.containers), key=lambda c: str(c.name)))
        return replace(
            after,
            networks=plain.of(after.networks),
            containers=containers,
            netns=MappingProxyType(spaces),
            netns_of=MappingProxyType({plain.text(k): plain.text(v) for k, v in after.netns_of.items()}),
            name_files=MappingProxyType({plain.text(k): plain.of(v) for k, v in after.name_files.items()}),
        )

    def text(self, text: str) -> str:
        """One text in old names."""
        return self._plain.text(text)

    def new_text(self, text: str) -> str:
        """One text of the aligned facts as the new capture has it."""
        return _TOKEN.sub(lambda found: self._back.get(found[0], found[0]), text)

    @cached_property
    def _back(self) -> dict[str, str]:
        return {b: a for a, b in self._tokens.items()}

    @property
    def old_peers(self) -> Mapping[tuple[str, str], tuple[str, str]]:
        """Other ends of the old capture's links, by namespace and name."""
        return self._tops[0].peers

    def ip(self, ip: Ip) -> Ip:
        """An address in old names."""
        return self._ips.get(ip, ip)

    def _with_old_indexes(self, spaces: dict[str, Netns]) -> dict[str, Netns]:
        """Links get the ifindexes of the old ones of their names; those without one get numbers that nobody has."""
        before, after = self._tops
        old_ends = _other_ends(before)
        ends = {self._link(a): self._link(b) for a, b in _other_ends(after).items()}
        index: dict[tuple[str, str], int] = {}
        for position, key in enumerate(map(self._link, after.links)):
            known = before.links.get(key)
            same = known is not None and old_ends.get(key) == ends.get(key)
            index[key] = known.index if known is not None and same else _FIRST_INDEX + position
        made = {}
        for netns, space in spaces.items():
            renumbered = []
            for link in space.links or ():
                key = (netns, link.name)
                end, known = ends.get(key), before.links.get(key)
                other = index.get(end, 0) if end else known.peer_index if known else link.peer_index
                number = index.get(key, 0) if link.index else 0
                renumbered.append(replace(link, index=number, peer_index=other if link.peer_index else 0))
            made[netns] = replace(space, links=tuple(renumbered)) if space.links is not None else space
        return made

    def _link(self, key: tuple[str, str]) -> tuple[str, str]:
        netns = self.text(key[0])
        name = self._interfaces.get(netns, {}).get(key[1]) or self.text(key[1])
        return netns, name


class _Walk:
    """Goes through facts and replaces names in them."""

    def __init__(self, renaming: Renaming, interfaces: Mapping[str, str]) -> None:
        self._r = renaming
        self._interfaces = interfaces
        self._tokens = {**renaming._tokens, **interfaces}
        self._texts: dict[str, str] = {}
        self._objects: dict[int, tuple[Any, Any]] = {}

    def text(self, text: str) -> str:
        known = self._texts.get(text)
        if known is None:
            known = self._r.names.get(text)
            if known is None:
                tokens = self._tokens
                known = _TOKEN.sub(lambda found: tokens.get(found[0], found[0]), text)
            self._texts[text] = known
        return known

    def of(self, value: Any) -> Any:
        """The value itself where nothing in it is renamed."""
        if type(value) is str:
            return self.text(value)
        if isinstance(value, Struct | tuple | Mapping):
            known = self._objects.get(id(value))
            if known is None or known[0] is not value:
                known = self._objects[id(value)] = value, self._made(value)
            return known[1]
        return value

    def _made(self, value: Any) -> Any:
        match value:
            case Evidence():
                return value
            case Ip():
                return self._r._ips.get(value, value)
            case Prefix():
                whole = value.length == value.family.bits
                moved = self._r._ips.get(Ip(value.family, value.value)) if whole else None
                return Prefix.of(moved, value.length) if moved is not None else value
            case Within() if value.field in _ADDRESS_FIELDS:
                return self._ranges(value, self._r._numbers)
            case Within() if value.field in _MAC_FIELDS:
                return self._ranges(value, self._r._mac_numbers)
            case SetElement():
                return self._element(value)
            case Struct():
                return self._struct(value)
            case tuple():
                items = [self.of(item) for item in value]
                return tuple(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
            case _:
                found = {self.of(k): self.of(v) for k, v in value.items()}
                same = all(value.get(k, self) is v for k, v in found.items())
                return value if same and len(found) == len(value) else MappingProxyType(found)

    def _struct(self, value: Struct) -> Any:
        changed = {}
        for name in value.__struct_fields__:
            old = getattr(value, name)
            new = self.of(old)
            if new is not old and new != old:
                changed[name] = new
        return replace(value, **changed) if changed else value

    def _ranges(self, value: Within, numbers: Mapping[int, int]) -> Within:
        found = tuple(self._range(r, numbers) for r in value.ranges)
        return value if found == value.ranges else replace(value, ranges=tuple(sorted(found)))

    def _range(self, ends: tuple[int, int], numbers: Mapping[int, int]) -> tuple[int, int]:
        low, high = ends
        moved = numbers.get(low) if low == high and low >= _LEAST_ADDRESS else None
        return ends if moved is None else (moved, moved)

    def _element(self, element: SetElement) -> SetElement:
        numbers = {**self._r._numbers, **self._r._mac_numbers}

        def moved(part: tuple[int, int] | str) -> tuple[int, int] | str:
            return self.text(part) if isinstance(part, str) else self._range(part, numbers)

        data = tuple(self._range(part, numbers) for part in element.data)
        return replace(element, key=tuple(map(moved, element.key)), verdict=self.of(element.verdict), data=data)


def _other_ends(topology: Topology) -> dict[tuple[str, str], tuple[str, str]]:
    """The other end of each link, or its parent."""
    found = dict(topology.peers)
    for key, link in topology.links.items():
        if key not in found and link.kind in (LinkKind.MACVLAN, LinkKind.IPVLAN):
            parent = topology.parent(key[0], link)
            if parent is not None:
                found[key] = parent[0].id, parent[1].name
    return found


def _ids(matching: Matching) -> dict[str, str]:
    """Ids in all their lengths: of namespaces and bridges 12 characters, of an overlay's namespaces 9 and 10."""
    found: dict[str, str] = {}
    for old, new in matching.containers:
        if old.id != new.id:
            found |= {new.id: old.id, new.short_id: old.short_id}
    for o, n in matching.networks:
        if o.id != n.id:
            found |= {n.id[:length]: o.id[:length] for length in (9, 10, 12, 64)}
    return {a: b for a, b in found.items() if a and b}


def _on_networks(snapshot: Snapshot, container: Container, netns: str) -> Iterator[tuple[Link, str]]:
    """A container's links that have an address of an endpoint, each with its network."""
    by_ip = {ip: e.network for e in container.endpoints for ip in (e.ip, e.ip6) if ip is not None}
    space = snapshot.netns.get(netns)
    for link in (space.links if space is not None else ()) or ():
        network = next((by_ip[a.ip] for a in link.addresses if a.ip in by_ip), None)
        if network is not None:
            yield link, network


def _relied_on(snapshot: Snapshot) -> set[Ip]:
    """Addresses that somebody other than Docker wrote down: in rules, routes, policy rules and extra hosts."""
    found: set[Ip] = set()
    for space in snapshot.netns.values():
        for table in space.ruleset.tables:
            for chain in table.chains.values():
                for rule in chain.rules:
                    if not is_dockers(space.id, table, chain.name, rule):
                        found |= addresses_of(rule.parts, table.family)
            for named in table.sets.values():
                found |= addresses_of(named.elements, table.family)
        for named in space.ruleset.ipsets.values():
            found |= addresses_of(named.elements, None)
        for family in Family:
            for route in space.routes.get(family) or ():
                found |= {n.gateway for n in route.nexthops if n.gateway is not None}
            for policy in space.rules.get(family) or ():
                found |= {Ip(p.family, p.value) for p in (policy.source, policy.destination) if p is not None}
    texts = {address for c in snapshot.containers for _, address in c.extra_hosts}
    return found | {ip for text in texts if (ip := _parsed(text)) is not None}


def _parsed(text: str) -> Ip | None:
    try:
        return Ip.parse(text)
    except ValueError:
        return None


def _without(moved: Mapping[Ip, Ip], kept: set[Ip]) -> dict[Ip, Ip]:
    """The moves that touch nothing that stays, nor what those that are left out touch; each goal has one that moves there."""
    goals = Counter(moved.values())
    kept = kept | {goal for goal, number in goals.items() if number > 1}
    left = dict(moved)
    while True:
        out = {a: b for a, b in left.items() if a in kept or b in kept}
        if not out:
            return left
        kept |= {ip for pair in out.items() for ip in pair}
        left = {a: b for a, b in left.items() if a not in out}


def _closed(moves: Mapping[K, K]) -> dict[K, K]:
    """The moves and what makes room for them, so that no two things end up with one name.

    >>> _closed({"b": "a", "c": "b"})
    {'b': 'a', 'c': 'b', 'a': 'c'}
    """
    found = {a: b for a, b in moves.items() if a != b}
    back = {b: a for a, b in found.items()}
    for goal in [goal for goal in back if goal not in found]:
        start = back[goal]
        while start in back:
            start = back[start]
        found[goal] = start
    return found


def _add(moves: dict[str, str], new: str, old: str) -> None:
    if new and old and new not in moves and old not in moves.values():
        moves[new] = old


def _number(mac: str) -> int:
    digits = mac.replace(":", "")
    return int(digits, 16) if re.fullmatch(r"[0-9a-fA-F]{12}", digits) else 0
