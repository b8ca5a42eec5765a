"""Name look-ups as a container's libc and Docker's embedded DNS do them.

`/etc/hosts` comes first (nsswitch.conf's `files dns`, and musl and busybox alike), then the nameservers of
`/etc/resolv.conf`. Docker's own server, 127.0.0.11, knows the names of the networks that the container is on: moby
libnetwork `Sandbox.ResolveName`, `Network.ResolveName`, `Endpoint` ordering, and daemon `buildEndpointDNSNames`.
The default bridge has no names there, only those that `--link` wrote into `/etc/hosts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

from diag.model.address import Ip
from diag.model.analysis import MissingNames, NameAnswer, NameScope
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.netns import HostsEntry
from diag.model.provenance import Evidence
from diag.model.reasons import Reason, Via
from diag.model.snapshot import NameFiles, Snapshot
from diag.names.hosts_file import HostsFile, hosts_file
from diag.names.network_names import NetworkNames, dns_answer, network_key

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
            return NameAnswer(name, (), None, Reason.NAME_UNKNOWN, explanation=f"there is no container {source}")
        return self._look_up(caller, name) or self._not_found(caller, name)

    def scope(self, source: str) -> NameScope:
        """Everything that the container can call others, and the names of others that it cannot use."""
        caller = self._caller(source)
        if caller is None or self.snapshot.container(source) is None:
            return NameScope(source, "hosts-only", ())
        candidates = self._candidates(caller)
        answers = (self._look_up(caller, name) for name in candidates)
        found = tuple(answer for answer in answers if answer is not None and answer.addresses)
        missing = self._missing(source, caller, candidates, found)
        return NameScope(source, self._resolver_label(caller), found, tuple(missing))

    def _missing(
        self, source: str, caller: _Caller, candidates: list[str], found: tuple[NameAnswer, ...]
    ) -> Iterator[MissingNames]:
        """Other containers by the reason why their names are not found. A name that is no candidate resolves to nothing."""
        reached = {answer.target for answer in found} | {source}
        possible = {name.lower() for name in candidates} | caller.hosts.by_name.keys()
        named = {container for name in possible for container in self._spelt.get(name, ())}
        in_vain = self._containers.intersection(candidates) - reached - {answer.name for answer in found}
        fine = (named | reached) - in_vain
        for containers, in_order in self._by_state:
            count = len(containers) - len(containers & fine)
            if count:
                listed = tuple(islice((name for name in in_order if name not in fine), MAX_MISSING))
                first = self._not_found(caller, listed[0])
                yield MissingNames(listed, count, first.reason, first.explanation)

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

        return tuple(sorted((e for e in container.endpoints if self._serves_names(e)), key=rank))

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
        text = {
            Via.LINK: f"a --link of {container.name} wrote it into its /etc/hosts",
            Via.EXTRA_HOST: f"an extra host (--add-host) of {container.name}",
        }.get(via, f"a line of the /etc/hosts of {container.name}")
        return NameAnswer(
            name, addresses, via, evidence=hits[0].evidence, target=self.owner(addresses[0]), explanation=text
        )

    def _hosts_via(self, container: Container, wanted: str, entry: HostsEntry) -> Via:
        if wanted in (name.lower() for name, _ in container.extra_hosts):
            return Via.EXTRA_HOST
        linked = {self.owner(str(entry.ip))}
        if any(target in linked or alias.lower() == wanted for target, alias in container.links):
            return Via.LINK
        return Via.HOSTS

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
                    text = f"a --link of {container.name} on {endpoint.network}"
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
            where = ", ".join(self._upstream(container)) or "an external server"
            text = f"no container has this name; {where} is asked, which the capture does not hold"
            return NameAnswer(name, (), Via.EXTERNAL, None, resolv.evidence if resolv else None, explanation=text)
        text = f"no container is called {name}, and it is in no hosts file that {container.name} reads"
        return NameAnswer(name, (), None, Reason.NAME_UNKNOWN, explanation=text)

    def _scope_reason(self, caller: _Caller, owner: str) -> tuple[str, Evidence | None]:
        container = caller.stack
        resolv = self._files(container).resolv
        evidence = resolv.evidence if resolv else container.evidence
        if container.network_mode == "host":
            return f"{container.name} runs on the host's network, where Docker offers no names", evidence
        if not container.endpoints or container.network_mode == "none":
            return f"{container.name} has no network and so no DNS", evidence
        other = self.snapshot.container(owner)
        if other is not None and not other.running:
            return f"{owner} is not running, and Docker's DNS knows running containers only", other.evidence
        if not caller.embedded:
            return (
                f"{container.name} is on the default bridge only, where Docker offers no names but those of --link",
                evidence,
            )
        return f"{container.name} shares no network with it that Docker's DNS serves", evidence

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

    def _candidates(self, caller: _Caller) -> list[str]:
        """Every name that could resolve in this container to another container, sorted."""
        names = [n for h in caller.hosts.lines for n in h.names if not n.startswith(("ip6-", "localhost"))]
        for endpoint in caller.endpoints:
            names += (alias for _, alias in endpoint.links)
            names += self._on_network.of_others(endpoint, caller.stack.name)
        return sorted(dict.fromkeys(names))


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
