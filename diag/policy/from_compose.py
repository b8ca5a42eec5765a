"""A first policy from a Compose file: what its networks, dependencies and ports are there for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diag.policy.compose import ComposeFile, Service
from diag.policy.model import Deny, Policy, Reach, Resolve, Selector
from diag.policy.select import exactly
from diag.policy.traffic import ALL_TRAFFIC, Traffic
from diag.reach.beyond import WORLD

_WORLD = (Selector(WORLD),)


def policy_of_compose(compose: ComposeFile, file: str) -> tuple[Policy, tuple[str, ...]]:
    """The policy, and what is not in it, a line each."""
    maker = _Maker(compose)
    policy = Policy(file, tuple(maker.reach()), tuple(maker.deny()), (), tuple(maker.resolve()))
    return policy, (*compose.left_out, *maker.left_out())


class _Maker:
    def __init__(self, compose: ComposeFile) -> None:
        self.compose = compose
        self.services = [s for s in compose.services if "/" not in s.name]
        self.by_name = {s.name: s for s in self.services}
        self.callers = {s.name: [o.name for o in self.services if s.name in o.depends] for s in self.services}
        """Services to those that depend on them."""
        self._number = {"reach": 0, "deny": 0, "resolve": 0}

    def left_out(self) -> Iterator[str]:
        """What has no place in a policy."""
        for service in self.services:
            for caller in self.callers[service.name]:
                if not self._near(self.by_name[caller], service):
                    yield f"{caller} → {service.name}: it depends on it, and they share no network of this file"
            if self._only_internal(service) and service.bindings:
                yield f"the ports of {service.name}: it is on internal networks only, which publish none"
            for ip in dict.fromkeys(b.host_ip for b in service.bindings if not (b.is_everywhere or b.is_local)):
                yield f"who sees the ports of {service.name} at {ip}"
            if service.mode and not service.stack:
                yield f"what {service.name} reaches with network_mode {service.mode}"

    def _place(self, kind: str) -> str:
        self._number[kind] += 1
        return f"{kind}[{self._number[kind]}]"

    def _selected(self, services: Iterable[str]) -> tuple[Selector, ...]:
        project = exactly(self.compose.project)
        return tuple(Selector(project=project, service=exactly(name)) for name in sorted(services))

    def _near(self, service: Service, other: Service) -> bool:
        return not set(service.networks).isdisjoint(other.networks)

    def _is_apart(self, service: Service) -> bool:
        """Whether it is certain which networks keep it apart from others."""
        return bool(service.networks) and all(self.compose.networks[name].plain for name in service.networks)

    def _only_internal(self, service: Service) -> bool:
        return bool(service.networks) and all(self.compose.networks[name].internal for name in service.networks)

    def _published(self, service: Service) -> Traffic:
        """At the host, for the world."""
        found = Traffic()
        for binding in service.bindings if service.networks and not self._only_internal(service) else ():
            if binding.is_everywhere and binding.outside is not None:
                found |= binding.outside
        return found

    # Who must

    def reach(self) -> Iterator[Reach]:
        """Services of one network; then each of those that others depend on, at its ports; then what is published."""
        done: set[frozenset[str]] = set()
        for name, network in sorted(self.compose.networks.items()):
            members = frozenset(s.name for s in self.services if name in s.networks)
            if len(members) > 1 and network.talks and members not in done:
                done.add(members)
                ends = self._selected(members)
                yield Reach(id=self._place("reach"), sources=ends, destinations=ends)
        for service in self.services:
            callers = self._dependants(service)
            if service.inside and callers:
                yield Reach(
                    id=self._place("reach"),
                    sources=self._selected(callers),
                    destinations=self._selected([service.name]),
                    traffic=service.inside,
                )
        for service in self.services:
            published = self._published(service)
            if published:
                yield Reach(
                    id=self._place("reach"),
                    sources=_WORLD,
                    destinations=self._selected([service.name]),
                    traffic=published,
                )

    def _dependants(self, service: Service) -> list[str]:
        """Those that share a network with it."""
        return [name for name in self.callers[service.name] if self._near(self.by_name[name], service)]

    # Who must not

    def deny(self) -> Iterator[Deny]:
        """The world but for what is published; services that share no network; the world for internal ones."""
        closed = []
        for service in self.services:
            if not self._is_apart(service) or not self._knows_ports(service):
                continue
            published = self._published(service)
            if not published:
                closed.append(service.name)
                continue
            yield Deny(
                id=self._place("deny"),
                sources=_WORLD,
                destinations=self._selected([service.name]),
                traffic=ALL_TRAFFIC - published,
            )
        if closed:
            yield Deny(id=self._place("deny"), sources=_WORLD, destinations=self._selected(closed))
        yield from self._apart()
        inside = [s.name for s in self.services if self._only_internal(s) and self._is_apart(s)]
        if inside:
            yield Deny(id=self._place("deny"), sources=self._selected(inside), destinations=_WORLD)

    def _knows_ports(self, service: Service) -> bool:
        """Whether all is known that leads into its network stack from outside, and is its own alone."""
        shared = service.stack or any(other.stack == service.name for other in self.services)
        bindings = service.bindings
        told = all(b.is_local or (b.is_everywhere and b.outside is not None) for b in bindings)
        return service.ports_known and told and not shared

    def _apart(self) -> Iterator[Deny]:
        """Once for all services that are on the same networks."""
        alike: dict[tuple[str, ...], list[str]] = {}
        for service in self.services:
            if self._is_apart(service):
                alike.setdefault(tuple(sorted(service.networks)), []).append(service.name)
        for networks, destinations in sorted(alike.items()):
            sources = [name for others, names in alike.items() if not set(others) & set(networks) for name in names]
            if sources:
                yield Deny(
                    id=self._place("deny"),
                    sources=self._selected(sources),
                    destinations=self._selected(destinations),
                )

    # Names

    def resolve(self) -> Iterator[Resolve]:
        """Services by those that depend on them, links, and aliases by everyone on the network."""
        wanted: dict[tuple[str, str], set[str]] = {}
        for service in self.services:
            callers = self._dependants(service) if not service.stack else []
            for caller in callers:
                names = [alias for linked, alias in self.by_name[caller].links if linked == service.name]
                for name in (service.name, *names):
                    wanted.setdefault((name, service.name), set()).add(caller)
        for service in self.services:
            for network, aliases in service.networks.items():
                others = {s.name for s in self.services if network in s.networks and s.name != service.name}
                for alias in aliases if others else ():
                    if not self._is_shared(alias, network):
                        wanted.setdefault((alias, service.name), set()).update(others)
        for (name, target), sources in sorted(wanted.items()):
            yield Resolve(
                id=self._place("resolve"), sources=self._selected(sources), name=name, targets=self._selected([target])
            )

    def _is_shared(self, alias: str, network: str) -> bool:
        """Whether several services have it there."""
        return sum(alias in s.networks.get(network, ()) for s in self.services) > 1
