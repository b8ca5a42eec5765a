"""The matrix says of every pair what the interpreter says of that pair alone."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.netns import Netns
from diag.model.snapshot import Snapshot
from diag.reach.matrix import Column, PairMatrix, bits
from diag.reach.pairs import PairAnalyser
from tests.hosts import Host
from tests.loading import snapshot_of

CAPTURES = ("seed_connected-d29", "published-d28", "internal_icc-d29", "user_rules-d29nft", "ipv6-d20", "macvlan-d29")


@pytest.mark.parametrize("name", CAPTURES)
def test_every_pair_is_in_one_cell_and_like_itself(name: str) -> None:
    assert_like_itself(snapshot_of(name))


def assert_like_itself(snapshot: Snapshot) -> list[Column]:
    alone = PairAnalyser(snapshot, Tracer(snapshot))
    columns = list(PairMatrix(snapshot, PairAnalyser(snapshot, Tracer(snapshot))).columns())
    for column in columns:
        seen = 0
        for cell in column.cells:
            assert not seen & cell.sources
            seen |= cell.sources
            for position in bits(cell.sources):
                facts = alone.pair(snapshot.containers[position], column.destination)
                assert cell.reachability is facts.reachability
                assert [(p.target, p.allowed, p.reason) for p in cell.paths] == [
                    (p.target, p.allowed, p.reason) for p in facts.paths
                ]
        assert seen == (1 << len(snapshot.containers)) - 1 & ~(1 << column.position)
    return columns


def test_callers_without_a_network_of_their_own_are_solved_with_the_others() -> None:
    host = (
        Host()
        .network("a", "10.201.1.0/24")
        .network("b", "10.201.2.0/24", internal="true")
        .network("c", "fd00:201::/64")
    )
    host = host.container("one", "a").container("two", "b").container("three", "c").container("lost", mode="none")
    host = host.container("near", mode="host").container("nearer", mode="host").container("cut", "a")
    space = host.spaces[host.netns_of("cut")]
    routes = {f: tuple(r for r in found or () if r.destination.length) for f, found in space.routes.items()}
    host = host.change("cut", replace(space, routes=MappingProxyType(routes))).rules(
        "-A OUTPUT -d 10.201.2.11/32 -j DROP"
    )
    snapshot = host.snapshot()
    position = {container.name: number for number, container in enumerate(snapshot.containers)}
    for column in assert_like_itself(snapshot):
        callers = {"near", "nearer", "lost", "one"} - {column.destination.name}
        if column.destination.name in ("one", "two", "three"):
            solved = sum(cell.sources for cell in column.cells if cell.behaviours)
            assert all(solved >> position[name] & 1 for name in callers), column.destination.name


PUBLISHED = """:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER ! -i br-a -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.201.1.10:80"""


def two_networks() -> Host:
    host = Host().network("a", "10.201.1.0/24").network("b", "10.201.2.0/24").container("one", "a")
    return host.container("two", "a").container("three", "b").container("four", "b").uplink()


def test_containers_on_the_hosts_network_are_called_all_at_once() -> None:
    host = two_networks().rules(PUBLISHED, "nat").container("agent", mode="host").container("probe", mode="host")
    for column in assert_like_itself(host.snapshot()):
        if column.destination.name in ("agent", "probe"):
            solved = [cell.sources.bit_count() for cell in column.cells if cell.behaviours]
            assert sorted(solved) == [2, 2], (
                "one cell for each network, whose callers have the same address of the host"
            )


@pytest.mark.parametrize(
    "rules",
    [
        "-A FORWARD -d 10.201.1.11/32 -p udp -m udp --dport 53 -j NFQUEUE --queue-num 0\n-A FORWARD -s 10.201.1.10/32 -j DROP",
        "-A FORWARD -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x1/0xffffffff\n-A FORWARD -m mark --mark 0x1 -j DROP",
    ],
)
def test_flows_that_the_engine_cannot_tell_are_traced_alone(rules: str) -> None:
    snapshot = two_networks().rules(rules).container("agent", mode="host").snapshot()
    assert_like_itself(snapshot)
    matrix = PairMatrix(snapshot, PairAnalyser(snapshot, Tracer(snapshot)))
    found = {behaviour for column in matrix.columns() for cell in column.cells for behaviour in cell.behaviours}
    assert any(behaviour.partial for behaviour in found)
    assert any(behaviour.covered for behaviour in found)


def test_callers_that_were_not_captured_are_one_cell() -> None:
    host = two_networks()
    unseen = {host.netns_of(name) for name in ("one", "three")}
    spaces = {name: Netns(name) if name in unseen else space for name, space in host.spaces.items()}
    snapshot = replace(host, spaces=spaces).container("agent", mode="host").snapshot()
    for column in assert_like_itself(snapshot):
        if column.destination.name == "two":
            assert {cell.sources.bit_count() for cell in column.cells if not cell.behaviours} == {2}
