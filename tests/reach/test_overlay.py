"""An overlay network over several hosts: what one host's bundle can tell."""

from __future__ import annotations

from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.flow import Flow, Protocol
from diag.model.netfilter import Origin, Ruleset, TableFamily
from diag.model.reasons import Disposition
from diag.parse.iptables_save import parse_iptables_save
from diag.reach.flows import FlowAnswerer
from tests.hosts import Host
from tests.loading import snapshot_of


def test_an_endpoint_on_another_host_is_named_with_it() -> None:
    answerer = FlowAnswerer(snapshot_of("overlay_A-d29"))
    answer = answerer.answer({"source": "a1", "address": "10.120.0.5", "protocol": "tcp", "port": 80})
    assert (answer["disposition"], answer["reason"]) == ("unknown", "not-captured")
    assert "another host, 10.254.0.2" in answer["unknown"][0]


def test_what_a_load_balancer_marks_is_unknown() -> None:
    """IPVS takes it in Docker's own namespace; a ping is answered there."""
    host = Host().network("a", "10.1.0.0/24").container("web", "a").container("lb", "a")
    marking = b"*mangle\n:INPUT ACCEPT [0:0]\n-A INPUT -d 10.1.0.11/32 -j MARK --set-xmark 0x100/0xffffffff\nCOMMIT\n"
    tables = parse_iptables_save(marking, "netns/lb_1/iptables-save.txt", TableFamily.IP, Origin.IPTABLES_NFT).value
    inner = replace(host.spaces[host.netns_of("lb")], id="netns/lb_1", ruleset=Ruleset(tables))
    spaces = {name: space for name, space in host.spaces.items() if name != host.netns_of("lb")}
    containers = tuple(c for c in host.containers if c.name != "lb")
    address = host.address("lb")
    snapshot = replace(host, spaces={**spaces, "netns/lb_1": inner}, containers=containers).snapshot()
    tracer = Tracer(snapshot)
    netns = snapshot.netns_of["web"]
    tcp = tracer.trace(Flow(netns, address, Protocol.TCP, 80))
    assert tcp.disposition is Disposition.UNKNOWN
    assert any("IPVS" in cause for cause in tcp.unknown_causes)
    assert tracer.trace(Flow(netns, address, Protocol.ICMP, 0)).disposition is Disposition.DELIVERED
