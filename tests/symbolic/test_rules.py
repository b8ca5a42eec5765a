"""How chains are summed up: what is known from before, and rules that are taken at once, change nothing of what they do."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from diag.kernel.topology import Topology
from diag.model.address import Family
from diag.model.netfilter import ChainType, Hook
from diag.symbolic import rules as symbolic_rules
from diag.symbolic.calls import Ground
from diag.symbolic.ends import ends
from diag.symbolic.pairs import Pairs
from diag.symbolic.rules import Outcome, RuleWalker
from diag.symbolic.space import Set
from diag.symbolic.stacks import plain_stacks
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
    pairs = Pairs(stacks, ends(snapshot, Family.IPV4, stacks), Family.IPV4)
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


MATCHES = [
    "",
    "-d 10.201.1.10/32",
    "-d 10.201.2.10/32 ! -i br-b",
    "-i br-a",
    "! -i br-a -o br-b",
    "-s 10.201.1.0/24",
    "-s 10.99.0.1/32",
    "-m mark --mark 0x1",
]
PORTS = ["-p tcp -m tcp --dport 80", "-p tcp -m tcp --dport 8080", "-p udp -m udp --dport 80", "-p tcp"]
MATCH = st.tuples(st.sampled_from(MATCHES), st.sampled_from(PORTS)).map(" ".join)
FILTER_TARGET = st.sampled_from(
    ["-j ACCEPT", "-j ACCEPT", "-j DROP", "-j DROP", "-j REJECT", "-j RETURN", "-j LOG", "-j ONE"]
)
NAT_TARGET = st.sampled_from(
    ["-j DNAT --to-destination 10.201.1.10:80", "-j DNAT --to-destination 10.201.2.10", "-j RETURN", "-j ACCEPT"]
)


def listing(table: str, chain: str, rules: list[tuple[str, str]]) -> str:
    lines = "".join(f"-A {chain} {match} {target}\n" for match, target in rules)
    inner = "-A ONE -p tcp -j DROP\n" if table == "filter" else ""
    return f"*{table}\n:{chain} ACCEPT [0:0]\n:ONE - [0:0]\n{lines}{inner}COMMIT\n"


def ways_to_sum_up(text: str) -> Iterator[Ground]:
    """The same rules summed up as a long chain and as a short one."""
    snapshot = five(text, {}).snapshot()
    topology = Topology(snapshot)
    stacks = plain_stacks(snapshot, topology, Family.IPV4)
    pairs = Pairs(stacks, ends(snapshot, Family.IPV4, stacks), Family.IPV4)
    for longest in (0, 1000):
        with mock.patch.object(symbolic_rules, "_SHORT", longest):
            yield Ground(snapshot, topology, pairs)


@pytest.mark.apart
@settings(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(MATCH, FILTER_TARGET), min_size=1, max_size=16))
def test_a_long_chain_does_what_its_rules_do_one_by_one(found: list[tuple[str, str]]) -> None:
    at_once, in_a_row = (through(g, g.space.flows) for g in ways_to_sum_up(listing("filter", "FORWARD", found)))
    assert at_once == in_a_row


@pytest.mark.apart
@settings(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(MATCH, NAT_TARGET), min_size=1, max_size=16))
def test_a_long_nat_chain_does_what_its_rules_do_one_by_one(found: list[tuple[str, str]]) -> None:
    at_once, in_a_row = (redirected(g) for g in ways_to_sum_up(listing("nat", "PREROUTING", found)))
    assert at_once == in_a_row


def redirected(ground: Ground) -> tuple[Set, Set, Set, dict[tuple[int, int | None, int], Set]]:
    """The NAT chains of prerouting: what passes, what is unclear, and what goes where by which rule."""
    view = ground.view(
        Packet.REQUEST, Hook.PREROUTING, frozenset(), early=False, to_host=False, from_host=False, routed=False
    )
    outcome, flows = Outcome.none(ground.space.empty), ground.space.flows
    for _, table, chain in ground.rules.base_chains(Hook.PREROUTING, ChainType.NAT):
        flows = ground.rules.run(view, table, chain, flows, outcome)
    within = ground.space.all if outcome.diverting is None else outcome.diverting
    cut = {(t.ip, t.port, t.evidence.line): found.flows & within for t, found in outcome.diverted.items()}
    return flows, outcome.unclear, outcome.elsewhere, {t: some for t, some in cut.items() if some != ground.space.empty}
