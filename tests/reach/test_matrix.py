"""The matrix says of every pair what the interpreter says of that pair alone."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
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
