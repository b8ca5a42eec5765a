"""What is known of chains from before does not change what they do to other flows."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings

from diag.kernel.topology import Topology
from diag.model.address import Family
from diag.model.netfilter import ChainType, Hook
from diag.symbolic.calls import Ground
from diag.symbolic.pairs import Pairs
from diag.symbolic.rules import Outcome, RuleWalker
from diag.symbolic.space import Set
from diag.symbolic.stacks import ends, plain_stacks
from diag.symbolic.view import Packet, View
from tests.kernel import rules
from tests.symbolic.test_agreement import five

FILLER = "-A FORWARD -s 10.99.0.1/32 -j RETURN\n" * 8
TWICE = f"""*filter
:FORWARD ACCEPT [0:0]
:ONE - [0:0]
:TWO - [0:0]
:DEEP - [0:0]
:LEAF - [0:0]
{FILLER}-A FORWARD -i br-a -j ONE
-A FORWARD -i br-b -j TWO
-A ONE -p tcp -j DEEP
-A TWO -p tcp -j DEEP
-A DEEP -d 10.201.1.10/32 -j LEAF
-A LEAF -j DROP
COMMIT
"""


@example(TWICE)
@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rules.iptables())
def test_chains_that_some_flows_do_not_enter(text: str) -> None:
    snapshot = five(text, {}).snapshot()
    topology = Topology(snapshot)
    stacks = plain_stacks(snapshot, topology, Family.IPV4)
    pairs = Pairs(stacks, ends(snapshot, topology, Family.IPV4, stacks), Family.IPV4)
    used, fresh = Ground(snapshot, topology, pairs), Ground(snapshot, topology, pairs)
    everyone = pairs.space.flows
    for some in (pairs.to_bridge["br-b"], pairs.from_bridge["br-a"] & pairs.to_bridge["br-a"], pairs.space.empty):
        through(used, some)
    assert through(used, everyone) == through(fresh, everyone)


def through(ground: Ground, flows: Set) -> tuple[Set, Set, Set, dict[str, Set]]:
    """The forward hook: what passes, what is unclear or doubtful, and what stops the rest."""
    view = ground.view(
        Packet.REQUEST, Hook.FORWARD, frozenset(), early=False, to_host=False, from_host=False, routed=False
    )
    outcome = Outcome.none(ground.space.empty)
    flows = forward(ground.rules, view, flows, outcome)
    stopped = {blocker.key: found for blocker, found in outcome.stopped.items() if found != ground.space.empty}
    return flows, outcome.unclear, outcome.may_stop, stopped


def forward(walker: RuleWalker, view: View, flows: Set, outcome: Outcome) -> Set:
    for _, table, chain in walker.base_chains(Hook.FORWARD, ChainType.FILTER):
        flows = walker.run(view, table, chain, flows, outcome)
    return flows
