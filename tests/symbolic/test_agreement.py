"""The two engines: a flow is in the symbolic engine's set if and only if the interpreter delivers it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.interpreter.trace import Tracer
from diag.model.flow import Flow, Protocol
from diag.model.reasons import Disposition
from diag.model.snapshot import Snapshot
from diag.reach.beyond import WORLD, with_world
from diag.reach.windows import restricted, sweep
from diag.symbolic.behaviours import Decisions
from diag.symbolic.engine import solve
from diag.symbolic.kinds import Solution
from tests.hosts import Host
from tests.kernel import rules
from tests.loading import CAPTURES, snapshot_of

PORTS = (53, 80, 81, 5432, 9999)


def solved(snapshot: Snapshot) -> tuple[Tracer, Solution | None]:
    """With the world at the uplinks."""
    tracer = Tracer(with_world(snapshot))
    return tracer, solve(tracer.world.snapshot, tracer.world.topology, WORLD)


@pytest.mark.parametrize("name", CAPTURES)
def test_exact_sets_of_real_hosts(name: str) -> None:
    snapshot = snapshot_of(name)
    tracer, solution = solved(snapshot)
    if solution is None:
        pytest.fail("nothing of this host is covered")
    decisions = Decisions(solution)
    for port in solution.pairs.ports:
        for stack in solution.pairs.stacks:
            behaviour = decisions.behaviour(stack.netns, port.address)
            if behaviour is not None:
                whole = sweep(tracer, stack.netns, port.address)
                if port.netns == "host":
                    whole = restricted(whole, lambda trace: trace.delivered_to == "host")
                assert whole.allowed == behaviour.allowed, (stack.netns, port)


@pytest.mark.parametrize("name", CAPTURES)
def test_the_hosts_own_calls(name: str) -> None:
    tracer, solution = solved(snapshot_of(name))
    assert solution is not None
    decisions = Decisions(solution)
    ports = [port for port in solution.pairs.ports if port.netns not in ("host", WORLD)]
    covered = [(port, found) for port in ports if (found := decisions.from_host(port.address)) is not None]
    for port, behaviour in covered:
        assert sweep(tracer, "host", port.address).allowed == behaviour.allowed, port
    assert covered or len(ports) < 2


def test_most_pairs_of_real_hosts_are_covered() -> None:
    covered = every = 0
    for name in CAPTURES:
        snapshot = snapshot_of(name)
        _, solution = solved(snapshot)
        netns = dict.fromkeys(snapshot.netns_of.values())
        every += len(netns) * (len(netns) - 1)
        if solution is not None:
            decisions = Decisions(solution)
            ports = [p for p in solution.pairs.ports if p.netns not in ("host", WORLD)]
            pairs = ((s.netns, p) for s in solution.pairs.stacks for p in ports)
            covered += sum(decisions.behaviour(source, port.address) is not None for source, port in pairs)
    assert covered >= 0.7 * every


def five(text: str, switches: dict[str, str]) -> Host:
    """Five containers on two networks, at addresses that the random rules speak of, one of them on both."""
    host = Host().network("a", "10.201.1.0/24").network("b", "10.201.2.0/24")
    host = host.container("zero", "a").container("one", "a").container("two", "b").container("both", "a", "b")
    host = host.container("three", "b").uplink()
    return Host(host.networks, host.containers, host.spaces, text, switches)


SWITCHES = st.fixed_dictionaries(
    {
        "net.bridge.bridge-nf-call-iptables": st.sampled_from(["1", "1", "0"]),
        "net.ipv4.ip_forward": st.sampled_from(["1", "1", "1", "0"]),
    }
)


@settings(max_examples=120, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rules.iptables(), SWITCHES)
def test_random_rules(text: str, switches: dict[str, str]) -> None:
    host = five(text, switches)
    snapshot = host.snapshot()
    tracer, solution = solved(snapshot)
    assert solution is not None
    decisions = Decisions(solution)
    for stack in solution.pairs.stacks:
        for port in solution.pairs.ports:
            behaviour = decisions.behaviour(stack.netns, port.address)
            if behaviour is None:
                continue
            flows = [(Protocol.ICMP, 0), *((p, n) for p in (Protocol.TCP, Protocol.UDP) for n in PORTS)]
            for protocol, number in flows:
                trace = tracer.trace(Flow(stack.netns, port.address, protocol, number))
                assert trace.disposition is not Disposition.UNKNOWN
                delivered = trace.disposition is Disposition.DELIVERED
                delivered &= port.netns != "host" or trace.delivered_to == "host"
                assert behaviour.delivers(protocol, number) == delivered, (stack.netns, port, protocol, number)
