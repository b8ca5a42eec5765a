"""`@host` and `@world`: what goes out, and what is exposed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.errors import UsageError
from diag.interpreter.trace import Tracer
from diag.model.address import Ip
from diag.model.docker import PublishedPort
from diag.model.netns import Socket
from diag.model.reasons import Reachability, Reason
from diag.reach.analysis import analyse
from diag.reach.beyond import HOST, WORLD, uplink_addresses, uplinks, with_world
from diag.reach.explanation import explain
from diag.reach.flows import FlowAnswerer
from diag.reach.pairs import PairAnalyser, PairFacts
from diag.reach.reserved import ReservedPairs
from tests.hosts import Host

MASQUERADE = "-A POSTROUTING -s 10.1.0.0/24 ! -o br-a -j MASQUERADE"
PUBLISH = "-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.10:80"


def host(*nat: str) -> Host:
    made = Host().network("a", "10.1.0.0/24").container("web", "a").container("db", "a").uplink()
    return made.rules("\n".join(nat), table="nat") if nat else made


def pair(made: Host, source: str, destination: str) -> PairFacts:
    snapshot = made.snapshot()
    world = with_world(snapshot)
    return ReservedPairs(snapshot, PairAnalyser(world, Tracer(world))).pair(source, destination)


def test_masquerade_is_what_brings_the_answer_back() -> None:
    assert pair(host(MASQUERADE), "web", WORLD).reachability is Reachability.REACHABLE
    bare = pair(host(), "web", WORLD)
    assert (bare.reachability, bare.paths[0].reason) == (Reachability.UNREACHABLE, Reason.REPLY_BLOCKED)


def test_what_is_exposed_is_told_with_its_binding() -> None:
    facts = pair(host(PUBLISH), WORLD, "web")
    (path,) = facts.paths
    assert (str(path.target.ip) if path.target else "", str(path.allowed)) == ("192.0.2.10", "tcp 8080")
    assert path.reason is Reason.PUBLISHED_PORT
    assert pair(host(PUBLISH), WORLD, "db").paths[0].reason is Reason.UNPUBLISHED_PORT


def test_published_ports_are_not_the_hosts_own() -> None:
    listening = host(PUBLISH).container("agent", mode="host")
    (path,) = pair(listening, WORLD, HOST).paths
    assert 8080 not in path.allowed.tcp
    assert 22 in path.allowed.tcp


def test_docker_proxy_exposes_its_container() -> None:
    made = host()
    listening = (Socket("tcp", Ip.parse("0.0.0.0"), 8080), Socket("tcp", Ip.parse("0.0.0.0"), 22))
    made = made.change("host", replace(made.spaces["host"], sockets=listening))
    web, db = made.containers
    proxied = replace(made, containers=(replace(web, ports=(PublishedPort(80, "tcp", 8080),)), db))
    (path,) = pair(proxied, WORLD, "web").paths
    assert (str(path.allowed), path.reason) == ("tcp 8080", Reason.DOCKER_PROXY)
    (own,) = pair(proxied, WORLD, HOST).paths
    assert str(own.allowed) == "icmp; tcp 22"


def test_a_routed_network_is_known_outside() -> None:
    routed = {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}
    made = Host().network("r", "10.1.0.0/24", **routed).container("web", "r").uplink()
    assert pair(made, WORLD, "web").reachability is Reachability.REACHABLE
    assert pair(made, "web", WORLD).reachability is Reachability.REACHABLE


def test_a_host_without_an_uplink_has_no_world() -> None:
    alone = Host().network("a", "10.1.0.0/24").container("web", "a")
    assert uplink_addresses(uplinks(alone.snapshot())) == ()
    assert pair(alone, "web", WORLD).paths[0].reason is Reason.NO_ROUTE
    assert pair(alone, WORLD, "web").paths[0].reason is Reason.NO_ROUTE
    assert pair(alone, HOST, "web").reachability is Reachability.REACHABLE


def test_the_world_is_in_no_other_pair() -> None:
    analysis = analyse(host(MASQUERADE).snapshot())
    assert {name for g in analysis.groups for name in (*g.sources, *g.destinations)} == {"web", "db"}
    ends = {(s, d) for g in analysis.endpoints for s in g.sources for d in g.destinations if s != d}
    everyone = {HOST, WORLD, "web", "db"}
    assert ends == {(s, d) for s in everyone for d in everyone if s != d and {s, d} & {HOST, WORLD}}


def test_trace_takes_the_world_at_both_ends() -> None:
    answerer = FlowAnswerer(host(MASQUERADE, PUBLISH).snapshot())
    asked = {"source": WORLD, "address": "192.0.2.10", "protocol": "tcp", "port": 8080}
    assert answerer.answer(asked)["delivered_to"] == "web"
    out = answerer.answer({"source": "web", "address": WORLD, "protocol": "udp", "port": 53})
    assert (out["disposition"], out["delivered_to"]) == ("delivered", WORLD)


def test_explain_takes_reserved_endpoints() -> None:
    snapshot = host(MASQUERADE, PUBLISH).snapshot()
    assert "@world reaches web at 192.0.2.10 on tcp 8080 only" in explain(snapshot, WORLD, "web").text
    assert explain(snapshot, "web", WORLD, protocol="tcp", port=443).reachability is Reachability.REACHABLE
    assert explain(snapshot, "web", HOST).destination == HOST
    with pytest.raises(UsageError):
        explain(snapshot, HOST, HOST)
