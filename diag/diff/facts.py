"""Differences joined to what a person did: one change for a container that left a network, with all that went with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cached_property
from typing import Any

from msgspec import Struct

from diag.diff.marks import Marks, marks_of_container, marks_of_endpoint, marks_of_network, mentions_of
from diag.diff.ownership import Mentions, is_dockers, is_dockers_chain
from diag.diff.sections import ORDER, Atom, Comparison, table_key
from diag.diff.telling import Teller
from diag.kernel.topology import Topology
from diag.model.address import Ip
from diag.model.difference import Change, ChangeKind
from diag.model.docker import Endpoint
from diag.model.netfilter import NfTable
from diag.model.netns import Link
from diag.model.snapshot import Snapshot

_EMBEDDED_DNS = Ip.parse("127.0.0.11")
_EPHEMERAL = range(32768, 61000)
"""Ports that Linux gives to clients unless told otherwise (net.ipv4.ip_local_port_range)."""
_FORWARDING = re.compile(r"^net\.ipv4\.conf\..+\.forwarding$")
_IP_FORWARD = "net.ipv4.ip_forward"


class Fact(Struct, frozen=True, eq=False):
    """One change with the differences it consists of."""

    change: Change
    atoms: tuple[Atom, ...]
    containers: frozenset[str] = frozenset()
    """Old names of those whose pairs it can flip; empty for everyone's."""
    quiet: bool = False
    """Told only where it flips a verdict."""


def facts_of(comparison: Comparison, teller: Teller) -> tuple[Fact, ...]:
    """Every change between two snapshots in the same names."""
    return tuple(_Grouping(comparison, teller).facts())


class _Grouping:
    """Takes differences out of a heap, the causes first."""

    def __init__(self, comparison: Comparison, teller: Teller) -> None:
        self.tell = teller
        self.old, self.new = comparison.old, comparison.new
        self._topologies = Topology(self.old), Topology(self.new)
        self._mentioned: dict[Atom, Mentions] = {}
        self._left: dict[str, dict[Atom, None]] = {}
        for atom in comparison.atoms:
            self._left.setdefault(atom.place[0], {})[atom] = None

    def facts(self) -> Iterator[Fact]:
        self._drop_noise()
        yield from self._engine()
        yield from self._flushes(lambda netns: netns == "host")
        yield from self._networks()
        yield from self._containers()
        yield from self._endpoints()
        yield from self._facets()
        yield from self._sysctls()
        yield from self._links()
        yield from self._listed("routes", lambda atom: atom.place[1:], self.tell.routes)
        yield from self._listed("policy", lambda atom: atom.place[1:2], self.tell.policy_rules)
        yield from self._flushes(lambda netns: netns != "host")
        yield from self._rules()
        yield from self._listed("elements", lambda atom: atom.place[1:], self.tell.elements)
        yield from self._listed("sockets", lambda atom: atom.place[1:2], self.tell.sockets)
        yield from self._resolver_files()
        yield from self._listed("captured", lambda atom: atom.place[1:2], self.tell.captured)
        yield from self._listed("missing", lambda atom: atom.place[1:2], self.tell.not_captured)
        for kind in ("netns", "netns_of"):
            yield from self._listed(kind, lambda atom: (atom.key,), self.tell.namespace)

    def _topology(self, snapshot: Snapshot) -> Topology:
        return self._topologies[snapshot is self.new]

    def _mentions(self, atom: Atom) -> Mentions:
        found = self._mentioned.get(atom)
        if found is None:
            found = self._mentioned[atom] = mentions_of(atom)
        return found

    # The heap

    def _take(self, kinds: Iterable[str], wanted: Callable[[Atom], bool]) -> list[Atom]:
        found = [atom for kind in kinds for atom in self._left.get(kind, ()) if wanted(atom)]
        for atom in found:
            del self._left[atom.place[0]][atom]
        return found

    def _listed(
        self, kind: str, by: Callable[[Atom], Hashable], tell: Callable[[list[Atom]], Change]
    ) -> Iterator[Fact]:
        """What is left of a kind, one change for those that `by` says are together."""
        together: dict[Hashable, list[Atom]] = {}
        for atom in self._take((kind,), lambda _: True):
            together.setdefault(by(atom), []).append(atom)
        for atoms in together.values():
            yield Fact(tell(atoms), tuple(atoms), self._inside(atoms))

    def _inside(self, atoms: Iterable[Atom]) -> frozenset[str]:
        """The containers in whose namespaces the differences are; none where one is the host's."""
        spaces = {atom.place[1] for atom in atoms if len(atom.place) > 1}
        owners = {name for name, netns in self.old.netns_of.items() if netns in spaces}
        return frozenset() if "host" in spaces else frozenset(owners)

    def _drop_noise(self) -> None:
        """Docker's DNS and what clients open are other sockets each time; so are listeners on any free port."""

        def passing(atom: Atom) -> bool:
            protocol, ip, port = atom.key
            return bool(ip == _EMBEDDED_DNS or (protocol == "udp" and port in _EPHEMERAL))

        self._take(("sockets",), passing)
        counts: dict[tuple[Hashable, ...], list[Atom]] = {}
        for atom in self._left.get("sockets", ()):
            protocol, ip, port = atom.key
            if port in _EPHEMERAL:
                counts.setdefault((atom.place, protocol, ip), []).append(atom)
        moved = {
            atom
            for atoms in counts.values()
            if 2 * sum(atom.kind is ChangeKind.ADDED for atom in atoms) == len(atoms)
            for atom in atoms
        }
        self._take(("sockets",), moved.__contains__)
        self._take(("base",), lambda atom: not _tells(atom))

    # Causes

    def _engine(self) -> Iterator[Fact]:
        atoms = self._take(("engine",), lambda _: True)
        if atoms:
            if any(atom.key in ("version", "firewall_backend") for atom in atoms):
                atoms += self._take(("rules", "base", "elements"), self._is_dockers)
            yield Fact(self.tell.engine(atoms), tuple(atoms))

    def _is_dockers(self, atom: Atom) -> bool:
        table = self._table(atom)
        if table is None:
            return False
        if atom.place[0] != "rules":
            return is_dockers_chain(table, str(atom.key if atom.place[0] == "base" else atom.place[3]))
        return atom.key != ORDER and is_dockers(atom.place[1], table, atom.place[3], atom.old or atom.new)

    def _table(self, atom: Atom) -> NfTable | None:
        return self._tables.get((atom.place[1], atom.place[2]))

    @cached_property
    def _tables(self) -> dict[tuple[str, Any], NfTable]:
        """By namespace and key; the old one of two."""
        return {
            (netns, table_key(table)): table
            for snapshot in (self.new, self.old)
            for netns, space in snapshot.netns.items()
            for table in space.ruleset.tables
        }

    def _flushes(self, where: Callable[[str], bool]) -> Iterator[Fact]:
        """Tables that have lost all rules. Inside a container they may be Docker's, and go with a network."""
        removed: dict[tuple[str, Any], list[Atom]] = {}
        for atom in self._left.get("rules", ()):
            if atom.kind is ChangeKind.REMOVED and where(atom.place[1]):
                removed.setdefault((atom.place[1], atom.place[2]), []).append(atom)
        by_netns: dict[str, dict[Any, list[Atom]]] = {}
        for (netns, key), atoms in removed.items():
            if len(atoms) > 1 and not _rules_in(self.new.netns[netns].ruleset.tables, key):
                by_netns.setdefault(netns, {})[key] = atoms
        for netns, tables in by_netns.items():
            gone = {
                atom
                for atom in (*self._left.get("base", ()), *self._left.get("elements", ()))
                if atom.place[1] == netns and atom.place[2] in tables and atom.kind is ChangeKind.REMOVED
            }
            taken = [atom for atoms in tables.values() for atom in atoms]
            taken = self._take(("rules", "base", "elements"), {*taken, *gone}.__contains__)
            yield Fact(self.tell.flush(netns, tables), tuple(taken), self._inside(taken))

    def _networks(self) -> Iterator[Fact]:
        for atom in self._take(("network",), lambda _: True):
            marks = Marks()
            endpoints: list[Atom] = []
            for network in (atom.old, atom.new):
                if network is not None:
                    marks = marks | marks_of_network(network)
            if atom.kind is not ChangeKind.CHANGED or atom.old.ipam != atom.new.ipam:
                endpoints = self._take(("endpoints",), lambda a, key=atom.key: a.key == key)  # type: ignore[misc]
                endpoints = [e for e in endpoints if not self._came_or_went(e.place[1])]
                for endpoint in endpoints:
                    marks = marks | self._marks_of_endpoint(endpoint)
            atoms = [atom, *endpoints, *self._caused(marks, atom.kind)]
            atoms += [a for e in endpoints for a in self._inside_of(e.place[1])]
            yield Fact(self.tell.network(atom, [e.place[1] for e in endpoints]), tuple(atoms))

    def _came_or_went(self, container: str) -> bool:
        """Whether it was started or stopped: then its endpoints are part of that."""
        before, after = self.old.container(container), self.new.container(container)
        return before is None or after is None or before.running != after.running

    def _containers(self) -> Iterator[Fact]:
        changed = self._take(("container",), lambda _: True)
        changed += self._take(("facet",), lambda atom: atom.key == "status")
        for atom in changed:
            name = str(atom.key if atom.place[0] == "container" else atom.place[1])
            old, new = self.old.container(name), self.new.container(name)
            marks = Marks()
            for snapshot, container in ((self.old, old), (self.new, new)):
                if container is not None and (atom.place[0] == "container" or self._came_or_went(name)):
                    marks = marks | marks_of_container(snapshot, self._topology(snapshot), container)
            atoms = [atom]
            if marks.any:
                atoms += self._take(("endpoints", "facet"), lambda a, n=name: a.place[1] == n)  # type: ignore[misc]
                kind = ChangeKind.REMOVED if not (new and new.running) else ChangeKind.ADDED
                atoms += self._caused(marks, kind)
                atoms += self._take(("name_files",), lambda a, n=name: a.key == n)  # type: ignore[misc]
            atoms += self._take(("netns_of",), lambda a, n=name: a.key == n)  # type: ignore[misc]
            change = self.tell.container(atom.kind, old, new)
            yield Fact(change, tuple(atoms), frozenset({name}) if old is not None else frozenset())

    def _endpoints(self) -> Iterator[Fact]:
        for atom in list(self._left.get("endpoints", ())):
            self._take(("endpoints",), lambda a, mine=atom: a is mine)  # type: ignore[misc]
            name = atom.place[1]
            marks = self._marks_of_endpoint(atom)
            atoms = [atom, *self._caused(marks, atom.kind)]
            atoms += self._inside_of(name)
            netns = self.old.netns_of.get(name)
            sharing = {c for c, other in self.old.netns_of.items() if other == netns != "host"}
            yield Fact(self.tell.endpoint(atom), tuple(atoms), frozenset({name, *sharing}))

    def _inside_of(self, container: str) -> list[Atom]:
        """What Docker itself changes inside a container whose networks change."""
        netns = self.old.netns_of.get(container)
        found = self._take(("name_files",), lambda a: a.key == container)
        if netns not in (None, "host"):
            found += self._take(
                ("routes", "rules", "base", "hosts", "resolv", "elements"),
                lambda a: a.place[1] == netns and _is_dockers_inside(a),
            )
        return found

    def _marks_of_endpoint(self, atom: Atom) -> Marks:
        marks = Marks()
        for snapshot, endpoint in ((self.old, atom.old), (self.new, atom.new)):
            if isinstance(endpoint, Endpoint):
                marks = marks | marks_of_endpoint(snapshot, self._topology(snapshot), atom.place[1], endpoint)
        return marks

    def _facets(self) -> Iterator[Fact]:
        for atom in self._take(("facet",), lambda _: True):
            name, atoms = atom.place[1], [atom]
            if atom.key in ("ports", "exposed", "links"):
                old, new = self.old.container(name), self.new.container(name)
                ips = {ip for c in (old, new) if c for e in c.endpoints for ip in (e.ip, e.ip6) if ip is not None}
                ports = {(p.protocol, p.host_port) for c in (old, new) if c for p in c.ports}
                atoms += self._caused(Marks(ips=frozenset(ips), ports=frozenset(ports)), ChangeKind.CHANGED)
            atoms += self._take(("netns_of",), lambda a, n=name: a.key == n)  # type: ignore[misc]
            yield Fact(self.tell.facet(atom), tuple(atoms), frozenset({name}))

    def _caused(self, marks: Marks, kind: ChangeKind) -> list[Atom]:
        """Differences that follow from what these marks are of: only gone things go with it, new ones come with it."""

        def follows(atom: Atom) -> bool:
            other_way = {ChangeKind.ADDED: ChangeKind.REMOVED, ChangeKind.REMOVED: ChangeKind.ADDED}
            if atom.place[0] != "routes" and atom.kind is other_way.get(kind):
                return False
            if atom.place[0] == "rules" and (atom.key == ORDER or not self._is_dockers(atom)):
                return False
            if atom.place[0] == "sockets":
                return atom.place[1] == "host" and (atom.key[0], atom.key[2]) in marks.ports
            return marks.hit(atom.place[1], self._mentions(atom))

        found = self._take(("links", "routes", "sysctl", "rules", "base", "elements", "sockets"), follows)
        found += self._take(("netns",), lambda atom: atom.key in marks.spaces)
        found += self._take(("netns_of",), lambda atom: bool({atom.old, atom.new} & marks.spaces))
        return found

    # Single facts

    def _sysctls(self) -> Iterator[Fact]:
        spaces = {atom.place[1] for atom in self._left.get("sysctl", ())}
        for netns in sorted(spaces):
            for atom in self._take(("sysctl",), lambda a, n=netns: a.place[1] == n and a.key == _IP_FORWARD):  # type: ignore[misc]
                with_it = self._take(
                    ("sysctl",),
                    lambda a, n=netns, v=atom.new: (  # type: ignore[misc]
                        a.place[1] == n and bool(_FORWARDING.match(str(a.key))) and a.new == v
                    ),
                )
                yield Fact(self.tell.sysctl([atom]), (atom, *with_it), self._inside([atom]))
        # An interface that is only in one of the captures brings its sysctls with it.
        self._take(("sysctl",), lambda atom: atom.kind is not ChangeKind.CHANGED)
        yield from self._listed(
            "sysctl",
            lambda atom: (atom.place[1], re.sub(r"\.conf\..+\.", ".conf.*.", str(atom.key)), atom.old, atom.new),
            self.tell.sysctl,
        )

    def _links(self) -> Iterator[Fact]:
        """Those switched up or down first: the other end's carrier and the routes follow."""
        waiting = sorted(self._left.get("links", ()), key=lambda atom: (not _switched(atom), atom.place[1] != "host"))
        for atom in waiting:
            if atom not in self._left["links"]:
                continue
            del self._left["links"][atom]
            netns, name = atom.place[1], atom.key
            atoms = [atom]
            ends = {
                (place, link.name)
                for snapshot, link in ((self.old, atom.old), (self.new, atom.new))
                if isinstance(link, Link)
                for place, link in self._other_ends(snapshot, netns, link)
            }
            atoms += self._take(
                ("links",),
                lambda a, e=ends: (a.place[1], a.key) in e and not _switched(a),  # type: ignore[misc]
            )
            atoms += self._take(
                ("routes", "sysctl"),
                lambda a, n=netns, d=name: a.place[1] == n and d in self._mentions(a).devices,  # type: ignore[misc]
            )
            yield Fact(self.tell.link(atom), tuple(atoms), self._inside(atoms))

    def _other_ends(self, snapshot: Snapshot, netns: str, link: Link) -> Iterator[tuple[str, Link]]:
        topology = self._topology(snapshot)
        key = topology.peers.get((netns, link.name))
        if key is not None:
            yield key[0], topology.links[key]

    def _rules(self) -> Iterator[Fact]:
        for atom in self._take(("rules",), lambda a: a.quiet):
            yield Fact(self.tell.order(atom), (atom,), self._inside([atom]), quiet=True)
        yield from self._listed("base", lambda atom: (*atom.place[1:], atom.key), self.tell.policy)
        yield from self._listed("rules", lambda atom: atom.place[1:], self.tell.rules)

    def _resolver_files(self) -> Iterator[Fact]:
        """Of a container two facts come from one file: its namespace's and its own."""
        by_container: dict[str, list[Atom]] = {}
        owner = {netns: name for name, netns in self.old.netns_of.items() if netns != "host"}
        for atom in self._take(("hosts", "resolv"), lambda _: True):
            by_container.setdefault(owner.get(atom.place[1], ""), []).append(atom)
        for atom in self._take(("name_files",), lambda _: True):
            by_container.setdefault(str(atom.key), []).append(atom)
        for name, atoms in by_container.items():
            yield Fact(self.tell.resolver_files(name, atoms), tuple(atoms), frozenset({name} - {""}))


def _rules_in(tables: Iterable[NfTable], key: Any) -> int:
    return sum(len(c.rules) for t in tables if table_key(t) == key for c in t.chains.values())


def _tells(atom: Atom) -> bool:
    """A built-in chain that accepts is as good as none: iptables makes them when it looks at a table."""
    return any(base is not None and base.policy_drop for base in (atom.old, atom.new)) or "docker" in str(atom.place[2])


def _switched(atom: Atom) -> bool:
    return isinstance(atom.old, Link) and isinstance(atom.new, Link) and atom.old.up != atom.new.up


def _is_dockers_inside(atom: Atom) -> bool:
    """What Docker itself changes in a container's namespace when its networks change."""
    match atom.place[0]:
        case "routes":
            item = atom.old or atom.new
            return bool(item.destination.length == 0)
        case "rules":
            return atom.place[3] in ("OUTPUT", "POSTROUTING") or str(atom.place[3]).startswith("DOCKER")
        case _:
            return True
