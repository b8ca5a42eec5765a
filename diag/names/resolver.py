"""Name look-ups as a container's libc and Docker's embedded DNS do them.

`/etc/hosts` comes first (nsswitch.conf's `files dns`, and musl and busybox alike), then the nameservers of
`/etc/resolv.conf`. Docker's own server, 127.0.0.11, knows the names of the networks that the container is on: moby
libnetwork `Sandbox.ResolveName`, `Network.ResolveName`, `Endpoint` ordering, and daemon `buildEndpointDNSNames`.
The default bridge has no names there, only those that `--link` wrote into `/etc/hosts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from diag.model.address import Ip
from diag.model.analysis import MissingNames, NameAnswer, NameScope
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.netns import HostsEntry
from diag.model.provenance import Evidence
from diag.model.reasons import Reason, Via
from diag.model.snapshot import NameFiles, Snapshot

EMBEDDED_DNS = Ip.parse("127.0.0.11")
MAX_MISSING = 24
"""Names listed for one reason; the rest is counted."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """Where a container's names come from."""

    stack: Container
    ips: frozenset[Ip]
    """In its hosts file."""
    networks: frozenset[str]
    """Whose names Docker's DNS gives it."""


class Resolver:
    """Answers look-ups about one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._networks = {n.id: n for n in snapshot.networks}
        self._named_on: dict[str, set[str]] = {}
        self._with_ip: dict[Ip, set[str]] = {}
        self._by_network: dict[str, list[tuple[Container, Endpoint]]] = {}
        self._by_label: dict[tuple[str, str], list[tuple[Container, Endpoint]]] = {}
        """By network and lower-case name."""
        self._callers: dict[str, _Caller | None] = {}
        self._containers = {c.name for c in snapshot.containers}
        self._stopped = {c.name for c in snapshot.containers if not c.running}
        self._owner: dict[Ip, str] = {}
        self._known: dict[str, list[str]] = {}
        for container in snapshot.containers:
            for endpoint in container.endpoints:
                key = endpoint.network_id or endpoint.network
                self._named_on.setdefault(key, set()).add(container.name)
                if container.running:
                    self._by_network.setdefault(key, []).append((container, endpoint))
                    for label in dict.fromkeys(name.lower() for name in _names_on(container, endpoint)):
                        self._by_label.setdefault((key, label), []).append((container, endpoint))
                for ip in (endpoint.ip, endpoint.ip6):
                    if ip is not None:
                        self._owner.setdefault(ip, container.name)
                        self._with_ip.setdefault(ip, set()).add(container.name)
            for name in _every_name(container):
                self._known.setdefault(name.lower(), []).append(container.name)

    def owner(self, address: str) -> str:
        """The container whose address Docker says it is; empty for none."""
        try:
            return self._owner.get(Ip.parse(address), "")
        except ValueError:
            return ""

    def resolve(self, source: str, name: str) -> NameAnswer:
        """What a look-up of `name` gives inside the container `source`."""
        container = self._stack_owner(source)
        if container is None:
            return NameAnswer(name, (), None, Reason.NAME_UNKNOWN, explanation=f"there is no container {source}")
        try:
            literal = str(Ip.parse(name))
            return NameAnswer(name, (literal,), Via.HOSTS, target=self.owner(literal))
        except ValueError:
            pass
        return (
            self._from_hosts(container, name)
            or self._from_embedded_dns(container, name)
            or self._not_found(container, name)
        )

    def scope(self, source: str) -> NameScope:
        """Everything that the container can call others, and the names of others that it cannot use."""
        container = self.snapshot.container(source)
        stack = self._stack_owner(source)
        if container is None or stack is None:
            return NameScope(source, "hosts-only", ())
        candidates = self._candidates(stack)
        answers = (self.resolve(source, name) for name in sorted(candidates))
        found = tuple(answer for answer in answers if answer.addresses)
        missing = self._missing(source, stack, candidates, {answer.target for answer in found})
        return NameScope(source, self._resolver_label(stack), found, tuple(missing))

    def _missing(
        self, source: str, stack: Container, candidates: set[str], reached: set[str]
    ) -> Iterator[MissingNames]:
        """Other containers by the reason why their names are not found. A name that is no candidate resolves to nothing."""
        possible = {name.lower() for name in (*candidates, *(n for h in self._hosts(stack) for n in h.names))}
        others = {name for name in self._containers if name.lower() not in possible} - reached - {source}
        others |= {
            name
            for name in self._containers & candidates - reached - {source}
            if not self.resolve(source, name).addresses
        }
        stopped = others & self._stopped
        for names in (others - stopped, stopped):
            listed = sorted(names)
            if listed:
                first = self._not_found(stack, listed[0])
                yield MissingNames(tuple(listed[:MAX_MISSING]), len(listed), first.reason, first.explanation)

    def names_for(self, source: str, destination: str) -> tuple[NameAnswer, ...]:
        """What `source` may call `destination`."""
        caller, other = self._caller(source), self.snapshot.container(destination)
        if caller is None or other is None:
            return ()
        stack = caller.stack
        ips = {ip for e in other.endpoints for ip in (e.ip, e.ip6) if ip is not None}
        keys = {e.network_id or e.network for e in other.endpoints}
        if caller.ips.isdisjoint(ips) and caller.networks.isdisjoint(keys):
            return ()
        written = [name for line in self._hosts(stack) if line.ip in ips for name in line.names]
        aliases = [alias for e in stack.endpoints for _, alias in e.links]
        wanted = {*_every_name(other), *written, *aliases}
        addresses = {str(ip) for ip in ips}
        answers = (self.resolve(source, name) for name in sorted(wanted))
        return tuple(a for a in answers if addresses.intersection(a.addresses))

    def nameable(self, source: str) -> frozenset[str]:
        """The containers that `source` may have a name for; for all others :meth:`names_for` gives none."""
        caller = self._caller(source)
        if caller is None:
            return frozenset()
        near = (self._named_on.get(key, ()) for key in caller.networks)
        written = (self._with_ip.get(ip, ()) for ip in caller.ips)
        return frozenset(name for names in (*near, *written) for name in names)

    # Pieces

    def _caller(self, source: str) -> _Caller | None:
        if source not in self._callers:
            stack = self._stack_owner(source)
            self._callers[source] = self._as_caller(stack) if stack is not None else None
        return self._callers[source]

    def _as_caller(self, stack: Container) -> _Caller:
        served = (e for e in stack.endpoints if self._serves_names(e)) if self.uses_embedded_dns(stack) else ()
        ips = frozenset(line.ip for line in self._hosts(stack))
        return _Caller(stack, ips, frozenset(e.network_id or e.network for e in served))

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

    def _hosts(self, container: Container) -> tuple[HostsEntry, ...]:
        """The hosts file; where it was not captured, the lines that Docker would have written."""
        captured = self._files(container).hosts
        if captured is not None:
            return captured
        lines = []
        for name, address in container.extra_hosts:
            if _is_address(address):
                lines.append(HostsEntry(Ip.parse(address), (name,), container.evidence))
        first = next((e.ip for e in container.endpoints if e.ip is not None), None)
        if first is not None:
            lines.append(HostsEntry(first, tuple(n for n in (container.hostname, container.short_id) if n)))
        for target, alias in container.links:
            other = self.snapshot.container(target)
            ip = next((e.ip for e in other.endpoints if e.network == "bridge"), None) if other else None
            if ip is not None and other is not None:
                lines.append(HostsEntry(ip, (alias, other.short_id, other.name), container.evidence))
        return tuple(lines)

    def _from_hosts(self, container: Container, name: str) -> NameAnswer | None:
        wanted = name.lower().rstrip(".")
        hits = [h for h in self._hosts(container) if wanted in (n.lower() for n in h.names)]
        if not hits:
            return None
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

    def uses_embedded_dns(self, container: Container) -> bool:
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

    def _ordered_endpoints(self, container: Container) -> list[Endpoint]:
        """In the order in which the embedded DNS asks its networks (moby libnetwork, `Endpoint.Less`)."""

        def rank(endpoint: Endpoint) -> tuple[bool, int, str]:
            network = self._network(endpoint)
            return bool(network and network.internal), -endpoint.gw_priority, endpoint.network

        return sorted((e for e in container.endpoints if self._serves_names(e)), key=rank)

    def _from_embedded_dns(self, container: Container, name: str) -> NameAnswer | None:
        if not self.uses_embedded_dns(container) or not container.running:
            return None
        wanted = name.lower().rstrip(".")
        for endpoint in self._ordered_endpoints(container):
            for label, network_name in _label_and_network(wanted):
                if network_name and network_name != endpoint.network.lower():
                    continue
                answer = self._linked(container, endpoint, name, label) or self._on_network(endpoint, name, label)
                if answer is not None:
                    return answer
        return None

    def _linked(self, container: Container, endpoint: Endpoint, name: str, label: str) -> NameAnswer | None:
        for target, alias in endpoint.links:
            if alias.lower() != label:
                continue
            other = self.snapshot.container(target)
            for candidate, there in self._members(endpoint):
                if other is not None and candidate.id == other.id:
                    text = f"a --link of {container.name} on {endpoint.network}"
                    return _answer(name, [there], Via.LINK, candidate, text)
        return None

    def _on_network(self, endpoint: Endpoint, name: str, label: str) -> NameAnswer | None:
        hits = self._by_label.get((endpoint.network_id or endpoint.network, label))
        if not hits:
            return None
        text = f"Docker's DNS (127.0.0.11): both are on {endpoint.network}"
        return _answer(name, [there for _, there in hits], Via.EMBEDDED_DNS, hits[0][0], text)

    def _members(self, endpoint: Endpoint) -> list[tuple[Container, Endpoint]]:
        return self._by_network.get(endpoint.network_id or endpoint.network, [])

    def _not_found(self, container: Container, name: str) -> NameAnswer:
        resolv = self._files(container).resolv
        owners = self._known.get(name.lower().rstrip("."), [])
        if owners:
            text, evidence = self._scope_reason(container, owners[0])
            return NameAnswer(name, (), None, Reason.NAME_SCOPE, evidence, explanation=text)
        if "." in name.strip(".") and self._forwards(container):
            where = ", ".join(self._upstream(container)) or "an external server"
            text = f"no container has this name; {where} is asked, which the capture does not hold"
            return NameAnswer(name, (), Via.EXTERNAL, None, resolv.evidence if resolv else None, explanation=text)
        text = f"no container is called {name}, and it is in no hosts file that {container.name} reads"
        return NameAnswer(name, (), None, Reason.NAME_UNKNOWN, explanation=text)

    def _scope_reason(self, container: Container, owner: str) -> tuple[str, Evidence | None]:
        resolv = self._files(container).resolv
        evidence = resolv.evidence if resolv else container.evidence
        if container.network_mode == "host":
            return f"{container.name} runs on the host's network, where Docker offers no names", evidence
        if not container.endpoints or container.network_mode == "none":
            return f"{container.name} has no network and so no DNS", evidence
        other = self.snapshot.container(owner)
        if other is not None and not other.running:
            return f"{owner} is not running, and Docker's DNS knows running containers only", other.evidence
        if not self.uses_embedded_dns(container):
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

    def _resolver_label(self, container: Container) -> str:
        if self.uses_embedded_dns(container):
            return "embedded-dns"
        return ", ".join(self._upstream(container)) or "hosts-only"

    def _candidates(self, container: Container) -> set[str]:
        """Every name that could resolve in this container to another container."""
        names = {n for h in self._hosts(container) for n in h.names if not n.startswith(("ip6-", "localhost"))}
        if self.uses_embedded_dns(container):
            for endpoint in self._ordered_endpoints(container):
                names.update(alias for _, alias in endpoint.links)
                for other, there in self._members(endpoint):
                    if other.name != container.name:
                        names.update(_names_on(other, there))
        return names


def _answer(name: str, endpoints: list[Endpoint], via: Via, owner: Container, text: str) -> NameAnswer:
    addresses = [str(ip) for e in endpoints for ip in (e.ip, e.ip6) if ip is not None]
    answer = NameAnswer(name, tuple(dict.fromkeys(addresses)), via, target=owner.name, explanation=text)
    return replace(answer, evidence=owner.evidence)


def _names_on(container: Container, endpoint: Endpoint) -> Iterator[str]:
    """Every name that the embedded DNS gives an endpoint."""
    yield from dict.fromkeys((container.name, *endpoint.aliases, *endpoint.dns_names, container.short_id))


def _every_name(container: Container) -> list[str]:
    names = [container.name, container.short_id, *(n for e in container.endpoints for n in (*e.aliases, *e.dns_names))]
    return list(dict.fromkeys(n for n in names if n))


def _label_and_network(wanted: str) -> Iterator[tuple[str, str]]:
    """`db` and `db.net1` both name db; the second on net1 only."""
    yield wanted, ""
    label, dot, network = wanted.rpartition(".")
    if dot:
        yield label, network
    first, dot, rest = wanted.partition(".")
    if dot and rest != network:
        yield first, rest


def _is_address(text: str) -> bool:
    try:
        Ip.parse(text)
    except ValueError:
        return False
    return True
