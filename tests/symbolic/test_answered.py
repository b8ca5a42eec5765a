"""Flows to the host that containers get, told of where they are called: by DNAT, or by docker-proxy."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.address import Family, Ip
from diag.model.docker import PublishedPort
from diag.model.flow import Flow, Protocol
from diag.model.netns import Socket
from diag.model.reasons import Disposition
from diag.symbolic.behaviours import Decisions
from diag.symbolic.engine import solve
from diag.symbolic.kinds import Kind
from tests.hosts import Host
from tests.kernel import rules
from tests.symbolic.test_agreement import PUBLISHED, SWITCHES, TOO_MUCH, USER_RULES, five

ANY, OF_B = Ip.parse("0.0.0.0"), Ip.parse("10.201.2.1")
BINDINGS = {
    "zero": (PublishedPort(80, "tcp", 8080), PublishedPort(53, "udp", 8053)),
    "one": (PublishedPort(53, "udp", 5353), PublishedPort(80, "tcp", 8083, OF_B)),
    "two": (PublishedPort(80, "tcp", 8081), PublishedPort(53, "udp", 5454, OF_B)),
}
"""8053, 8083 and 5454 no rule translates; the last two are published at one address only."""
FLOWS = [
    (Protocol.ICMP, 0),
    *((Protocol.TCP, port) for port in (80, 8080, 8081, 8083, 8443, 9001, 9003)),
    *((Protocol.UDP, port) for port in (53, 5353, 5454, 8053)),
]


def shared(host: Host) -> Host:
    """With a container on the host's network, which anybody may listen in, and docker-proxy."""
    containers = tuple(replace(c, ports=BINDINGS.get(c.name, ())) for c in host.containers)
    sockets = {Socket(p.protocol, p.host_ip or ANY, p.host_port) for ports in BINDINGS.values() for p in ports}
    space = replace(host.spaces["host"], sockets=tuple(sockets))
    return replace(host, containers=containers, spaces={**host.spaces, "host": space}).container("agent", mode="host")


def assert_told(host: Host) -> set[tuple[Protocol, int]]:
    """Flows of containers to the host are as the interpreter has them; returns those that are left to it."""
    snapshot = host.snapshot()
    tracer = Tracer(snapshot)
    solutions = solve(snapshot, tracer.world.topology)
    decisions, left = Decisions(solutions), set()
    pairs = solutions[Family.IPV4].pairs
    for netns in (stack.netns for stack in pairs.stacks):
        for address in (port.address for port in pairs.ports if port.netns == "host"):
            behaviour = decisions.to_host(netns, address)
            assert behaviour is not None
            for protocol, port in FLOWS:
                kind, where = behaviour.kind(protocol, port), (netns, address, protocol, port)
                if not kind.covered:
                    left.add((protocol, port))
                    continue
                trace = tracer.trace(Flow(netns, address, protocol, port))
                if trace.detail == TOO_MUCH:
                    continue
                assert kind.unknown == (trace.disposition is Disposition.UNKNOWN), where
                assert kind.delivered == (trace.disposition is Disposition.DELIVERED), where
                assert not kind.delivered or kind.proxied == (trace.delivered_to == "docker-proxy"), where
    return left


@pytest.mark.parametrize(
    "rule",
    [
        *(rule for rule in USER_RULES if "ctorigdstport" not in rule and "DNAT" not in rule),
        "-A INPUT -s 10.201.1.0/24 -p tcp -m tcp --dport 8080 -j DROP",
        "-A INPUT -d 10.201.2.1/32 -j REJECT --reject-with icmp-port-unreachable",
        "-A OUTPUT -p tcp -m tcp --sport 8083 -j DROP",
        "-A OUTPUT -o br-b -p udp -m udp --sport 5353 -j DROP",
        "-A OUTPUT -d 10.201.1.10/32 -p udp -m udp --dport 53 -j DROP",
    ],
)
def test_every_flow_to_the_host_is_told(rule: str) -> None:
    left = assert_told(shared(five("", {}).rules(PUBLISHED, "nat").rules(rule)))
    about_udp_to_zero = "10.201.1.10/32 -p udp" in rule  # docker-proxy gets no answer: which error it sees is traced
    assert left == ({(Protocol.UDP, 8053)} if about_udp_to_zero else set())


def test_a_caller_with_two_links_is_told_by_the_one_that_it_calls_by() -> None:
    """What DNAT sends on of it comes from the network of the address that it called, and rules tell these apart."""
    host = five("", {}).network("c", "10.201.3.0/24").container("far", "c")
    host = host.rules(
        f"{PUBLISHED}\n-A DOCKER -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.201.3.15:443", "nat"
    )
    host = shared(host.rules("-A FORWARD -i br-a -d 10.201.3.15/32 -j DROP"))
    decisions = Decisions(solve(host.snapshot(), Tracer(host.snapshot()).world.topology))

    def kind(ip: str) -> Kind:
        found = decisions.to_host(host.netns_of("both"), Ip.parse(ip))
        assert found is not None
        return found.kind(Protocol.TCP, 8443)

    assert kind("10.201.1.1").covered
    assert not kind("10.201.1.1").delivered
    assert kind("10.201.2.1").delivered
    assert not kind("10.201.3.1").delivered, "its way out is the first network"
    assert_told(host)


@pytest.mark.apart
@settings(max_examples=80, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rules.iptables(), SWITCHES)
def test_random_rules(text: str, switches: dict[str, str]) -> None:
    assert_told(shared(five(text, switches).rules(PUBLISHED, "nat")))
