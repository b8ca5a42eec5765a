"""The facts of two snapshots side by side, as keyed lists, and the old snapshot with some of the new facts in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from diag.diff.essence import (
    ENGINE_FIELDS,
    FACETS,
    address_essence,
    container_facets,
    essence,
    hosts_essence,
    is_passing_route,
    link_essence,
    name_files_essence,
    network_essence,
    rule_essence,
    sysctl_counts,
)
from diag.diff.ownership import is_dockers
from diag.model.address import Family
from diag.model.difference import ChangeKind
from diag.model.docker import Engine
from diag.model.netfilter import (
    Base,
    Chain,
    Goto,
    Jump,
    NamedSet,
    NfRule,
    NfTable,
    Origin,
    Ruleset,
    TableFamily,
)
from diag.model.netns import Netns
from diag.model.snapshot import Snapshot

Place = tuple[Any, ...]
"""Which list a fact is in: its kind, then namespace, table and so on."""
ORDER = "order"
"""The key of the atom that is the order of a chain's rules."""


class Atom(Struct, frozen=True, eq=False):
    """The smallest difference: one item of one list."""

    place: Place
    key: Any
    old: Any
    new: Any
    quiet: bool = False
    """No change unless it flips a verdict: the order of Docker's own rules."""

    @property
    def kind(self) -> ChangeKind:
        if self.old is None:
            return ChangeKind.ADDED
        return ChangeKind.REMOVED if self.new is None else ChangeKind.CHANGED


class Section(Struct, frozen=True):
    """One list of facts, in both snapshots."""

    place: Place
    old: Mapping[Any, Any]
    new: Mapping[Any, Any]
    same: Callable[[Any], Any] = essence
    """What counts of an item that is in both."""
    ordered: Callable[[Any], bool] | None = None
    """For a list whose order counts: of which items it does not count among themselves."""

    def atoms(self) -> Iterator[Atom]:
        """What is different."""
        for key, item in self.old.items():
            other = self.new.get(key)
            if other is None or (other is not item and other != item and self.same(item) != self.same(other)):
                yield Atom(self.place, key, item, other)
        for key, item in self.new.items():
            if key not in self.old:
                yield Atom(self.place, key, None, item)
        if self.ordered is not None:
            mine = [key for key in self.old if key in self.new]
            theirs = [key for key in self.new if key in self.old]
            if mine != theirs:
                quiet = self._runs(mine, self.old) == self._runs(theirs, self.new)
                first = next(a for a, b in zip(mine, theirs, strict=True) if a != b)
                yield Atom(self.place, ORDER, self.old[first], self.new[first], quiet)

    def _runs(self, keys: Iterable[Any], items: Mapping[Any, Any]) -> list[Any]:
        """The order as far as it counts: neighbours whose order does not are one set."""
        found: list[Any] = []
        for key in keys:
            if self.ordered is None or not self.ordered(items[key]):
                found.append(key)
            elif found and isinstance(found[-1], set):
                found[-1].add(key)
            else:
                found.append({key})
        return found

    def picked(self, chosen: frozenset[Hashable]) -> dict[Any, Any]:
        """The old list with the chosen differences."""
        mine, theirs = (self.new, self.old) if ORDER in chosen else (self.old, self.new)
        found = {}
        for key in _merged(mine, theirs):
            item = (self.new if key in chosen else self.old).get(key)
            if item is not None:
                found[key] = item
        return found


def _merged(base: Mapping[Any, Any], other: Mapping[Any, Any]) -> Iterator[Any]:
    """Keys in the order of `base`, each of those that only `other` has after what it follows there."""
    following: dict[Any, list[Any]] = {}
    last = None
    for key in other:
        if key in base:
            last = key
        else:
            following.setdefault(last, []).append(key)
    yield from following.get(None, ())
    for key in base:
        yield key
        yield from following.get(key, ())


def counted(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, Any]:
    """Items by what they say, and a number for those that say the same."""
    seen: Counter[Any] = Counter()
    found = {}
    for item in items:
        what = key(item)
        found[what, seen[what]] = item
        seen[what] += 1
    return found


class Comparison:
    """Two snapshots in the same names."""

    def __init__(self, old: Snapshot, new: Snapshot) -> None:
        self.old, self.new = old, new

    @cached_property
    def sections(self) -> dict[Place, Section]:
        """Lists that may be different."""
        return {section.place: section for section in (*self._of_docker(), *self._of_namespaces())}

    @cached_property
    def atoms(self) -> tuple[Atom, ...]:
        """All differences."""
        return tuple(atom for section in self.sections.values() for atom in section.atoms())

    def applied(self, atoms: Iterable[Atom]) -> Snapshot:
        """The old snapshot with these differences."""
        chosen: dict[Place, set[Hashable]] = {}
        for atom in atoms:
            chosen.setdefault(atom.place, set()).add(atom.key)
        picks = {place: self.sections[place].picked(frozenset(keys)) for place, keys in chosen.items()}
        return _Patch(self.old, picks).snapshot()

    def _of_docker(self) -> Iterator[Section]:
        old, new = self.old, self.new
        yield Section(("engine",), _engine(old.engine), _engine(new.engine))
        yield Section(
            ("network",),
            {n.name: n for n in old.networks},
            {n.name: n for n in new.networks},
            network_essence,
        )
        before, after = {c.name: c for c in old.containers}, {c.name: c for c in new.containers}
        yield Section(("container",), before, after, lambda _: None)
        for name, container in before.items():
            other = after.get(name)
            if other is not None and other != container:
                yield Section(("facet", name), container_facets(container), container_facets(other))
                yield Section(
                    ("endpoints", name),
                    {e.network: e for e in container.endpoints},
                    {e.network: e for e in other.endpoints},
                    address_essence,
                )
        yield Section(("netns_of",), old.netns_of, new.netns_of)
        yield Section(("name_files",), old.name_files, new.name_files, name_files_essence)

    def _of_namespaces(self) -> Iterator[Section]:
        old, new = self.old.netns, self.new.netns
        yield Section(("netns",), old, new, lambda _: None)
        for name, space in old.items():
            other = new.get(name)
            if other is not None and other is not space and other != space:
                yield from self._of_one(name, space, other)

    def _of_one(self, name: str, old: Netns, new: Netns) -> Iterator[Section]:
        yield Section(("captured", name), _captured(old), _captured(new), lambda _: None)
        if old.links is not None and new.links is not None:
            yield Section(
                ("links", name),
                {link.name: link for link in old.links},
                {link.name: link for link in new.links},
                link_essence,
            )
        for family in Family:
            for kind, mine, theirs in (
                ("routes", old.routes.get(family), new.routes.get(family)),
                ("policy", old.rules.get(family), new.rules.get(family)),
            ):
                if mine is not None and theirs is not None:
                    yield Section((kind, name, family), _listed(kind, mine), _listed(kind, theirs))
        if old.sysctl and new.sysctl:
            yield Section(
                ("sysctl", name),
                {k: v for k, v in old.sysctl.items() if sysctl_counts(k)},
                {k: v for k, v in new.sysctl.items() if sysctl_counts(k)},
            )
        if old.sockets is not None and new.sockets is not None:
            yield Section(
                ("sockets", name),
                {(s.protocol, s.ip, s.port): s for s in old.sockets},
                {(s.protocol, s.ip, s.port): s for s in new.sockets},
            )
        if old.hosts is not None and new.hosts is not None:
            yield Section(("hosts", name), {"": old.hosts}, {"": new.hosts}, hosts_essence)
        if old.resolv is not None and new.resolv is not None:
            yield Section(("resolv", name), {"": old.resolv}, {"": new.resolv})
        yield from _of_rulesets(name, old.ruleset, new.ruleset)


def _listed(kind: str, items: Iterable[Any]) -> dict[Any, Any]:
    wanted = items if kind == "policy" else (route for route in items if not is_passing_route(route))
    return counted(wanted, essence)


def _engine(engine: Engine) -> dict[str, Any]:
    return {name: value for name, value in asdict(engine).items() if name in ENGINE_FIELDS and value not in ("", None)}


_PARTS = ("links", "sockets", "hosts", "resolv")


def _captured(space: Netns) -> dict[str, Any]:
    """The parts of a namespace that were captured."""
    found: dict[str, Any] = {part: getattr(space, part) for part in _PARTS}
    found |= {f"routes {family.label}": space.routes.get(family) for family in Family}
    found["sysctl"] = space.sysctl or None
    return {part: facts for part, facts in found.items() if facts is not None}


def table_key(table: NfTable) -> tuple[str, str, str]:
    """What tells tables of a namespace apart."""
    return table.origin.value, table.family.value, table.name


def _of_rulesets(netns: str, old: Ruleset, new: Ruleset) -> Iterator[Section]:
    if old is new or old == new:
        return
    yield Section(("missing", netns), dict(old.missing), dict(new.missing), lambda _: None)
    before, after = {table_key(t): t for t in old.tables}, {table_key(t): t for t in new.tables}
    for key in {**before, **after}:
        mine, theirs = before.get(key), after.get(key)
        table = mine or theirs
        if table is None or (mine is not None and (mine is theirs or mine == theirs)):
            continue
        chains, others = (mine.chains if mine else {}), (theirs.chains if theirs else {})
        yield Section(
            ("base", netns, key),
            {name: chain.base for name, chain in chains.items() if chain.base is not None},
            {name: chain.base for name, chain in others.items() if chain.base is not None},
        )
        for name in {**chains, **others}:
            yield _of_chain(netns, table, name, chains.get(name), others.get(name))
        sets, other_sets = (mine.sets if mine else {}), (theirs.sets if theirs else {})
        for name in {**sets, **other_sets}:
            yield _of_set(("elements", netns, key, name), sets.get(name), other_sets.get(name))
    for name in {**old.ipsets, **new.ipsets}:
        yield _of_set(("elements", netns, None, name), old.ipsets.get(name), new.ipsets.get(name))


def _of_chain(netns: str, table: NfTable, name: str, old: Chain | None, new: Chain | None) -> Section:
    def key(rule: NfRule) -> Any:
        return rule_essence(rule, netns)

    return Section(
        ("rules", netns, table_key(table), name),
        counted(old.rules if old else (), key),
        counted(new.rules if new else (), key),
        lambda _: None,
        lambda rule: is_dockers(netns, table, name, rule),
    )


def _of_set(place: Place, old: NamedSet | None, new: NamedSet | None) -> Section:
    return Section(place, _elements(old), _elements(new))


def _elements(named: NamedSet | None) -> dict[Any, Any]:
    return {(e.key, e.negated): e for e in named.elements} if named is not None else {}


class _Patch:
    """Puts lists into a snapshot."""

    def __init__(self, old: Snapshot, picks: Mapping[Place, dict[Any, Any]]) -> None:
        self._old, self._picks = old, picks
        self._by_netns: dict[str, dict[Place, dict[Any, Any]]] = {}
        for place, items in picks.items():
            if place[0] not in (
                "engine",
                "network",
                "container",
                "facet",
                "endpoints",
                "netns_of",
                "name_files",
                "netns",
            ):
                self._by_netns.setdefault(place[1], {})[place] = items

    def snapshot(self) -> Snapshot:
        old, picks = self._old, self._picks
        spaces = dict(picks.get(("netns",), old.netns))
        for name, parts in self._by_netns.items():
            if name in spaces:
                spaces[name] = _with_parts(spaces[name], parts)
        containers = picks.get(("container",)) or {c.name: c for c in old.containers}
        for place, items in picks.items():
            if place[0] == "facet" and place[1] in containers:
                containers[place[1]] = replace(containers[place[1]], **{f: items.get(f, _EMPTY[f]) for f in FACETS})
            elif place[0] == "endpoints" and place[1] in containers:
                containers[place[1]] = replace(containers[place[1]], endpoints=tuple(items.values()))
        networks = picks.get(("network",))
        engine = picks.get(("engine",))
        return replace(
            old,
            engine=replace(old.engine, **{f: engine.get(f, _NO_ENGINE[f]) for f in ENGINE_FIELDS})
            if engine is not None
            else old.engine,
            networks=tuple(networks.values()) if networks is not None else old.networks,
            containers=tuple(sorted(containers.values(), key=lambda c: c.name)),
            netns=MappingProxyType(spaces),
            netns_of=MappingProxyType(dict(picks.get(("netns_of",), old.netns_of))),
            name_files=MappingProxyType(dict(picks.get(("name_files",), old.name_files))),
        )


_EMPTY: dict[str, Any] = {
    "status": "running",
    "network_mode": "default",
    "ports": (),
    "links": (),
    "extra_hosts": (),
    "exposed": (),
}
_NO_ENGINE = asdict(Engine())


def _with_parts(space: Netns, parts: Mapping[Place, dict[Any, Any]]) -> Netns:
    changed: dict[str, Any] = {}
    routes, policies = dict(space.routes), dict(space.rules)
    for place, items in parts.items():
        match place[0]:
            case "links" | "sockets":
                changed[place[0]] = tuple(items.values())
            case "routes":
                kept = (r for r in space.routes.get(place[2]) or () if is_passing_route(r))
                routes[place[2]] = (*items.values(), *kept)
            case "policy":
                policies[place[2]] = tuple(sorted(items.values(), key=lambda rule: rule.priority))
            case "sysctl":
                kept_values = {k: v for k, v in space.sysctl.items() if not sysctl_counts(k)}
                changed["sysctl"] = MappingProxyType({**kept_values, **items})
            case "hosts" | "resolv":
                changed[place[0]] = items.get("")
    for place, items in parts.items():
        if place[0] == "captured":
            changed = {part: items.get(part) for part in _PARTS} | changed
            for family in Family:
                if ("routes", place[1], family) not in parts:
                    routes[family] = items.get(f"routes {family.label}")
            changed.setdefault("sysctl", items.get("sysctl", MappingProxyType({})))
    rulesets = {place: items for place, items in parts.items() if place[0] in ("missing", "base", "rules", "elements")}
    if rulesets:
        changed["ruleset"] = _with_rules(space.ruleset, rulesets)
    return replace(space, routes=MappingProxyType(routes), rules=MappingProxyType(policies), **changed)


def _with_rules(ruleset: Ruleset, parts: Mapping[Place, dict[Any, Any]]) -> Ruleset:
    tables = {table_key(table): table for table in ruleset.tables}
    ipsets = dict(ruleset.ipsets)
    missing: Mapping[TableFamily, str] = ruleset.missing
    for place, items in parts.items():
        if place[0] == "missing":
            missing = MappingProxyType(items)
            continue
        key = place[2]
        if key is None:
            ipsets[place[3]] = _filled(ipsets.get(place[3]), place[3], items)
            continue
        table = tables.get(key) or NfTable(TableFamily(key[1]), key[2], Origin(key[0]), MappingProxyType({}))
        tables[key] = _with_part(table, place, items)
    closed = (_with_targets(table) for table in tables.values())
    return Ruleset(tuple(closed), MappingProxyType(ipsets), missing)


def _with_part(table: NfTable, place: Place, items: dict[Any, Any]) -> NfTable:
    chains = dict(table.chains)
    match place[0]:
        case "base":
            for name in {**chains, **items}:
                base: Base | None = items.get(name)
                chains[name] = replace(chains.get(name) or Chain(name), base=base)
        case "rules":
            name = place[3]
            chains[name] = replace(chains.get(name) or Chain(name), rules=tuple(items.values()))
        case _:
            name = place[3]
            sets = {**table.sets, name: _filled(table.sets.get(name), name, items)}
            return replace(table, sets=MappingProxyType(sets))
    return replace(table, chains=MappingProxyType(chains))


def _filled(named: NamedSet | None, name: str, items: dict[Any, Any]) -> NamedSet:
    return replace(named or NamedSet(name, ()), elements=tuple(items.values()))


def _with_targets(table: NfTable) -> NfTable:
    """Chains that are jumped to exist, if empty."""
    verdicts = [e.verdict for named in table.sets.values() for e in named.elements]
    parts = [part for chain in table.chains.values() for rule in chain.rules for part in rule.parts]
    missing = {p.chain for p in (*verdicts, *parts) if isinstance(p, Jump | Goto)} - set(table.chains)
    chains = {**table.chains, **{name: Chain(name) for name in missing}}
    return replace(table, chains=MappingProxyType(chains)) if missing else table
