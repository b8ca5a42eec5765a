"""The scope of a container, which shares what its networks have in common, beside a look-up of every single name."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.model.address import Ip
from diag.model.docker import Container
from diag.model.netns import HostsEntry, ResolvConf
from diag.model.snapshot import NameFiles, Snapshot
from diag.names.resolver import EMBEDDED_DNS, MAX_MISSING, Resolver
from tests.hosts import Host
from tests.loading import CAPTURES, snapshot_of


def names_of(container: Container) -> set[str]:
    found = {container.name, container.short_id}
    for endpoint in container.endpoints:
        found |= {*endpoint.aliases, *endpoint.dns_names}
    return found


def check(snapshot: Snapshot) -> None:
    resolver, single = Resolver(snapshot), Resolver(snapshot)
    for container in snapshot.containers:
        source = container.name
        scope = resolver.scope(source)
        for answer in scope.names:
            assert answer == single.resolve(source, answer.name)
            assert answer.addresses
        listed = [answer.name for answer in scope.names]
        assert listed == sorted(set(listed))
        reached = {answer.target for answer in scope.names} | {source}
        stack = container
        while stack.joined_to:
            stack = next(c for c in snapshot.containers if stack.joined_to in (c.id, c.name))
        for other in snapshot.containers:
            if other.name != stack.name:
                found = {name for name in names_of(other) if resolver.resolve(source, name).addresses}
                assert found <= set(listed)
        missing = {c.name for c in snapshot.containers if not resolver.resolve(source, c.name).addresses} - reached
        assert sum(m.count for m in scope.missing) == len(missing)
        for some in scope.missing:
            assert len(some.names) == min(some.count, MAX_MISSING)
            assert missing.issuperset(some.names)
            first = resolver.resolve(source, some.names[0])
            assert (some.reason, some.explanation) == (first.reason, first.explanation)


@pytest.mark.parametrize("name", CAPTURES)
def test_captures(name: str) -> None:
    check(snapshot_of(name))


def test_networks_that_share_containers_and_names() -> None:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24", internal="true").network("c", "10.3.0.0/24")
    for number in range(30):
        host = host.container(f"App{number}", *("abc"[i] for i in range(3) if (number + 1) >> i & 1 or i == number % 3))
    host = host.container("gone", "a", "b", status="exited").container("alone", mode="none")
    snapshot = host.snapshot()
    containers = []
    for number, container in enumerate(snapshot.containers):
        endpoints = tuple(
            replace(
                endpoint,
                aliases=("web", f"Svc{number % 4}", f"svc.{endpoint.network}", "svc1.a"),
                links=(("App3", "linked"), ("App4", "web")) if number % 7 == 0 else (),
                gw_priority=number % 2 and position,
            )
            for position, endpoint in enumerate(container.endpoints)
        )
        containers.append(replace(container, endpoints=endpoints))
    lines = (HostsEntry(Ip.parse("10.1.0.11"), ("web", "Other")), HostsEntry(Ip.parse("9.9.9.9"), ("web", "10.0.0.1")))
    files = {
        "App5": NameFiles(hosts=lines, resolv=ResolvConf((EMBEDDED_DNS,))),
        "App6": NameFiles(resolv=ResolvConf((Ip.parse("192.0.2.53"),))),
    }
    check(replace(snapshot, containers=tuple(containers), name_files=files))
