"""Pairs with the host and the world: the engine's answers, shared, are those of single traces."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.analysis import Allowed, PortSet
from diag.model.netfilter import TableFamily
from diag.model.netns import Netns
from diag.model.reasons import Reachability
from diag.model.snapshot import Snapshot
from diag.reach.beyond import WORLD, with_world
from diag.reach.pairs import PairAnalyser, PairFacts
from diag.reach.reserved import ReservedPairs
from tests.loading import snapshot_of
from tests.symbolic.test_agreement import PUBLISHED, five
from tests.symbolic.test_answered import BINDINGS


@pytest.mark.parametrize("name", ["seed-d29", "published-d29", "user_rules-d20", "gateway_modes-d29nft"])
def test_shared_answers_are_those_of_single_traces(name: str) -> None:
    snapshot = snapshot_of(name)
    world = with_world(snapshot)
    alone = ReservedPairs(snapshot, PairAnalyser(world, Tracer(world)))
    shared = ReservedPairs.of(snapshot)
    for facts in shared.all_pairs():
        wanted = alone.pair(facts.source, facts.destination)
        assert facts.reachability is wanted.reachability, (facts.source, facts.destination)
        assert [(p.target, p.allowed, p.reason) for p in facts.paths] == [
            (p.target, p.allowed, p.reason) for p in wanted.paths
        ], (facts.source, facts.destination)


def without_rules(snapshot: Snapshot) -> Snapshot:
    host = snapshot.netns["host"]
    missing = dict.fromkeys(TableFamily, "iptables-save")
    lost = replace(host, ruleset=replace(host.ruleset, tables=(), missing=missing))
    return replace(snapshot, netns={**snapshot.netns, "host": lost})


def without_namespaces(snapshot: Snapshot, *names: str) -> Snapshot:
    lost = {snapshot.netns_of[name] for name in names}
    return replace(snapshot, netns={**snapshot.netns, **{netns: Netns(netns) for netns in lost}})


def by_address(facts: PairFacts) -> dict[object, Allowed]:
    return {path.target: path.allowed for path in facts.paths}


def ports(found: PortSet) -> set[int]:
    return {port for low, high in found.ranges for port in range(low, high + 1)}


def published() -> Snapshot:
    """Containers with published ports, on a host with an uplink."""
    host = five("", {}).rules(PUBLISHED, "nat")
    containers = tuple(replace(c, ports=BINDINGS.get(c.name, ())) for c in host.containers)
    return replace(host, containers=containers).snapshot()


def without_sysctls(snapshot: Snapshot) -> Snapshot:
    host = snapshot.netns["host"]
    return replace(snapshot, netns={**snapshot.netns, "host": replace(host, sysctl={})})


@pytest.mark.parametrize("lost", [("zero",), ("two", "three"), ("zero", "one", "two", "both"), ()])
def test_single_traces_tell_for_whom_published_ports_are_of_which_the_rest_is_unknown(lost: tuple[str, ...]) -> None:
    snapshot = without_namespaces(published(), *lost) if lost else without_sysctls(published())
    world = with_world(snapshot)
    alone = ReservedPairs(snapshot, PairAnalyser(world, Tracer(world)))
    unknown = 0
    for facts in ReservedPairs.of(snapshot).all_pairs():
        told, wanted = by_address(facts), by_address(alone.own(facts))
        for target in told.keys() | wanted.keys():
            assert told.get(target, Allowed()) == wanted.get(target, Allowed()), (
                facts.source,
                facts.destination,
                target,
            )
        unknown += sum(not allowed.certain for allowed in told.values())
    assert unknown


@pytest.mark.parametrize("lost", [("zero",), ("two", "three"), ("zero", "one", "two", "both")])
@pytest.mark.parametrize("rules", [True, False])
def test_what_was_not_captured_is_unknown_of_those_whom_it_concerns(lost: tuple[str, ...], rules: bool) -> None:
    """The same as single traces say, of which those of published ports do not tell whom they are for without the rules."""
    snapshot = without_namespaces(published(), *lost)
    snapshot = snapshot if rules else without_rules(snapshot)
    world = with_world(snapshot)
    alone = ReservedPairs(snapshot, PairAnalyser(world, Tracer(world)))
    told: dict[object, set[int]] = {}
    traced: dict[object, set[int]] = {}
    for facts in ReservedPairs.of(snapshot).all_pairs():
        wanted = by_address(alone.own(facts))
        for found, every in ((told, by_address(facts)), (traced, wanted)):
            for target, allowed in every.items() if facts.source == WORLD else ():
                found.setdefault(target, set()).update(ports(allowed.unknown_tcp))
        for target, allowed in by_address(facts).items():
            where = facts.source, facts.destination, target
            if target not in wanted:
                assert facts.reachability is Reachability.UNREACHABLE, where
                continue
            assert (allowed.tcp, allowed.udp) == (wanted[target].tcp, wanted[target].udp), where
            assert ports(allowed.unknown_tcp) <= ports(wanted[target].unknown_tcp), where
            assert ports(allowed.unknown_udp) <= ports(wanted[target].unknown_udp), where
    assert any(traced.values())
    assert {target: found for target, found in told.items() if found} == {
        target: found for target, found in traced.items() if found
    }, "each port is unknown of somebody"
