"""Containers on ipvlan links in their three modes, and macvlan in passthru: what reaches what, and by whose rules."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.model.address import Family, Ip, Prefix
from diag.model.flow import Flow, Protocol, Trace
from diag.model.netns import Address, Link, LinkKind, Nexthop, Route, RouteType
from diag.model.reasons import Disposition, Symptom
from diag.reach.beyond import WORLD, with_world
from tests.hosts import Host, connected

OUTSIDE = Ip.parse("198.51.100.1")
HOST = Ip.parse("192.0.2.10")


def on_parent(host: Host, name: str, address: str, kind: LinkKind, mode: str, flag: str = "bridge") -> Host:
    """A container on an ipvlan or macvlan link of the host's eth0, with the routes that Docker gives it."""
    host = host.container(name)
    ip, prefix = Ip.parse(address.partition("/")[0]), Prefix.parse(address)
    link = Link(
        "eth0",
        500 + len(host.containers),
        kind,
        up=True,
        carrier=True,
        peer_index=2,
        peer_netnsid=0,
        addresses=(Address(ip, prefix),),
        mode=mode,
        mode_flag=flag if kind is LinkKind.IPVLAN else "",
    )
    gateway = None if mode.startswith("l3") else Ip.parse("192.0.2.1")
    default = Route(Prefix(Family.IPV4, 0, 0), RouteType.UNICAST, "main", (Nexthop("eth0", gateway),))
    space = host.spaces[host.netns_of(name)]
    routes = (*(space.routes[Family.IPV4] or ()), *connected("eth0", ip, prefix), default)
    return host.change(name, replace(space, links=(*(space.links or ()), link), routes={Family.IPV4: routes}))


def pair(mode: str, flag: str = "bridge", other: str = "192.0.2.32/24") -> Host:
    host = Host().uplink()
    for name, address in (("one", "192.0.2.31/24"), ("two", other)):
        host = on_parent(host, name, address, LinkKind.IPVLAN, mode, flag)
    return host


def send(host: Host, source: str, to: Ip | str, port: int = 0) -> Trace:
    """With the world at the uplink; ICMP without a port, else UDP."""
    snapshot = with_world(host.snapshot())
    netns = {"host": "host", WORLD: WORLD}.get(source) or snapshot.netns_of[source]
    if isinstance(to, str):
        link = next(k for k in snapshot.netns[snapshot.netns_of[to]].links or () if k.name == "eth0")
        to = link.addresses[0].ip
    return Tracer(snapshot).trace(Flow(netns, to, Protocol.UDP if port else Protocol.ICMP, port))


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_links_of_one_parent_reach_each_other(mode: str) -> None:
    trace = send(pair(mode), "one", "two")
    assert (trace.disposition, trace.symptom) == (Disposition.DELIVERED, Symptom.OK)


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_private_keeps_them_apart(mode: str) -> None:
    assert send(pair(mode, "private"), "one", "two").disposition is Disposition.UNREACHABLE


def test_l3_joins_subnets_and_l2_does_not() -> None:
    assert send(pair("l3", other="10.9.0.2/24"), "one", "two").disposition is Disposition.DELIVERED
    assert send(pair("l2", other="10.9.0.2/24"), "one", "two").disposition is not Disposition.DELIVERED


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_the_host_and_its_links_do_not_reach_each_other(mode: str) -> None:
    host = pair(mode)
    assert send(host, "one", HOST).disposition is not Disposition.DELIVERED
    assert send(host, "host", "one").disposition is not Disposition.DELIVERED


def test_l2_speaks_with_the_outside_by_itself() -> None:
    host = pair("l2").rules("-A OUTPUT -j DROP\n-A INPUT -j DROP\n-A FORWARD -j DROP")
    assert send(host, "one", OUTSIDE).disposition is Disposition.DELIVERED
    assert send(host, WORLD, "one").disposition is Disposition.DELIVERED


def test_the_parents_stack_sends_for_l3() -> None:
    host = pair("l3")
    dropped = send(host.rules("-A OUTPUT -p icmp -j DROP"), "one", OUTSIDE)
    assert (dropped.disposition, dropped.symptom) == (Disposition.DROPPED, Symptom.TIMEOUT)
    assert dropped.decided_by is not None
    assert dropped.decided_by.text == "-A OUTPUT -p icmp -j DROP"
    # Nothing outside knows a way to the link: it does not answer ARP.
    assert send(host, "one", OUTSIDE).disposition is Disposition.REPLY_LOST
    assert send(host, WORLD, "one").disposition is Disposition.UNREACHABLE


def routed_back(host: Host) -> Trace:
    """The outside has a route to the link by the host's address."""
    snapshot = with_world(host.snapshot())
    world = snapshot.netns[WORLD]
    way = Route(Prefix.parse("192.0.2.31/32"), RouteType.UNICAST, "main", (Nexthop("to-eth0", HOST),), prefsrc=OUTSIDE)
    routes = {**world.routes, Family.IPV4: (*(world.routes[Family.IPV4] or ()), way)}
    snapshot = replace(snapshot, netns={**snapshot.netns, WORLD: replace(world, routes=routes)})
    return Tracer(snapshot).trace(Flow(WORLD, Ip.parse("192.0.2.31"), Protocol.ICMP, 0))


def test_what_comes_in_for_l3_passes_the_parents_rules_by() -> None:
    dropping = "-A INPUT -j DROP\n-A FORWARD -j DROP"
    assert routed_back(pair("l3").rules(dropping)).disposition is Disposition.DELIVERED
    assert routed_back(pair("l3s").rules(dropping)).disposition is Disposition.DROPPED
    assert routed_back(pair("l3s").rules("-A FORWARD -j DROP")).disposition is Disposition.DELIVERED


def test_masquerade_in_the_parents_stack_brings_the_reply_to_l3() -> None:
    host = pair("l3").rules("-A POSTROUTING -s 192.0.2.31/32 -o eth0 -j MASQUERADE", "nat")
    assert send(host, "one", OUTSIDE).disposition is not Disposition.DELIVERED  # the host forwards it to nobody


def test_macvlan_in_passthru_makes_its_parent_deaf() -> None:
    host = on_parent(Host().uplink(), "one", "192.0.2.31/24", LinkKind.MACVLAN, "passthru")
    assert send(host, "one", OUTSIDE).disposition is Disposition.DELIVERED
    assert send(host, WORLD, "one").disposition is Disposition.DELIVERED
    assert send(host, WORLD, HOST).disposition is Disposition.UNREACHABLE
    assert send(host, "host", OUTSIDE).disposition is Disposition.REPLY_LOST
