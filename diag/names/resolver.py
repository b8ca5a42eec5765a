"""Name look-ups as a container's libc and Docker's embedded DNS do them.

`/etc/hosts` comes first (nsswitch.conf's `files dns`, and musl and busybox alike), then the nameservers of
`/etc/resolv.conf`. Docker's own server, 127.0.0.11, knows the names of the networks that the container is on: moby
libnetwork `Sandbox.ResolveName`, `Network.ResolveName`, `Endpoint` ordering, and daemon `buildEndpointDNSNames`.
The default bridge has no names there, only those that `--link` wrote into `/etc/hosts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from diag.model.address import Ip
from diag.model.analysis import MissingNames, NameAnswer, NameScope
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.message import listed, say
from diag.model.netns import HostsEntry
from diag.model.provenance import Evidence
from diag.model.reasons import Reason, Via
from diag.model.snapshot import NameFiles, Snapshot
from diag.names.hosts_file import HostsFile, hosts_file
from diag.names.network_names import NetworkNames, dns_answer, network_key
from diag.names.shared_names import SharedNames

EMBEDDED_DNS = Ip.parse("127.0.0.11")
MAX_MISSING = 24
"""Names listed for one reason; the rest is counted."""


class _Caller(Struct, frozen=True):
    """Where a container's names come from."""

    stack: Container
    hosts: HostsFile
    ips: frozenset[Ip]
    """In its hosts file."""
    embedded: bool
    """Its nameserver is Docker's."""
    endpoints: tuple[Endpoint, ...]
    """Whose names Docker's DNS gives it, in the order in which it asks; none without that DNS."""
    networks: frozenset[str]
    """Theirs."""

    @property
    def is_like_others(self) -> bool:
        """Docker's DNS answers it as it answers every container on the same networks."""
        return self.stack.running and not any(endpoint.links for endpoint in self.endpoints)


class Resolver:
    """Answers look-ups about one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._networks = {n.id: n for n in snapshot.networks}
        self._named_on: dict[str, set[str]] = {}
        self._with_ip: dict[Ip, set[str]] = {}
        self._on_network = NetworkNames()
        self._callers: dict[str, _Caller | None] = {}
        self._stacks: dict[str, _Caller] = {}
        self._shared_on: dict[tuple[tuple[str, str], ...], SharedNames] = {}
        """By network and its name, in the order in which the DNS asks."""
        self._tables_of: dict[int, tuple[tuple[NameAnswer, ...], ...]] = {}
        """By `id` of what is shared on several networks: what is on each of them."""
        self._owner: dict[Ip, str] = {}
        self._known: dict[str, list[str]] = {}
        self._spelt: dict[str, list[str]] = {}
        """Containers by lower-case name."""
        for container in snapshot.containers:
            self._spelt.setdefault(container.name.lower(), []).append(container.name)
            for endpoint in container.endpoints:
                self._named_on.setdefault(network_key(endpoint), set()).add(container.name)
                if container.running:
                    self._on_network.add(container, endpoint)
                for ip in (endpoint.ip, endpoint.ip6):
                    if ip is not None:
                        self._owner.setdefault(ip, container.name)
                        self._with_ip.setdefault(ip, set()).add(container.name)
            for name in _every_name(container):
                self._known.setdefault(name.lower(), []).append(container.name)
        self._containers = frozenset(c.name for c in snapshot.containers)
        stopped = frozenset(c.name for c in snapshot.containers if not c.running)
        self._by_state = tuple((names, sorted(names)) for names in (self._containers - stopped, stopped))

    def owner(self, address: str) -> str:
        """The container whose address Docker says it is; empty for none."""
        try:
            return self._owner.get(Ip.parse(address), "")
        except ValueError:
            return ""

    def resolve(self, source: str, name: str) -> NameAnswer:
        """What a look-up of `name` gives inside the container `source`."""
        caller = self._caller(source)
        if caller is None:
            return NameAnswer(
                name, (), None, Reason.NAME_UNKNOWN, explanation=say("there is no container {source}", source=source)
            )
        return self._look_up(caller, name) or self._not_found(caller, name)

    def scope(self, source: str) -> NameScope:
        """Everything that the container can call others, and the names of others that it cannot use."""
        caller = self._caller(source)
        if caller is None or self.snapshot.container(source) is None:
            return NameScope(source, "hosts-only", ())
        shared = self._shared(caller)
        alone = self._on_network.its_alone(caller.stack, caller.endpoints)
        asked = {name: self._look_up(caller, name) for name in self._own_names(caller, shared, alone)}
        asked = {name: answer if answer and answer.addresses else None for name, answer in asked.items()}
        found = shared.with_own({**dict.fromkeys(alone), **asked})
        missing = tuple(self._missing(source, caller, shared, alone - asked.keys(), asked))
        return NameScope(source, self._resolver_label(caller), found, missing, self._tables(caller, shared))

    def _missing(
        self,
        source: str,
        caller: _Caller,
        shared: SharedNames,
        alone: set[str],
        asked: Mapping[str, NameAnswer | None],
    ) -> Iterator[MissingNames]:
        """Other containers by the reason why their names are not found.

        What it calls others are the shared names, but for those that are its `alone`, and those that it was `asked` for,
        with their answers. Any other name resolves to nothing.
        """
        own = alone | asked.keys()
        reached = shared.targets_without(own) | {answer.target for answer in asked.values() if answer} | {source}
        in_hosts_or_asked = caller.hosts.by_name.keys() | asked.keys()
        named = shared.spelt_without(alone).union(*[self._spelt.get(name.lower(), ()) for name in in_hosts_or_asked])
        unanswered = (shared.in_vain - own).union(name for name, answer in asked.items() if answer is None)
        fine = (named | reached) - (self._containers.intersection(unanswered) - reached)
        for containers, in_order in self._by_state:
            count = len(containers) - len(containers & fine)
            if count:
                listed = tuple(islice((name for name in in_order if name not in fine), MAX_MISSING))
                first = self._not_found(caller, listed[0])
                yield MissingNames(listed, count, first.reason, first.explanation)

    def _spelling(self, name: str) -> Sequence[str]:
        """The containers that have this name but for upper and lower case."""
        return self._spelt.get(name.lower(), ())

    def names_for(self, source: str, destination: str) -> tuple[NameAnswer, ...]:
        """What `source` may call `destination`."""
        caller, other = self._caller(source), self.snapshot.container(destination)
        if caller is None or other is None:
            return ()
        ips = {ip for e in other.endpoints for ip in (e.ip, e.ip6) if ip is not None}
        keys = {network_key(e) for e in other.endpoints}
        if caller.ips.isdisjoint(ips) and caller.networks.isdisjoint(keys):
            return ()
        written = [name for line in caller.hosts.lines if line.ip in ips for name in line.names]
        aliases = [alias for e in caller.stack.endpoints for _, alias in e.links]
        wanted = {*_every_name(other), *written, *aliases}
        addresses = {str(ip) for ip in ips}
        answers = (self._look_up(caller, name) for name in sorted(wanted))
        return tuple(a for a in answers if a is not None and addresses.intersection(a.addresses))

    def nameable(self, source: str) -> frozenset[str]:
        """The containers that `source` may have a name for; for all others :meth:`names_for` gives none."""
        caller = self._caller(source)
        if caller is None:
            return frozenset()
        near = (self._named_on.get(key, ()) for key in caller.networks)
        written = (self._with_ip.get(ip, ()) for ip in caller.ips)
        return frozenset(name for names in (*near, *written) for name in names)

    # Who asks

    def _caller(self, source: str) -> _Caller | None:
        if source not in self._callers:
            stack = self._stack_owner(source)
            self._callers[source] = self._as_caller(stack) if stack is not None else None
        return self._callers[source]

    def _as_caller(self, stack: Container) -> _Caller:
        if stack.name not in self._stacks:
            embedded = self._uses_embedded_dns(stack)
            hosts = hosts_file(self.snapshot, stack)
            endpoints = self._ordered_endpoints(stack) if embedded else ()
            ips, networks = frozenset(line.ip for line in hosts.lines), frozenset(network_key(e) for e in endpoints)
            self._stacks[stack.name] = _Caller(stack, hosts, ips, embedded, endpoints, networks)
        return self._stacks[stack.name]

    def _stack_owner(self, source: str) -> Container | None:
        """A joined container uses the resolver files and the networks of the one it joined."""
        container = self.snapshot.container(source)
        for _ in range(8):
            if container is None or not container.joined_to:
                return container
            container = self.snapshot.container(container.joined_to) or container
        return container

    def _files(self, container: Container) -> NameFiles:
        return self.snapshot.name_files.get(container.name, NameFiles())

    def _uses_embedded_dns(self, container: Container) -> bool:
        """Whether its nameserver is 127.0.0.11; without resolv.conf, whether Docker would have set that."""
        resolv = self._files(container).resolv
        if resolv is not None:
            return EMBEDDED_DNS in resolv.nameservers
        return any(self._serves_names(e) for e in container.endpoints)

    def _network(self, endpoint: Endpoint) -> DockerNetwork | None:
        return self._networks.get(endpoint.network_id) or self.snapshot.network(endpoint.network)

    def _serves_names(self, endpoint: Endpoint) -> bool:
        network = self._network(endpoint)
        if network is None:
            return endpoint.network not in ("bridge", "host", "none")
        return not network.is_default_bridge and network.driver not in ("host", "null")

    def _ordered_endpoints(self, container: Container) -> tuple[Endpoint, ...]:
        """In the order in which the embedded DNS asks its networks (moby libnetwork, `Endpoint.Less`)."""

        def rank(endpoint: Endpoint) -> tuple[bool, int, str]:
            network = self._network(endpoint)
            return bool(network and network.internal), -endpoint.gw_priority, endpoint.network

        serving = [endpoint for endpoint in container.endpoints if self._serves_names(endpoint)]
        return tuple(sorted(serving, key=rank) if len(serving) > 1 else serving)

    # What it gets

    def _look_up(self, caller: _Caller, name: str) -> NameAnswer | None:
        return self._literal(name) or self._from_hosts(caller, name) or self._from_embedded_dns(caller, name)

    def _literal(self, name: str) -> NameAnswer | None:
        """An address is its own name."""
        if ":" not in name and name.count(".") < 3:
            return None
        try:
            literal = str(Ip.parse(name))
        except ValueError:
            return None
        return NameAnswer(name, (literal,), Via.HOSTS, target=self.owner(literal))

    def _from_hosts(self, caller: _Caller, name: str) -> NameAnswer | None:
        wanted = name.lower().rstrip(".")
        hits = caller.hosts.by_name.get(wanted)
        if not hits:
            return None
        container = caller.stack
        via = self._hosts_via(container, wanted, hits[0])
        addresses = tuple(dict.fromkeys(str(h.ip) for h in hits))
        match via:
            case Via.LINK:
                text = say("a --link of {name} wrote it into its /etc/hosts", name=container.name)
            case Via.EXTRA_HOST:
                text = say("an extra host (--add-host) of {name}", name=container.name)
            case _:
                text = say("a line of the /etc/hosts of {name}", name=container.name)
        return NameAnswer(
            name, addresses, via, evidence=hits[0].evidence, target=self.owner(addresses[0]), explanation=text
        )

    def _hosts_via(self, container: Container, wanted: str, entry: HostsEntry) -> Via:
        if wanted in [name.lower() for name, _ in container.extra_hosts]:
            return Via.EXTRA_HOST
        owner = self._owner.get(entry.ip, "") if container.links else ""
        linked = [target == owner or alias.lower() == wanted for target, alias in container.links]
        return Via.LINK if any(linked) else Via.HOSTS

    def _from_embedded_dns(self, caller: _Caller, name: str) -> NameAnswer | None:
        if not caller.stack.running:
            return None
        labels = _label_and_network(name.lower().rstrip("."))
        for endpoint in caller.endpoints:
            for label, network_name in labels:
                if network_name and network_name != endpoint.network.lower():
                    continue
                answer = self._linked(caller.stack, endpoint, name, label) if endpoint.links else None
                answer = answer or self._on_network.answer(endpoint, name, label)
                if answer is not None:
                    return answer
        return None

    def _linked(self, container: Container, endpoint: Endpoint, name: str, label: str) -> NameAnswer | None:
        for target, alias in endpoint.links:
            if alias.lower() != label:
                continue
            other = self.snapshot.container(target)
            for candidate, there in self._on_network.members(endpoint):
                if other is not None and candidate.id == other.id:
                    text = say("a --link of {name} on {network}", name=container.name, network=endpoint.network)
                    return dns_answer(name, [there], Via.LINK, candidate, text)
        return None

    def _not_found(self, caller: _Caller, name: str) -> NameAnswer:
        container = caller.stack
        resolv = self._files(container).resolv
        owners = self._known.get(name.lower().rstrip("."), [])
        if owners:
            text, evidence = self._scope_reason(caller, owners[0])
            return NameAnswer(name, (), None, Reason.NAME_SCOPE, evidence, explanation=text)
        if "." in name.strip(".") and self._forwards(container):
            where = listed(self._upstream(container)) or say("an external server")
            text = say("no container has this name; {where} is asked, which the capture does not hold", where=where)
            return NameAnswer(name, (), Via.EXTERNAL, None, resolv.evidence if resolv else None, explanation=text)
        text = say(
            "no container is called {name}, and it is in no hosts file that {reader} reads",
            name=name,
            reader=container.name,
        )
        return NameAnswer(name, (), None, Reason.NAME_UNKNOWN, explanation=text)

    def _scope_reason(self, caller: _Caller, owner: str) -> tuple[str, Evidence | None]:
        container = caller.stack
        resolv = self._files(container).resolv
        evidence = resolv.evidence if resolv else container.evidence
        if container.network_mode == "host":
            return say(
                "{caller} runs on the host's network, where Docker offers no names", caller=container.name
            ), evidence
        if not container.endpoints or container.network_mode == "none":
            return say("{caller} has no network and so no DNS", caller=container.name), evidence
        other = self.snapshot.container(owner)
        if other is not None and not other.running:
            return say(
                "{owner} is not running, and Docker's DNS knows running containers only", owner=owner
            ), other.evidence
        if not caller.embedded:
            return (
                say(
                    "{caller} is on the default bridge only, where Docker offers no names but those of --link",
                    caller=container.name,
                ),
                evidence,
            )
        return say("{caller} shares no network with it that Docker's DNS serves", caller=container.name), evidence

    def _forwards(self, container: Container) -> bool:
        resolv = self._files(container).resolv
        return resolv is None or bool(resolv.nameservers)

    def _upstream(self, container: Container) -> tuple[str, ...]:
        resolv = self._files(container).resolv
        if resolv is None:
            return ()
        return resolv.upstream or tuple(str(ip) for ip in resolv.nameservers if ip != EMBEDDED_DNS)

    def _resolver_label(self, caller: _Caller) -> str:
        if caller.embedded:
            return "embedded-dns"
        return ", ".join(self._upstream(caller.stack)) or "hosts-only"

    # What it can call others

    def _shared(self, caller: _Caller) -> SharedNames:
        """What Docker's DNS gives to all that are on the same networks; nothing for one that it answers in another way."""
        endpoints = caller.endpoints if caller.is_like_others else ()
        key = tuple((network_key(e), e.network) for e in endpoints)
        if key not in self._shared_on:
            names = sorted({name for e in endpoints for name in self._on_network.on(e)})
            answers = {name: self._literal(name) or self._from_embedded_dns(caller, name) for name in names}
            self._shared_on[key] = SharedNames.of(answers, self._spelling)
        return self._shared_on[key]

    def _tables(self, caller: _Caller, shared: SharedNames) -> tuple[tuple[NameAnswer, ...], ...]:
        """What is shared on all its networks as what is shared on each, where the first that has a name is what counts."""
        if len(caller.endpoints) < 2 or not caller.is_like_others:
            return (shared.answers,)
        if id(shared) not in self._tables_of:
            each = [self._shared(replace(caller, endpoints=(endpoint,))) for endpoint in caller.endpoints]
            first = {name: answer for one in reversed(each) for name, answer in one.found.items()}
            tables = tuple(one.answers for one in each)
            self._tables_of[id(shared)] = tables if first == shared.found else (shared.answers,)
        return self._tables_of[id(shared)]

    def _own_names(self, caller: _Caller, shared: SharedNames, alone: set[str]) -> set[str]:
        """The names for others that are to be looked up in this container."""
        names = {n for h in caller.hosts.lines for n in h.names if not n.startswith(("ip6-", "localhost"))}
        names.update(name for name in shared.like(caller.hosts.by_name) if name not in alone)
        if not caller.is_like_others:
            for endpoint in caller.endpoints:
                names.update(alias for _, alias in endpoint.links)
                on_it = self._on_network.on(endpoint)
                names.update(self._on_network.of_others(endpoint, caller.stack.name, on_it))
        return names


def _every_name(container: Container) -> list[str]:
    names = [container.name, container.short_id, *(n for e in container.endpoints for n in (*e.aliases, *e.dns_names))]
    return list(dict.fromkeys(n for n in names if n))


def _label_and_network(wanted: str) -> list[tuple[str, str]]:
    """`db` and `db.net1` both name db; the second on net1 only."""
    found = [(wanted, "")]
    label, dot, network = wanted.rpartition(".")
    if dot:
        found.append((label, network))
        first, _, rest = wanted.partition(".")
        if rest != network:
            found.append((first, rest))
    return found
