"""Sentences for changes, with the line of each capture that shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diag.diff.essence import name_files_essence
from diag.diff.renaming import Renaming
from diag.diff.sections import ORDER, Atom
from diag.model.difference import Change, ChangeKind
from diag.model.docker import Container, DockerNetwork, Endpoint, PublishedPort
from diag.model.message import COMMA, SEMICOLON, Message, listed, say, sentences
from diag.model.netfilter import Base, NfRule
from diag.model.netns import Link
from diag.model.provenance import Evidence
from diag.model.snapshot import NameFiles, Snapshot

_LISTED = 4
"""Names in one sentence."""


class Teller:
    """Says what differences are, in the names of the new capture where there are two."""

    def __init__(self, old: Snapshot, new: Snapshot, renaming: Renaming) -> None:
        """`new` is in old names."""
        self._old, self._new, self._renaming = old, new, renaming
        self._called = {old_name: name for name, old_name in renaming.names.items()}

    def name(self, container: str) -> str:
        """What a container is called now, by its old name."""
        return self._called.get(container, container)

    # Docker's objects

    def engine(self, atoms: Sequence[Atom]) -> Change:
        said = {
            "version": say("the version"),
            "kernel": say("the kernel"),
            "firewall_backend": say("the firewall backend"),
            "userland_proxy": say("the userland proxy"),
            "swarm": say("the swarm"),
        }
        parts = [
            say("{what} is {new}, it was {old}", what=said[str(a.key)], new=_word(a.new), old=_word(a.old))
            for a in atoms
            if a.place == ("engine",)
        ]
        return Change(ChangeKind.CHANGED, say("engine"), say("{facts}.", facts=listed(parts, SEMICOLON)))

    def network(self, atom: Atom, containers: Sequence[str]) -> Change:
        old, new = atom.old, atom.new
        subject = say("network {name}", name=atom.key)
        names = self._names(containers)
        before, after = _evidence(old), _evidence(new)
        if old is None:
            text = say("{name} is new: {what}.", name=atom.key, what=_network(new))
            more = say("On it: {names}.", names=names) if containers else ""
            return Change(atom.kind, subject, sentences((text, more)), None, after)
        if new is None:
            text = say("{name} is gone.", name=atom.key)
            more = say("On it were: {names}.", names=names) if containers else ""
            return Change(atom.kind, subject, sentences((text, more)), before, None)
        parts = [say("{what} is {new}, it was {old}", what=w, new=n, old=o) for w, n, o in _network_changes(old, new)]
        return Change(atom.kind, subject, say("{facts}.", facts=listed(parts, SEMICOLON)), before, after)

    def container(self, kind: ChangeKind, old: Container | None, new: Container | None) -> Change:
        either = old or new
        name = self.name(either.name) if either is not None else ""
        subject = say("container {name}", name=name)
        before, after = _evidence(old), _evidence(new)
        if old is None and new is not None:
            text = say("{name} is new ({status}).", name=name, status=new.status)
            more = _on(say("It is on {networks}.", networks=_networks(new)), new)
            return Change(ChangeKind.ADDED, subject, sentences((text, more)), None, after)
        if new is None and old is not None:
            text = say("{name} is gone.", name=name)
            more = _on(say("It was on {networks}.", networks=_networks(old)), old)
            return Change(ChangeKind.REMOVED, subject, sentences((text, more)), before, None)
        now, then = new.status if new else "", old.status if old else ""
        text = say("{name} is {now}, it was {then}.", name=name, now=now, then=then)
        return Change(kind, subject, text, before, after)

    def renamed(self, old: Container, new: Container) -> Change:
        text = say("{old} is now called {new}.", old=old.name, new=new.name)
        return Change(ChangeKind.CHANGED, say("container {name}", name=old.name), text, _evidence(old), _evidence(new))

    def endpoint(self, atom: Atom) -> Change:
        name, network = self.name(atom.place[1]), atom.key
        subject = say("container {name}", name=name)
        before = _evidence(self._old.container(atom.place[1]))
        after = _evidence(self._new.container(atom.place[1]))
        old, new = atom.old, atom.new
        if old is None:
            ip = self._renaming.new_text(_address(new))
            text = say("{name} was connected to {network} ({ip}).", name=name, network=network, ip=ip)
        elif new is None:
            text = say("{name} was disconnected from {network} ({ip}).", name=name, network=network, ip=_address(old))
        elif (old.ip, old.ip6) != (new.ip, new.ip6):
            text = say(
                "{name} is at {new} on {network}, it was at {old}.",
                name=name,
                network=network,
                new=self._renaming.new_text(_address(new)),
                old=_address(old),
            )
        elif set(old.aliases) | set(old.dns_names) != set(new.aliases) | set(new.dns_names):
            text = say(
                "{name} is called {new} on {network}, it was called {old}.",
                name=name,
                network=network,
                new=_aliases(new),
                old=_aliases(old),
            )
        else:
            text = say("The settings of {name} on {network} are others.", name=name, network=network)
        return Change(atom.kind, subject, text, before, after)

    def facet(self, atom: Atom) -> Change:
        name = self.name(atom.place[1])
        said = {
            "network_mode": say("the network mode"),
            "ports": say("the published ports"),
            "links": say("the links"),
            "extra_hosts": say("the extra hosts"),
            "exposed": say("the exposed ports"),
        }
        text = say(
            "{name}: {what}: {new}; before: {old}.",
            name=name,
            what=said[str(atom.key)],
            new=_value(atom.new),
            old=_value(atom.old),
        )
        return Change(
            ChangeKind.CHANGED,
            say("container {name}", name=name),
            text,
            _evidence(self._old.container(atom.place[1])),
            _evidence(self._new.container(atom.place[1])),
        )

    # Netfilter

    def flush(self, netns: str, tables: Mapping[Any, Sequence[Atom]]) -> Change:
        number = sum(map(len, tables.values()))
        names = listed(dict.fromkeys(_table(key) for key in tables))
        subject = self._in(say("rules of {tables}", tables=names), netns)
        text = say("All {n} rules of {tables} are gone.", n=number, tables=names)
        first = next(iter(tables.values()))[0]
        return Change(ChangeKind.REMOVED, subject, text, _evidence(first.old), self._chain(first))

    def rules(self, atoms: Sequence[Atom]) -> Change:
        added = [a for a in atoms if a.kind is ChangeKind.ADDED]
        removed = [a for a in atoms if a.kind is ChangeKind.REMOVED]
        if not added and not removed:
            return self.order(atoms[0])
        parts = []
        for found, many, one in (
            (removed, say("{n} rules removed, the first: {rule}", n=len(removed), rule=_first(removed)), "removed"),
            (added, say("{n} rules added, the first: {rule}", n=len(added), rule=_first(added)), "added"),
        ):
            if len(found) == 1 and one == "added":
                parts.append(say("rule {number} added: {rule}", number=found[0].new.number, rule=_first(found)))
            elif len(found) == 1:
                parts.append(say("rule {number} removed: {rule}", number=found[0].old.number, rule=_first(found)))
            elif found:
                parts.append(many)
        if any(a.key == ORDER for a in atoms):
            parts.append(say("the others are in another order"))
        kind = ChangeKind.ADDED if not removed else ChangeKind.REMOVED if not added else ChangeKind.CHANGED
        before = _evidence(removed[0].old) if removed else None
        after = _evidence(added[0].new) if added else self._chain(removed[0])
        return Change(kind, self._rules_of(atoms[0]), say("{facts}.", facts=listed(parts, SEMICOLON)), before, after)

    def order(self, atom: Atom) -> Change:
        return Change(
            ChangeKind.CHANGED,
            self._rules_of(atom),
            say("The same rules are in another order."),
            _evidence(atom.old),
            _evidence(atom.new),
        )

    def policy(self, atoms: Sequence[Atom]) -> Change:
        atom = atoms[0]
        subject = self._in(say("policy of {table} {chain}", table=_table(atom.place[2]), chain=atom.key), atom.place[1])
        if atom.old is not None and atom.new is not None and atom.old.policy_drop != atom.new.policy_drop:
            text = say("The policy is {new}, it was {old}.", new=_policy(atom.new), old=_policy(atom.old))
        elif atom.old is None:
            text = say("The chain is new; its policy is {new}.", new=_policy(atom.new))
        elif atom.new is None:
            text = say("The chain is gone; its policy was {old}.", old=_policy(atom.old))
        else:
            text = say("The chain is attached elsewhere.")
        return Change(atom.kind, subject, text, _evidence(atom.old), _evidence(atom.new))

    def elements(self, atoms: Sequence[Atom]) -> Change:
        first = atoms[0]
        table = say("{table} {name}", table=_table(first.place[2]), name=first.place[3]) if first.place[2] else None
        subject = self._in(say("set {name}", name=table or first.place[3]), first.place[1])
        counts = {kind: sum(a.kind is kind for a in atoms) for kind in ChangeKind}
        text = say(
            "{added} elements added, {removed} removed, {changed} changed.",
            added=counts[ChangeKind.ADDED],
            removed=counts[ChangeKind.REMOVED],
            changed=counts[ChangeKind.CHANGED],
        )
        return Change(_kind(atoms), subject, text, *_ends(atoms))

    def _rules_of(self, atom: Atom) -> str:
        _, netns, table, chain = atom.place
        return self._in(say("rules of {table} {chain}", table=_table(table), chain=chain), netns)

    def _chain(self, atom: Atom) -> Evidence | None:
        """Where the new capture has the chain or its table, without rules to cite."""
        for table in self._new.netns[atom.place[1]].ruleset.tables:
            if (table.origin.value, table.family.value, table.name) == atom.place[2]:
                bases = [c.base for c in table.chains.values() if c.base is not None and c.base.evidence is not None]
                mine = table.chains.get(atom.place[3])
                if mine is not None and mine.base is not None:
                    return mine.base.evidence
                if mine is not None and mine.rules:
                    return mine.rules[0].evidence
                return bases[0].evidence if bases else None
        return None

    # Namespaces

    def link(self, atom: Atom) -> Change:
        netns, old, new = atom.place[1], atom.old, atom.new
        named = self._link_name(atom)
        subject = self._in(say("link {name}", name=named), netns)
        if old is None:
            text = say("{name} is new.", name=named)
        elif new is None:
            text = say("{name} is gone.", name=named)
        else:
            parts = [
                say("{what} is {new}, it was {old}", what=what, new=self._renaming.new_text(n), old=o)
                for what, n, o in _link_changes(old, new)
            ]
            facts = listed(parts, SEMICOLON) if parts else say("its other end is another")
            text = say("{name}: {facts}.", name=named, facts=facts)
        return Change(atom.kind, subject, text, _evidence(old), _evidence(new))

    def _link_name(self, atom: Atom) -> str:
        """For a veth of the host's with its container, for its name is not worth remembering."""
        name = str(atom.key)
        owners = {other: c for c, other in self._old.netns_of.items() if other != "host"}
        peer = self._peers.get((atom.place[1], name)) if atom.place[1] == "host" else None
        shown = name if atom.new is None else self._renaming.new_text(name)
        if peer is not None and peer[0] in owners:
            return say("{name} (veth of {container})", name=shown, container=self.name(owners[peer[0]]))
        return shown

    @property
    def _peers(self) -> Mapping[tuple[str, str], tuple[str, str]]:
        return self._renaming.old_peers

    def sysctl(self, atoms: Sequence[Atom]) -> Change:
        first = atoms[0]
        subject = self._in(say("sysctl {name}", name=self._renaming.new_text(str(first.key))), first.place[1])
        text: str = say("It is {new}, it was {old}.", new=_word(first.new), old=_word(first.old))
        if len(atoms) > 1:
            more = say("So are {n} more: {names}.", n=len(atoms) - 1, names=_some([str(a.key) for a in atoms[1:]]))
            text = sentences((text, more))
        return Change(_kind(atoms), subject, text, *self._sysctl_lines(first))

    def _sysctl_lines(self, atom: Atom) -> tuple[Evidence | None, Evidence | None]:
        old, new = self._old.netns[atom.place[1]], self._new.netns[atom.place[1]]
        return old.sysctl_evidence.get(str(atom.key)), new.sysctl_evidence.get(str(atom.key))

    def routes(self, atoms: Sequence[Atom]) -> Change:
        return self._lines(say("routes"), atoms)

    def policy_rules(self, atoms: Sequence[Atom]) -> Change:
        return self._lines(say("policy rules"), atoms)

    def _lines(self, what: str, atoms: Sequence[Atom]) -> Change:
        parts = []
        for kind, one in ((ChangeKind.REMOVED, say("gone")), (ChangeKind.ADDED, say("new"))):
            found = [_text(a.old or a.new) for a in atoms if a.kind is kind]
            if found:
                parts.append(say("{what}: {lines}", what=one, lines=_some(found, SEMICOLON)))
        text = say("{facts}.", facts=listed(parts, SEMICOLON))
        return Change(_kind(atoms), self._in(what, atoms[0].place[1]), text, *_ends(atoms))

    def sockets(self, atoms: Sequence[Atom]) -> Change:
        parts = []
        closed = [_socket(a) for a in atoms if a.kind is ChangeKind.REMOVED]
        opened = [_socket(a) for a in atoms if a.kind is ChangeKind.ADDED]
        if closed:
            parts.append(say("nothing listens any more on {ports}", ports=_some(closed)))
        if opened:
            parts.append(say("something listens now on {ports}", ports=_some(opened)))
        text = say("{facts}.", facts=listed(parts, SEMICOLON))
        return Change(_kind(atoms), self._in(say("listeners"), atoms[0].place[1]), text, *_ends(atoms))

    def resolver_files(self, name: str, atoms: Sequence[Atom]) -> Change:
        hosts = any(a.place[0] == "hosts" or (a.place[0] == "name_files" and _hosts(a)) for a in atoms)
        resolv = any(a.place[0] == "resolv" or (a.place[0] == "name_files" and _resolv(a)) for a in atoms)
        files = ["/etc/hosts"] * hosts + ["/etc/resolv.conf"] * resolv
        whose = say("container {name}", name=self.name(name)) if name else say("the host")
        subject = say("names of {who}", who=whose)
        text = say("{files} changed.", files=listed(files)) if files else say("The resolver files changed.")
        return Change(ChangeKind.CHANGED, subject, text, *_ends(atoms))

    def captured(self, atoms: Sequence[Atom]) -> Change:
        lost = [str(a.key) for a in atoms if a.kind is ChangeKind.REMOVED]
        found = [str(a.key) for a in atoms if a.kind is ChangeKind.ADDED]
        parts = [say("not captured any more: {parts}", parts=listed(lost))] if lost else []
        parts += [say("captured now: {parts}", parts=listed(found))] if found else []
        subject = self._in(say("capture"), atoms[0].place[1])
        return Change(_kind(atoms), subject, say("{facts}.", facts=listed(parts, SEMICOLON)))

    def not_captured(self, atoms: Sequence[Atom]) -> Change:
        lost = [a for a in atoms if a.kind is ChangeKind.ADDED]
        subject = self._in(say("capture"), atoms[0].place[1])
        if lost:
            text = say("Rules were not captured: {why}.", why=str(lost[0].new))
            return Change(ChangeKind.REMOVED, subject, text)
        return Change(ChangeKind.ADDED, subject, say("Rules are captured now."))

    def namespace(self, atoms: Sequence[Atom]) -> Change:
        atom = atoms[0]
        if atom.place[0] == "netns_of":
            name = self.name(str(atom.key))
            subject = say("container {name}", name=name)
            return Change(atom.kind, subject, say("{name} has another network stack.", name=name))
        subject = say("namespace {name}", name=atom.key)
        text = say("It is new.") if atom.old is None else say("It is gone.")
        return Change(atom.kind, subject, text)

    def _in(self, what: str, netns: str) -> str:
        """Something of the host's, or of a container's."""
        if netns == "host":
            return what
        owners = [self.name(c) for c, other in self._old.netns_of.items() if other == netns]
        return say("{what} in {container}", what=what, container="/".join(sorted(owners)[:_LISTED]) or netns)

    def _names(self, containers: Iterable[str]) -> str:
        return _some(sorted(map(self.name, containers)))


def _on(sentence: str, container: Container) -> str:
    return sentence if container.endpoints else ""


def _networks(container: Container) -> str:
    return listed(sorted(e.network for e in container.endpoints))


def _evidence(item: Any) -> Evidence | None:
    found = getattr(item, "evidence", None)
    return found if isinstance(found, Evidence) else None


def _ends(atoms: Sequence[Atom]) -> tuple[Evidence | None, Evidence | None]:
    """The first evidence on each side."""
    before = (e for a in atoms if (e := _evidence_in(a.old)) is not None)
    after = (e for a in atoms if (e := _evidence_in(a.new)) is not None)
    return next(before, None), next(after, None)


def _evidence_in(item: Any) -> Evidence | None:
    return _evidence(item[0]) if isinstance(item, tuple) and item else _evidence(item)


def _kind(atoms: Sequence[Atom]) -> ChangeKind:
    kinds = {atom.kind for atom in atoms}
    return kinds.pop() if len(kinds) == 1 else ChangeKind.CHANGED


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return say("on") if value else say("off")
    return str(value) if value not in (None, "") else say("unknown")


def _table(key: Any) -> str:
    """`filter`, `ip6 filter`, `legacy filter`, or for nft's own `inet firewall`."""
    origin, family, name = key
    legacy = "legacy " if origin == "iptables-legacy" else ""
    return f"{legacy}{name}" if origin != "nft" and family == "ip" else f"{legacy}{family} {name}"


def _policy(base: Base) -> str:
    return "DROP" if base.policy_drop else "ACCEPT"


def _first(atoms: Sequence[Atom]) -> str:
    rule: NfRule | None = (atoms[0].old or atoms[0].new) if atoms else None
    return rule.evidence.text if rule is not None else ""


def _text(item: Any) -> str:
    found = _evidence(item)
    return found.text if found is not None else str(item)


def _some(texts: Sequence[str], separator: Message = COMMA) -> str:
    more = len(texts) - _LISTED
    if more > 0:
        return say("{first} and {n} more", first=listed(texts[:_LISTED], separator), n=more)
    return listed(texts, separator)


def _address(endpoint: Endpoint) -> str:
    return ", ".join(str(ip) for ip in (endpoint.ip, endpoint.ip6) if ip is not None) or "-"


def _aliases(endpoint: Endpoint) -> str:
    return listed(sorted({*endpoint.aliases, *endpoint.dns_names})) or say("nothing")


def _socket(atom: Atom) -> str:
    protocol, ip, port = atom.key
    shown = f"[{ip}]" if ":" in str(ip) else str(ip)
    return f"{protocol} {shown}:{port}" if ip.value else f"{protocol} {port}"


def _hosts(atom: Atom) -> bool:
    return bool(_name_files(atom.old)[0] != _name_files(atom.new)[0])


def _resolv(atom: Atom) -> bool:
    return bool(_name_files(atom.old)[1] != _name_files(atom.new)[1])


def _name_files(files: NameFiles | None) -> Any:
    return name_files_essence(files) if files is not None else (None, None)


def _value(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return listed([_item(item) for item in value]) or say("none")


def _item(item: Any) -> str:
    match item:
        case PublishedPort():
            host = f"{item.host_ip}:" if item.host_ip is not None else ""
            return f"{host}{item.host_port}->{item.container_port}/{item.protocol}"
        case (first, second):
            return f"{first}:{second}" if isinstance(first, str) else f"{first}/{second}"
        case _:
            return str(item)


def _network(network: DockerNetwork) -> str:
    subnets = [str(c.subnet) for c in network.ipam]
    return listed([network.driver, *subnets, *([say("internal")] if network.internal else [])])


def _network_changes(old: DockerNetwork, new: DockerNetwork) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = [
        (say("the driver"), new.driver, old.driver),
        (say("internal"), _word(new.internal), _word(old.internal)),
        (say("IPv6"), _word(new.ipv6), _word(old.ipv6)),
        (say("the subnet"), _subnets(new), _subnets(old)),
    ]
    for key in sorted({*old.options, *new.options}):
        found.append((key, new.options.get(key) or say("unset"), old.options.get(key) or say("unset")))  # noqa: PERF401
    return [(what, n, o) for what, n, o in found if n != o] or [(say("another setting"), say("new"), say("old"))]


def _subnets(network: DockerNetwork) -> str:
    return listed([f"{c.subnet} ({c.gateway})" if c.gateway else str(c.subnet) for c in network.ipam]) or say("none")


def _link_changes(old: Link, new: Link) -> list[tuple[str, str, str]]:
    found = [
        (say("its state"), _up(new), _up(old)),
        (say("its bridge"), new.master or say("none"), old.master or say("none")),
        ("MTU", str(new.mtu), str(old.mtu)),
        (say("its address"), _addresses(new), _addresses(old)),
        (say("its port"), _port(new), _port(old)),
        (say("its kind"), new.kind.value, old.kind.value),
        (say("its mode"), new.mode or say("none"), old.mode or say("none")),
    ]
    return [(what, n, o) for what, n, o in found if n != o]


def _up(link: Link) -> str:
    if not link.up:
        return say("down")
    return say("up") if link.carrier or link.kind.value == "bridge" else say("up without carrier")


def _addresses(link: Link) -> str:
    found = (a for a in link.addresses if not a.ip.is_link_local)
    return listed(f"{a.ip}/{a.prefix.length}" for a in found) or say("none")


def _port(link: Link) -> str:
    if link.port is None:
        return say("none")
    traits = [say("isolated")] * bool(link.port.isolated) + [say("hairpin")] * bool(link.port.hairpin)
    return listed([link.port.state or say("unknown"), *traits])
