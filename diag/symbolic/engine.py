"""All pairs at once: the requests of every source to every destination through the host's rules, and the replies back.

The result is exact for every pair that it covers; pairs that it does not cover are named, and the interpreter decides
them.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from diag.kernel.topology import Topology
from diag.model.address import Family
from diag.model.snapshot import Snapshot
from diag.symbolic.behaviours import Solution
from diag.symbolic.calls import Ground
from diag.symbolic.ends import ends
from diag.symbolic.host_calls import HostCalls
from diag.symbolic.kinds import FlowSets
from diag.symbolic.link_rules import link_rules
from diag.symbolic.pairs import Pairs
from diag.symbolic.proxied_calls import ProxiedCalls
from diag.symbolic.stack_calls import StackCalls
from diag.symbolic.stacks import plain_stacks
from diag.symbolic.tables import TABLES
from diag.symbolic.translated_calls import TranslatedCalls

Solutions = Mapping[Family, Solution]
"""What is covered of each family; none where nothing is."""


def solve(snapshot: Snapshot, topology: Topology, world: str = "", *, with_host: bool = True) -> Solutions:
    """Every family. `world` is the namespace beyond the host's uplink, if there is one.

    Without the host there are no flows to it, and from it only where containers share its namespace: they are as much work
    as all others.
    """
    if "host" not in snapshot.netns:
        return {}
    at_uplinks, elsewhere = link_rules(snapshot, topology, world)
    if elsewhere:
        return {}
    world = "" if at_uplinks else world
    found = ((family, _solve_family(snapshot, topology, family, world, with_host=with_host)) for family in Family)
    return {family: solution for family, solution in found if solution is not None}


def _solve_family(
    snapshot: Snapshot, topology: Topology, family: Family, world: str, *, with_host: bool
) -> Solution | None:
    """None where the engine covers no pair of the host, or its diagrams would grow too large."""
    host = snapshot.netns["host"]
    if family is Family.IPV6 and host.ruleset.missing.get(TABLES[family]):  # which questions for neighbours meet, too
        return None
    stacks = plain_stacks(snapshot, topology, family, world)
    if not stacks:
        return None
    try:
        host_ends = ends(snapshot, family, stacks)
        shared = "host" in snapshot.netns_of.values()
        called = host_ends if with_host else replace(host_ends, ports=())
        pairs = Pairs(stacks, called, family, world, split=shared and with_host)
        return Solution(_flow_sets(Ground(snapshot, topology, pairs), with_host=with_host, shared=shared))
    except MemoryError:
        return None


def _flow_sets(ground: Ground, *, with_host: bool, shared: bool) -> FlowSets:
    """`shared`: containers are on the host's network."""
    calls = StackCalls(ground)
    kinds = calls.solve()
    from_host = HostCalls(ground).solve() if with_host or shared else ()
    if not with_host:
        return FlowSets(ground.pairs, kinds, from_host, (), ground.space.empty, (), (), ground.rules.blockers)
    translated = TranslatedCalls(ground, calls.diverted).solve()
    return FlowSets(
        ground.pairs,
        kinds,
        from_host,
        tuple(calls.diverted.items()),
        calls.diverting,
        translated,
        ProxiedCalls(ground, calls, from_host).solve() if shared else (),
        ground.rules.blockers,
        ground.rules_are_lost,
    )
