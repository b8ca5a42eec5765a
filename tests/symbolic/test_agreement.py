"""The two engines: a flow is in the symbolic engine's set if and only if the interpreter delivers it."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.interpreter.trace import Tracer
from diag.kernel.fib import DEFAULT_RULES
from diag.model.address import Family, Ip, Prefix
from diag.model.flow import Flow, Protocol
from diag.model.netfilter import (
    Base,
    Chain,
    ChainType,
    Drop,
    Field,
    Hook,
    Match,
    Named,
    NfRule,
    NfTable,
    Origin,
    Ruleset,
    SetMark,
    Statement,
    TableFamily,
)
from diag.model.netns import Address, BridgePort, Link, LinkKind, Netns, Nexthop, PolicyRule, Route, RouteType, Socket
from diag.model.provenance import Evidence
from diag.model.reasons import Disposition
from diag.model.snapshot import Snapshot
from diag.parse.ipset import parse_ipset
from diag.parse.iptables_save import parse_iptables_save
from diag.reach.beyond import WORLD, with_world
from diag.reach.pairs import PairAnalyser
from diag.reach.windows import sampled, sweep
from diag.symbolic import space
from diag.symbolic.behaviours import Decisions
from diag.symbolic.engine import Solutions, solve
from diag.symbolic.stacks import Port
from tests.altered import Change, altered_snapshot, items
from tests.hosts import Host, connected, link_local
from tests.kernel import rules
from tests.loading import CAPTURES, EACH_CAPTURE, snapshot_of

PORTS = (53, 80, 81, 5432, 8080, 9999)
TOO_MUCH = "more is unknown on the way than can be tried"
"""What the interpreter says where it gives up."""


def solved(snapshot: Snapshot) -> tuple[Tracer, Solutions]:
    """With the world at the uplinks."""
    tracer = Tracer(with_world(snapshot))
    return tracer, solve(tracer.world.snapshot, tracer.world.topology, WORLD)


def ports_of(solutions: Solutions) -> list[Port]:
    return [port for solution in solutions.values() for port in solution.pairs.ports]


def sources_of(solutions: Solutions, port: Port) -> list[str]:
    """Who may call an address."""
    return [stack.netns for stack in solutions[port.address.family].pairs.stacks]


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_exact_sets_of_real_hosts(name: str) -> None:
    snapshot = snapshot_of(name)
    tracer, solutions = solved(snapshot)
    decisions = Decisions(solutions)
    assert solutions, "nothing of this host is covered"
    for port in ports_of(solutions):
        for netns in sources_of(solutions, port):
            behaviour = decisions.known(netns, port.address)
            if behaviour is None or not (behaviour.covered or behaviour.partial):
                continue
            whole, in_part = sweep(tracer, netns, port.address), sampled(tracer, netns, port.address, behaviour)
            if port.netns == "host":
                host = PairAnalyser(tracer.world.snapshot, tracer)
                whole, in_part = host.of_host(whole), host.of_host(in_part) if in_part else None
            assert not behaviour.covered or whole.allowed == behaviour.allowed, (netns, port)
            told = any(not kind.elsewhere for _, kind, _ in behaviour.by_kind)
            assert (in_part is not None) == told, (netns, port)
            assert in_part is None or whole.allowed == in_part.allowed, (netns, port)


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_published_ports(name: str) -> None:
    """What containers get of flows to the host, from the world and from others."""
    tracer, solutions = solved(snapshot_of(name))
    decisions = Decisions(solutions)
    for port in (p for p in ports_of(solutions) if p.netns == "host"):
        for netns in sources_of(solutions, port):
            taken = decisions.taken(netns, port.address)
            if taken is None:
                continue
            for span in sweep(tracer, netns, port.address).spans:
                found = [t for t in taken if (t.protocol, (t.ports,)) == (span.protocol, span.ranges)]
                delivered = span.trace.disposition is Disposition.DELIVERED
                assert bool(found) or not delivered or span.trace.delivered_to == "host", (netns, port, span)
                for part in found:
                    assert part.kind.delivered == delivered, (netns, port, span)
                    assert not delivered or part.netns == span.trace.delivered_to, (netns, port, span)


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_the_hosts_own_calls(name: str) -> None:
    tracer, solutions = solved(snapshot_of(name))
    decisions = Decisions(solutions)
    ports = [port for port in ports_of(solutions) if port.netns not in ("host", WORLD)]
    covered = [(port, found) for port in ports if (found := decisions.from_host(port.address)) is not None]
    for port, behaviour in covered:
        assert sweep(tracer, "host", port.address).allowed == behaviour.allowed, port
    may_be_marked = name == "overlay_A-d29"  # by a match that nobody models, for encryption
    assert covered or len(ports) < 2 or may_be_marked


@pytest.mark.apart
def test_most_pairs_of_real_hosts_are_covered() -> None:
    covered = every = 0
    for name in CAPTURES:
        snapshot = snapshot_of(name)
        _, solutions = solved(snapshot)
        decisions = Decisions(solutions)
        netns = list(dict.fromkeys(snapshot.netns_of.values()))
        for there in netns:
            links = (link for link in snapshot.netns[there].links or () if link.name != "lo")
            called = [a.ip for link in links for a in link.addresses if not a.ip.is_link_local]
            pairs = [(here, ip) for ip in called for here in netns if here != there]
            every += len(pairs)
            for here, ip in pairs:
                found = decisions.from_host(ip) if here == "host" else decisions.behaviour(here, ip)
                covered += found is not None
    assert covered >= 0.98 * every


def five(text: str, switches: dict[str, str]) -> Host:
    """Five containers on two networks, at addresses that the random rules speak of, one of them on both."""
    host = Host().network("a", "10.201.1.0/24").network("b", "10.201.2.0/24")
    host = host.container("zero", "a").container("one", "a").container("two", "b").container("both", "a", "b")
    host = host.container("three", "b").uplink()
    return replace(host, iptables=text, sysctls=switches)


NAMES = ("zero", "one", "two", "both", "three")
PUBLISHED = """:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.201.1.0/24 ! -o br-a -j MASQUERADE
-A POSTROUTING -s 10.201.2.0/24 ! -o br-b -j MASQUERADE
-A DOCKER ! -i br-a -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.201.1.10:80
-A DOCKER ! -i br-a -p udp -m udp --dport 5353 -j DNAT --to-destination 10.201.1.11:53
-A DOCKER ! -i br-b -p tcp -m tcp --dport 8081 -j DNAT --to-destination 10.201.2.12:80
-A DOCKER ! -i br-b -p tcp -m tcp --dport 9000:9002 -j DNAT --to-destination 10.201.2.12"""
USER_RULES = (
    "",
    "-A FORWARD -i eth0 -d 10.201.1.10/32 -j DROP",
    "-A FORWARD -s 128.0.0.0/1 -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset",
    "-A FORWARD -s 10.201.2.12/32 -p tcp -m tcp --sport 9001 -j DROP",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A FORWARD ! -i eth0 -j DROP",
    "-A FORWARD -p tcp -m conntrack --ctorigdstport 8080 -j DROP",
    "-A FORWARD -m conntrack --ctstate DNAT -j DROP",
)


def assert_fates(host: Host) -> int:
    """What is called at the host's addresses fares as the interpreter says; how much of that is told."""
    told = 0
    tracer, solutions = solved(host.snapshot())
    decisions = Decisions(solutions)
    addresses = [port.address for port in ports_of(solutions) if port.netns == "host"]
    ports = (*((Protocol.TCP, n) for n in (80, 8080, 8081, 9000, 9001, 9002, 9003)), (Protocol.UDP, 5353))
    for netns in (stack.netns for stack in solutions[Family.IPV4].pairs.stacks):
        for address in addresses:
            for protocol, port in ports:
                fate = decisions.fate(netns, address, protocol, port)
                if fate is None:
                    continue
                trace = tracer.trace(Flow(netns, address, protocol, port))
                if trace.detail == TOO_MUCH:
                    continue
                delivered = trace.disposition is Disposition.DELIVERED
                assert fate.kind.delivered == delivered, (netns, address, protocol, port, trace.detail)
                assert not delivered or fate.netns == trace.delivered_to, (netns, address, protocol, port)
                told += 1
    return told


@pytest.mark.parametrize("rule", USER_RULES)
def test_what_dnat_sends_on(rule: str) -> None:
    host = five("", {}).rules(PUBLISHED, "nat").rules(rule)
    assert_fates(host)
    decisions = Decisions(solved(host.snapshot())[1])
    about_what_was_called = "ctorigdstport" in rule or "DNAT" in rule
    assert bool(decisions.taken(WORLD, Ip.parse("192.0.2.10"))) != about_what_was_called


def five6(text: str, switches: dict[str, str]) -> Host:
    """The same of IPv6."""
    host = Host().network("a", "fd00:201:1::/64").network("b", "fd00:201:2::/64")
    host = host.container("zero", "a").container("one", "a").container("two", "b").container("both", "a", "b")
    host = host.container("three", "b").uplink("2001:db8:1::10/64", "2001:db8:1::1")
    return replace(host, ip6tables=text, sysctls=switches)


def vpn(host: Host) -> Host:
    """The policy rules of a VPN service that lets its own marked packets go another way, and has networks of its own."""
    space = host.spaces["host"]
    family = next(f for f in Family if any(r.destination.length == 0 for r in space.routes.get(f) or ()))
    far = Prefix.parse("100.64.0.0/10" if family is Family.IPV4 else "fd7a:115c::/32")
    policy = (
        DEFAULT_RULES[0],
        PolicyRule(5210, "lookup", "main", fwmark=0x80000, fwmask=0xFF0000),
        PolicyRule(5250, "unreachable", fwmark=0x80000, fwmask=0xFF0000),
        PolicyRule(5260, "lookup", "52", inverted=True, fwmark=0xCA6C),
        PolicyRule(5270, "blackhole", destination=far),
        *DEFAULT_RULES[1:],
    )
    away = Route(Prefix(far.family, far.value, far.length + 8), RouteType.UNICAST, "52", (Nexthop("tun0"),))
    routes = {**space.routes, family: (*(space.routes.get(family) or ()), away)}
    changed = replace(space, rules=MappingProxyType({family: policy}), routes=MappingProxyType(routes))
    return replace(host, spaces={**host.spaces, "host": changed})


def two_uplinks(host: Host) -> Host:
    """With a second way out, by which the world calls a network that it knows, and which the host itself takes less gladly."""
    family = host.networks[0].ipam[0].subnet.family
    if family is Family.IPV4:
        host = host.uplink("203.0.113.10/24", "203.0.113.1", name="eth1", metric=100)
    else:
        host = host.uplink("2001:db8:2::10/64", "2001:db8:2::1", name="eth1", metric=100)
    options = {f"com.docker.network.bridge.gateway_mode_{family.label}": "routed"}
    known = tuple(replace(n, options={**n.options, **options}) if n.name == "b" else n for n in host.networks)
    space = host.spaces["host"]
    *others, last = space.links or ()
    changed = replace(space, links=(last, *others))
    host = replace(host, networks=known, spaces={**host.spaces, "host": changed})
    return host.sysctl(net__ipv4__conf__all__rp_filter="1")


def family_of(host: Host) -> Family:
    return host.networks[0].ipam[0].subnet.family


def subnet(host: Host, number: int) -> Prefix:
    """One of the networks that the random rules speak of."""
    return Prefix.parse(f"10.201.{number}.0/24" if family_of(host) is Family.IPV4 else f"fd00:201:{number}::/64")


def ip_of(prefix: Prefix, number: int) -> Ip:
    return Ip(prefix.family, prefix.first + number)


def with_link(host: Host, name: str, link: Link) -> Host:
    """A container with one more link, whose one address brings the usual routes."""
    space = host.spaces[host.netns_of(name)]
    (address,) = link.addresses
    family = address.ip.family
    link = replace(link, addresses=(address, *link_local(family, link.index)))
    routes = (*(space.routes[family] or ()), *connected(link.name, address.ip, address.prefix))
    routed = MappingProxyType({**space.routes, family: routes})
    return host.change(name, replace(space, links=(*(space.links or ()), link), routes=routed))


def on_macvlan(host: Host) -> Host:
    """Containers on links of one parent, `zero` and `both` on bridges too, and `alone` on a private one."""
    host = host.container("apart").container("near").container("alone")
    for number, name in enumerate(("zero", "both", "apart", "near", "alone"), 2):
        address = Address(ip_of(subnet(host, 7), number), subnet(host, 7))
        mode = "private" if name == "alone" else "bridge"
        link = Link(
            "eth7", 700 + number, LinkKind.MACVLAN, up=True, carrier=True, peer_index=2, peer_netnsid=0, mode=mode
        )
        host = with_link(host, name, replace(link, addresses=(address,)))
    return host


def on_overlay(host: Host) -> Host:
    """The same behind a bridge in a namespace of its own."""
    ports = []
    host = host.container("apart").container("near")
    for number, name in enumerate(("zero", "both", "apart", "near"), 2):
        address = Address(ip_of(subnet(host, 7), number), subnet(host, 7))
        outer, inner = 800 + number, 700 + number
        link = Link(
            "eth7", inner, LinkKind.VETH, up=True, carrier=True, peer_index=outer, peer_netnsid=1, addresses=(address,)
        )
        host = with_link(host, name, link)
        ends = Link(
            f"veth{number}",
            outer,
            LinkKind.VETH,
            up=True,
            carrier=True,
            master="br0",
            peer_index=inner,
            peer_netnsid=number,
        )
        ports.append(ends)
    bridge = Link("br0", 2, LinkKind.BRIDGE, up=True, carrier=True)
    tunnel = Link("vxlan0", 3, LinkKind.VXLAN, up=True, carrier=True, master="br0")
    space = Netns("netns/1", (bridge, tunnel, *ports), MappingProxyType(dict.fromkeys(Family, ())), ruleset=Ruleset())
    return replace(host, spaces={**host.spaces, space.id: space})


def without_gateway(host: Host) -> Host:
    """A bridge on which the host has no address, as in gateway mode `isolated`."""
    host = host.network("c", str(subnet(host, 7)), internal="true").container("apart", "c").container("near", "c")
    space = host.spaces["host"]
    links = tuple(replace(k, addresses=()) if k.name == "br-c" else k for k in space.links or ())
    routes = {f: tuple(r for r in found or () if r.nexthops[0].dev != "br-c") for f, found in space.routes.items()}
    changed = replace(space, links=links, routes=MappingProxyType(routes))
    return replace(host, spaces={**host.spaces, "host": changed})


def with_strange_addresses(host: Host) -> Host:
    """Neighbours on a bridge with addresses that the host does not expect there, who take others for neighbours too."""
    host, ipv4 = host.container("apart", "a").container("near", "a"), family_of(host) is Family.IPV4
    for number, name in enumerate(("apart", "near"), 2):
        space = host.spaces[host.netns_of(name)]
        lo, link = space.links or ()
        prefix, wide = subnet(host, 7), Prefix.parse("10.201.0.0/16" if ipv4 else "fd00:201::/32")
        ip = ip_of(prefix, number)
        link = replace(link, addresses=(Address(ip, prefix), *link_local(ip.family, link.index)))
        host = host.change(name, replace(space, links=(lo, link)))
        near = Route(wide, RouteType.UNICAST, "main", (Nexthop(link.name),), prefsrc=ip)
        more = (*connected(link.name, ip, prefix), near)
        host = with_routes(host, name, lambda r: r.nexthops[0].dev == "lo" or not r.destination.length, *more)
    return host


def changed_links(host: Host, netns: str, change: Callable[[Link], Link]) -> Host:
    space = host.spaces[netns]
    changed = replace(space, links=tuple(change(link) for link in space.links or ()))
    return replace(host, spaces={**host.spaces, netns: changed})


def with_routes(host: Host, name: str, keep: Callable[[Route], bool], *more: Route) -> Host:
    """A container, or the host, with some of its routes, and more."""
    netns, family = "host" if name == "host" else host.netns_of(name), family_of(host)
    space = host.spaces[netns]
    kept = tuple(route for route in space.routes[family] or () if keep(route))
    routed = MappingProxyType({**space.routes, family: (*kept, *more)})
    return replace(host, spaces={**host.spaces, netns: replace(space, routes=routed)})


def with_own_end_down(host: Host) -> Host:
    """`ip link set eth0 down` in a container, which takes the routes away too."""
    host = host.container("apart", "a").container("near", "a")
    host = changed_links(host, host.netns_of("apart"), lambda k: replace(k, up=k.name == "lo"))
    return with_routes(host, "apart", lambda r: r.nexthops[0].dev == "lo")


def with_other_end(host: Host, **facts: object) -> Host:
    """The host's end of a container's link with other facts."""
    host = host.container("apart", "a").container("near", "a")
    _, link = host.spaces[host.netns_of("apart")].links or ()
    return changed_links(host, "host", lambda k: replace(k, **facts) if k.index == link.peer_index else k)


def with_other_end_down(host: Host) -> Host:
    return with_other_end(host, up=False)


def with_other_end_on_no_bridge(host: Host) -> Host:
    return with_other_end(host, master="")


def with_a_port_that_blocks(host: Host) -> Host:
    return with_other_end(host, port=BridgePort(state="disabled"))


def with_a_bridge_down(host: Host) -> Host:
    """`ip link set br-c down`, which takes the host's routes to it away."""
    host = host.network("c", str(subnet(host, 7))).container("apart", "c").container("near", "c")
    host = changed_links(host, "host", lambda k: replace(k, up=k.up and k.name != "br-c"))
    return with_routes(host, "host", lambda r: r.nexthops[0].dev != "br-c")


def with_routes_that_refuse(host: Host) -> Host:
    """Routes of containers and of the host that lead nowhere, to some of what others call."""
    host = host.network("c", str(subnet(host, 7))).container("apart", "c").container("near", "a")
    bits, first = family_of(host).bits, 10 if family_of(host) is Family.IPV4 else 0x10
    for name, to, kind in (
        ("apart", subnet(host, 1), RouteType.BLACKHOLE),
        ("near", Prefix.of(ip_of(subnet(host, 2), first + 2), bits), RouteType.PROHIBIT),
        ("near", Prefix.of(ip_of(subnet(host, 1), first + 1), bits), RouteType.UNREACHABLE),
        ("host", Prefix.of(ip_of(subnet(host, 2), first + 4), bits), RouteType.UNREACHABLE),
        ("host", subnet(host, 7), RouteType.BLACKHOLE),
    ):
        host = with_routes(host, name, lambda r: r.destination != to, Route(to, kind, "main"))  # noqa: B023 - called at once
    return host


def behind_a_parent_of_the_host(host: Host) -> Host:
    """Containers on a macvlan of a link by which the host routes to them, in vain."""
    host = on_macvlan(host)
    prefix = subnet(host, 7)
    ip = ip_of(prefix, 250)
    addresses = (Address(ip, prefix), *link_local(ip.family, 2))
    ends = (
        Link("par0", 2, LinkKind.VETH, up=True, carrier=True, peer_name="par1", addresses=addresses),
        Link("par1", 3, LinkKind.VETH, up=True, carrier=True, peer_name="par0"),
    )
    space = host.spaces["host"]
    host = replace(host, spaces={**host.spaces, "host": replace(space, links=(*(space.links or ()), *ends))})
    return with_routes(host, "host", lambda _: True, *connected("par0", ip, prefix))


def plain(host: Host) -> Host:
    return host


AROUND = (plain, vpn, two_uplinks)
"""What hosts have beside their containers and rules."""
SEGMENTS = (on_macvlan, on_overlay, without_gateway, with_strange_addresses)
"""Containers that the host does not route to, `apart` and `near`."""
BROKEN = (
    with_own_end_down,
    with_other_end_down,
    with_other_end_on_no_bridge,
    with_a_port_that_blocks,
    with_a_bridge_down,
    with_routes_that_refuse,
    behind_a_parent_of_the_host,
)
"""Containers of which some are not found, or not routed to."""
around = st.sampled_from(AROUND)


SWITCHES = st.fixed_dictionaries(
    {
        "net.bridge.bridge-nf-call-iptables": st.sampled_from(["1", "1", "0"]),
        "net.ipv4.ip_forward": st.sampled_from(["1", "1", "1", "0"]),
    }
)
SWITCHES6 = st.fixed_dictionaries(
    {
        "net.bridge.bridge-nf-call-ip6tables": st.sampled_from(["1", "1", "0"]),
        "net.ipv6.conf.all.forwarding": st.sampled_from(["1", "1", "1", "0"]),
    }
)


def assert_agreement(host: Host, *names: str) -> int:
    """Every flow that is covered is as the interpreter says; how many these are, with `names` of those from and to them alone."""
    wanted = {host.netns_of(name) for name in names}
    tracer, solutions = solved(host.snapshot())
    assert solutions, "nothing of this host is covered"
    decisions, covered = Decisions(solutions), 0
    for port in ports_of(solutions):
        for netns in ("host", *sources_of(solutions, port)):
            behaviour = decisions.known(netns, port.address) if netns != port.netns else None
            if behaviour is None:
                continue
            flows = [(Protocol.ICMP, 0), *((p, n) for p in (Protocol.TCP, Protocol.UDP) for n in PORTS)]
            for protocol, number in flows:
                where = (netns, port, protocol, number)
                if not behaviour.kind(protocol, number).covered:
                    continue
                trace = tracer.trace(Flow(netns, port.address, protocol, number))
                kind, fate = behaviour.kind(protocol, number), decisions.fate(netns, port.address, protocol, number)
                if kind.elsewhere and fate is None:
                    assert trace.delivered_to != "host", where
                    continue
                if kind.unknown or (fate is not None and fate.kind.unknown):
                    assert trace.disposition is Disposition.UNKNOWN, where
                    continue
                if trace.detail == TOO_MUCH:
                    continue
                assert trace.disposition is not Disposition.UNKNOWN, where
                delivered = trace.disposition is Disposition.DELIVERED
                if fate is not None:
                    assert fate.kind.delivered == delivered, where
                    assert not delivered or fate.netns == trace.delivered_to, where
                delivered &= port.netns != "host" or trace.delivered_to == "host"
                assert kind.delivered == delivered, where
                covered += not wanted or not wanted.isdisjoint((netns, port.netns))
    return covered


@pytest.mark.apart
@settings(max_examples=120, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rules.iptables(), SWITCHES, around)
def test_random_rules(text: str, switches: dict[str, str], beside: Callable[[Host], Host]) -> None:
    assert_agreement(beside(five(text, switches)))


FAMILIES = pytest.mark.parametrize("family", Family)


def random_hosts(family: Family) -> st.SearchStrategy[Host]:
    """The five containers of a family with random rules."""
    if family is Family.IPV4:
        return st.builds(five, rules.iptables(), SWITCHES)
    return st.builds(five6, rules.iptables().map(rules.to_ip6), SWITCHES6)


@pytest.mark.apart
@FAMILIES
@pytest.mark.parametrize("changed", [*SEGMENTS, *BROKEN])
def test_random_rules_beside_what_is_apart_or_broken(changed: Callable[[Host], Host], family: Family) -> None:
    covered = []

    @settings(max_examples=15, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(random_hosts(family), around)
    def agree(host: Host, beside: Callable[[Host], Host]) -> None:
        covered.append(assert_agreement(changed(beside(host)), "apart", "near"))

    agree()
    assert sum(covered) > 30 * len(covered)


@pytest.mark.parametrize("make", [five, five6])
@pytest.mark.parametrize("breaks", BROKEN)
def test_what_is_broken_is_covered(breaks: Callable[[Host], Host], make: Callable[[str, dict[str, str]], Host]) -> None:
    host = breaks(make("", {}))
    for each in (host, with_routes(host, "host", lambda r: bool(r.destination.length))):
        assert assert_agreement(each, "apart", "near") > 150
        if family_of(host) is Family.IPV4:
            assert_fates(each.rules(PUBLISHED, "nat"))


def listening_everywhere(host: Host) -> Host:
    """The host takes DNS at any of its addresses."""
    sockets = tuple(Socket(protocol, Ip.parse("0.0.0.0"), 53) for protocol in ("tcp", "udp"))
    return replace(host, spaces={**host.spaces, "host": replace(host.spaces["host"], sockets=sockets)})


def with_its_gateway_alone(host: Host) -> Host:
    """A container that sends all to its gateway, as with an address of 32 bits."""
    way = (Nexthop("eth0", Ip.parse("10.201.1.1")),)
    default = Route(Prefix.parse("0.0.0.0/0"), RouteType.UNICAST, "main", way)
    return with_routes(host.container("apart", "a"), "apart", lambda r: r.table == "local", default)


def sent_from_elsewhere(host: Host) -> Host:
    """The host calls a network from its address on another one."""
    (before,) = (r for r in host.spaces["host"].routes[Family.IPV4] or () if str(r.destination) == "10.201.1.0/24")
    other = replace(before, prefsrc=Ip.parse("10.201.2.1"))
    return with_routes(host.container("apart", "a"), "host", lambda r: r != before, other)


def with_a_broadcast_address_that_somebody_has(host: Host) -> Host:
    """Which a container with a smaller prefix takes another's address for."""
    host = host.container("near", "a").container("apart", "a")
    way = (Nexthop("eth0"),)
    broadcast = Route(Prefix.of(host.address("near"), 32), RouteType.BROADCAST, "local", way)
    return with_routes(host, "apart", lambda _: True, broadcast)


ODD = (with_its_gateway_alone, sent_from_elsewhere, with_a_broadcast_address_that_somebody_has)


@pytest.mark.parametrize("odd", ODD)
def test_odd_routes(odd: Callable[[Host], Host]) -> None:
    assert assert_agreement(odd(listening_everywhere(five("", {})))) > 300


def test_what_leaves_by_an_uplink_is_not_lost() -> None:
    """Beyond it there may be a router that leads back, or another neighbour."""
    host = on_macvlan(five("", {}))  # whose parent is eth0
    host = with_routes(
        host, "host", lambda _: True, *connected("eth0", Ip.parse("10.201.7.250"), Prefix.parse("10.201.7.0/24"))
    )
    decisions = Decisions(solved(host.snapshot())[1])
    assert decisions.behaviour(host.netns_of("two"), Ip.parse("10.201.7.4")) is None
    assert decisions.from_host(Ip.parse("10.201.7.4")) is None
    assert decisions.behaviour(host.netns_of("near"), Ip.parse("10.201.7.4")) is not None


@pytest.mark.parametrize("beside", SEGMENTS)
def test_neighbours_that_the_host_does_not_route_to(beside: Callable[[Host], Host]) -> None:
    host = beside(five("", {}))
    _, link = host.spaces[host.netns_of("apart")].links or ()
    published = f"-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination {link.addresses[0].ip}:80"
    forwarded = host.rules(published, "nat")
    for more in (host, forwarded):
        assert_agreement(more)
        assert_fates(more)
    decisions, address, here = Decisions(solved(host.snapshot())[1]), link.addresses[0].ip, host.netns_of("two")
    found = [decisions.behaviour(host.netns_of(name), address) for name in ("near", "zero")]
    assert [b is not None and b.allowed.everything for b in found] == [True, beside in (on_macvlan, on_overlay)]
    assert decisions.behaviour(here, address) is None
    assert decisions.from_host(address) is None
    assert decisions.behaviour(host.netns_of("one"), Ip.parse("10.201.1.1")) is not None
    turned = Decisions(solved(forwarded.snapshot())[1])
    assert turned.fate(here, Ip.parse("10.201.2.1"), Protocol.TCP, 8080) is None


def test_neighbours_on_a_bridge_with_rules_of_its_own_are_left_to_the_interpreter() -> None:
    host = on_overlay(five("", {}))
    space = host.spaces["netns/1"]
    dropping = parse_iptables_save(b"*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", "f", TableFamily.IP, Origin.IPTABLES_NFT)
    host = replace(host, spaces={**host.spaces, space.id: replace(space, ruleset=Ruleset(dropping.value))})
    _, solutions = solved(host.snapshot())
    assert host.netns_of("apart") not in {port.netns for port in ports_of(solutions)}


@pytest.mark.apart
@settings(max_examples=80, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rules.iptables(), SWITCHES6, around)
def test_random_rules_of_ipv6(text: str, switches: dict[str, str], beside: Callable[[Host], Host]) -> None:
    assert_agreement(beside(five6(rules.to_ip6(text), switches)))


@pytest.mark.apart
def test_random_rules_inside_containers() -> None:
    covered = []

    @settings(max_examples=120, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(rules.iptables(), SWITCHES, st.dictionaries(st.sampled_from(NAMES), rules.container_rules(), min_size=1))
    def agree(text: str, switches: dict[str, str], inside: dict[str, str]) -> None:
        host = five(text, switches)
        for name, own in inside.items():
            host = host.guard(name, own)
        covered.append(assert_agreement(host, *inside))

    agree()
    assert sum(covered) > 100 * len(covered)


@pytest.mark.apart
def test_random_rules_inside_containers_of_ipv6() -> None:
    covered = []

    @settings(max_examples=80, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(random_hosts(Family.IPV6), st.dictionaries(st.sampled_from(NAMES), rules.container_rules(), min_size=1))
    def agree(host: Host, inside: dict[str, str]) -> None:
        for name, own in inside.items():
            host = host.guard(name, rules.to_ip6(own))
        covered.append(assert_agreement(host, *inside))

    agree()
    assert sum(covered) > 30 * len(covered)


INSIDE6 = (
    ("-A INPUT -i lo -j ACCEPT\n-A INPUT -p ipv6-icmp -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 80 -j DROP", True),
    ("-A OUTPUT -o eth+ -p udp -j DROP\n-A INPUT -i eth+ -p tcp -j REJECT", True),
    ("-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A INPUT -p tcp -j DROP", True),
    ("-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j DROP", False),
    ("-A OUTPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j DROP", False),
    ("-A INPUT -m conntrack --ctstate INVALID,UNTRACKED -j DROP", False),
    ("-A OUTPUT -s fe80::/10 -j DROP", False),
    ("-A INPUT -p ipv6-icmp -m geoip --source-country XX -j DROP", False),
)
"""Rules, and whether their container finds and is found as without them."""


@pytest.mark.parametrize(("text", "heard"), INSIDE6)
def test_rules_inside_a_container_of_ipv6(text: str, heard: bool) -> None:
    host = five6("", {}).guard("one", filtered(*text.splitlines()))
    assert (assert_agreement(host, "one") > 50) == heard


HOP_LIMITS = (
    "-A PREROUTING -j HL --hl-set 64",
    "-A OUTPUT -j HL --hl-set 64",
    "-A FORWARD -d ff02::/16 -j HL --hl-dec 1",
)


@pytest.mark.parametrize("rule", HOP_LIMITS)
def test_a_changed_hop_limit_makes_neighbour_discovery_void(rule: str) -> None:
    text = f"*mangle\n:PREROUTING ACCEPT [0:0]\n{_POLICIES}{rule}\nCOMMIT\n"
    assert_agreement(replace(five6("", {}), ip6tables=text))
    assert_agreement(five6("", {}).guard("one", text))


def filtered(*lines: str, table: str = "filter") -> str:
    """A container's `iptables-save` with some rules."""
    chains = {"filter": ("INPUT", "FORWARD", "OUTPUT"), "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")}[table]
    return "\n".join([f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in chains), *lines, "COMMIT\n"])


INSIDE = (
    filtered("-A OUTPUT -d 10.201.2.0/24 -p tcp -m tcp --dport 80 -j DROP"),
    filtered("-A OUTPUT -o eth0 -p udp -j REJECT --reject-with icmp-port-unreachable", "-A INPUT -i eth1 -j DROP"),
    filtered("-A INPUT -m conntrack --ctstate NEW -p tcp -j DROP"),
    filtered("-A INPUT -m conntrack --ctstate ESTABLISHED -j DROP"),
    filtered("-A INPUT -p tcp -m tcp --tcp-flags SYN,ACK ACK -j DROP"),
    filtered("-A INPUT -s 10.201.1.1/32 -j DROP", "-A INPUT ! -s 10.201.2.1/32 -p udp -j DROP"),
    filtered("-A OUTPUT -p tcp -m tcp --sport 80 -j DROP", "-A INPUT -p tcp -m tcp --sport 80 -j DROP"),
    filtered("-A OUTPUT -m addrtype --src-type LOCAL -p icmp -j DROP"),
    filtered("-A INPUT -p tcp -m geoip --source-country XX -j DROP"),
    filtered("-A OUTPUT -p tcp -m geoip --source-country XX -j DROP"),
    filtered(
        "-A INPUT -i lo -j ACCEPT", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -j DROP"
    ),
)


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("name", ["one", "both"])
def test_rules_inside_a_container(inside: str, name: str) -> None:
    host = five("", {}).rules(PUBLISHED, "nat")
    assert assert_agreement(host.guard(name, inside), name) > 80
    _, solutions = solved(host.guard(name, inside).snapshot())
    decisions, other = Decisions(solutions), host.netns_of("three")
    assert decisions.behaviour(host.netns_of(name), host.address("three")) is not None
    assert decisions.behaviour(other, host.address(name)) is not None


OF_PUBLISHED = (
    filtered("-A INPUT -p tcp -j DROP"),
    filtered("-A INPUT -s 10.201.0.0/16 -j DROP"),
    filtered("-A INPUT -s 198.51.100.0/24 -p tcp -m tcp --dport 80 -j DROP"),
    filtered("-A OUTPUT -m conntrack --ctstate ESTABLISHED -p tcp -m tcp --sport 80 -j DROP"),
    filtered("-A INPUT -p tcp -m tcp --tcp-flags SYN,ACK ACK -j REJECT"),
)


@pytest.mark.parametrize("inside", OF_PUBLISHED)
@pytest.mark.parametrize("callers", [(), ("one", "three")])
def test_rules_inside_a_container_whose_ports_are_published(inside: str, callers: tuple[str, ...]) -> None:
    host = five("", {}).rules(PUBLISHED, "nat").guard("zero", inside).guard("two", inside)
    for name in callers:
        host = host.guard(name, filtered("-A INPUT -s 10.201.1.1/32 -j DROP"))
    assert assert_fates(host) > 10


SPECIAL = (
    (filtered("-A INPUT -p tcp -j REJECT --reject-with tcp-reset"), True, True),
    (filtered("-A INPUT -p tcp -m tcp --tcp-flags SYN,ACK ACK -j REJECT"), True, False),
    (filtered("-A OUTPUT -p tcp -m tcp --tcp-flags SYN,ACK ACK -j REJECT"), False, True),
    (filtered("-A OUTPUT -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.201.2.12:80", table="nat"), False, True),
    (filtered("-A POSTROUTING -o eth0 -j MASQUERADE", table="nat"), False, True),
    (filtered("-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 81", table="nat"), True, False),
)
"""Rules, and whether calls by their container and calls to it are covered."""


@pytest.mark.parametrize(("inside", "calls", "called"), SPECIAL)
def test_what_rules_inside_a_container_answer_or_rewrite(inside: str, calls: bool, called: bool) -> None:
    host = five("", {}).guard("one", inside)
    assert_agreement(host)
    _, solutions = solved(host.snapshot())
    decisions, one, two = Decisions(solutions), host.netns_of("one"), host.netns_of("two")
    assert (decisions.behaviour(one, host.address("two")) is not None) == calls
    assert (decisions.behaviour(two, host.address("one")) is not None) == called
    assert (decisions.from_host(host.address("one")) is not None) == called


@pytest.mark.apart
@pytest.mark.parametrize("beside", AROUND)
def test_plain_hosts_are_covered(beside: Callable[[Host], Host]) -> None:
    least = 500 if beside is plain else 450
    assert assert_agreement(beside(five("", {}))) > least
    assert assert_agreement(beside(five6("", {}))) > least


MARKS: tuple[tuple[str, set[str]], ...] = (
    ("-A PREROUTING -s 10.201.1.10/32 -j MARK --set-xmark 0x80000/0xffffffff", {"zero"}),
    ("-A PREROUTING -p udp -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff", set()),
)


@pytest.mark.parametrize(("rule", "marked"), MARKS)
def test_marked_packets_of_a_host_that_routes_by_mark_are_left_to_the_interpreter(rule: str, marked: set[str]) -> None:
    host = vpn(five("", {})).rules(rule, "mangle")
    _, solutions = solved(host.snapshot())
    decisions, called = Decisions(solutions), host.address("two")
    for name in ("zero", "one"):
        assert (decisions.behaviour(host.netns_of(name), called) is None) == (name in marked)
    assert_agreement(host)


A, B = Prefix.parse("10.201.1.0/24"), Prefix.parse("10.201.2.0/24")
POLICIES = (
    (PolicyRule(100, "lookup", "away", source=A), False),
    (PolicyRule(100, "prohibit", source=B), False),
    (PolicyRule(100, "lookup", "away", iif="br-a"), False),
    (PolicyRule(100, "lookup", "away", source=A, iif="br-a", fwmark=1), False),
    (PolicyRule(100, "lookup", "away", source=A, destination=B), False),
    (PolicyRule(100, "lookup", "away", iif="eth0"), True),
    (PolicyRule(100, "lookup", "away", source=Prefix.parse("10.201.2.12/32")), True),
    (PolicyRule(100, "lookup", "away", source=Prefix.parse("10.201.2.1/32")), True),
    (PolicyRule(100, "lookup", "away", source=Prefix.parse("192.0.2.10/32")), True),
)
"""With whether calls between containers on two networks may be looked at."""


def with_policy(host: Host, *rules: PolicyRule) -> Host:
    """Some packets of the host take another table, which sends all to the second uplink but for what is on network b."""
    host = two_uplinks(host)
    space = host.spaces["host"]
    main = space.routes.get(Family.IPV4) or ()
    kept = [r for r in main if r.table == "main" and any(n.dev in ("br-b", "eth1") for n in r.nexthops)]
    away = tuple(replace(route, table="away") for route in kept)
    policy = (DEFAULT_RULES[0], *rules, *DEFAULT_RULES[1:])
    routes = MappingProxyType({**space.routes, Family.IPV4: (*main, *away)})
    return host.change("host", replace(space, rules=MappingProxyType({Family.IPV4: policy}), routes=routes))


@pytest.mark.parametrize(("policy", "spared"), POLICIES)
def test_policy_rules_that_look_at_where_packets_come_from(policy: PolicyRule, spared: bool) -> None:
    host = with_policy(five("", {}).rules(PUBLISHED, "nat"), policy)
    assert assert_agreement(host) > 100
    assert assert_fates(host)
    decisions = Decisions(solved(host.snapshot())[1])
    assert (decisions.behaviour(host.netns_of("three"), host.address("zero")) is not None) == spared
    assert decisions.behaviour(host.netns_of("zero"), host.address("one")) is not None


@pytest.mark.parametrize(
    "policy", [replace(POLICIES[0][0], inverted=True), PolicyRule(100, "lookup", "away", iif="lo")]
)
def test_policy_rules_that_pick_what_the_host_sends_are_left_to_the_interpreter(policy: PolicyRule) -> None:
    assert not solved(with_policy(five("", {}), policy).snapshot())[1]


@pytest.mark.apart
@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rules.iptables(), SWITCHES, st.sampled_from(POLICIES))
def test_random_rules_beside_policy_rules(text: str, switches: dict[str, str], policy: tuple[PolicyRule, bool]) -> None:
    assert_agreement(with_policy(five(text, switches), policy[0]))


def without_address(routes: list[dict[str, str]]) -> None:
    routes[:] = [route for route in routes if route.get("type") != "local" or route["dst"].startswith("127.")]


@pytest.mark.parametrize(
    "change",
    [
        items("containers/ng1/ip-rule.json", lambda rules: rules.pop(1)),
        items("containers/ng1/ip-route.json", without_address),
    ],
)
def test_without_its_main_table_or_local_routes_a_namespace_is_left_to_the_interpreter(change: Change) -> None:
    snapshot = altered_snapshot("seed-d29", change)
    _, solutions = solved(snapshot)
    covered = {stack.netns for stack in solutions[Family.IPV4].pairs.stacks}
    assert snapshot.netns_of["ng1"] not in covered
    assert snapshot.netns_of["ng2"] in covered


def test_a_host_that_asks_other_tables_before_its_own_addresses_is_left_to_the_interpreter() -> None:
    host = vpn(five("", {}))
    space = host.spaces["host"]
    first, *others = space.rules[Family.IPV4] or ()
    policy = (replace(first, priority=6000), *others)
    _, solutions = solved(host.change("host", replace(space, rules=MappingProxyType({Family.IPV4: policy}))).snapshot())
    assert not solutions


@pytest.mark.parametrize("make", [five, five6])
def test_the_world_calls_by_the_uplink_that_the_host_takes_to_it(make: Callable[[str, dict[str, str]], Host]) -> None:
    _, solutions = solved(two_uplinks(make("", {})).snapshot())
    (solution,) = solutions.values()
    (behind,) = (port.bridge for port in solution.pairs.ports if port.netns == WORLD)
    assert behind == "eth0"
    (near,) = (port.address for port in solution.pairs.ports if port.bridge == "eth0" and port.netns == "host")
    assert Decisions(solutions).behaviour(WORLD, near) is not None


PORTS_OF_BRIDGES = (
    "-A FORWARD -m physdev --physdev-is-bridged -j DROP",
    "-A FORWARD -m physdev ! --physdev-is-bridged -p tcp -j DROP",
    "-A FORWARD -m physdev --physdev-in veth1001 -p tcp -j DROP",
    "-A FORWARD -m physdev --physdev-is-bridged --physdev-out veth1021 -p udp -j DROP",
    "-A INPUT -m physdev --physdev-is-in -p icmp -j DROP",
    "-A INPUT -m physdev --physdev-in veth1041 -j DROP",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED -m physdev ! --physdev-in veth1061 -p udp -j DROP",
    "-A OUTPUT -m physdev --physdev-is-in -j DROP",
    "-A FORWARD -i eth0 -m physdev --physdev-is-in -j DROP",
    "-A PREROUTING -m physdev --physdev-is-out -j DROP",
)


@pytest.mark.parametrize("rule", PORTS_OF_BRIDGES)
@pytest.mark.parametrize("calls", ["1", "0"])
def test_ports_of_bridges(rule: str, calls: str) -> None:
    host = five("", {"net.bridge.bridge-nf-call-iptables": calls}).rules(PUBLISHED, "nat")
    host = host.rules(rule, "mangle" if "PREROUTING" in rule else "filter")
    assert assert_agreement(host) > 450
    assert assert_fates(host) > 20


@pytest.mark.parametrize("kind", ["LOCAL", "UNICAST"])
@pytest.mark.parametrize("chain", ["PREROUTING", "INPUT", "FORWARD"])
def test_types_of_addresses_on_the_input_interface(chain: str, kind: str) -> None:
    table = "raw" if chain == "PREROUTING" else "filter"
    rule = f"-A {chain} -p icmp -m addrtype --dst-type {kind} --limit-iface-in -j DROP"
    assert assert_agreement(five("", {}).rules(rule, table)) > 450


DISCOVERY = (
    "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j DROP",
    "-A OUTPUT -o br-a -p ipv6-icmp -j DROP",
    "-A FORWARD -s fd00:201:1::10/128 -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j DROP",
    "-A FORWARD -d ff02::1:ff00:11/128 -j DROP",
    "-A INPUT -m conntrack --ctstate INVALID,UNTRACKED -j DROP",
    "-A INPUT -s fe80::/64 -j DROP",
    "-A FORWARD -i br-a -o br-a -j DROP",
)


@pytest.mark.parametrize("rule", DISCOVERY)
def test_rules_that_stop_neighbour_discovery(rule: str) -> None:
    covered = assert_agreement(replace(five6("", {}), ip6tables=f"*filter\n{_POLICIES}{rule}\nCOMMIT\n"))
    assert covered < assert_agreement(five6("", {})), "the pairs whose discovery is stopped are left to the interpreter"


_POLICIES = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
OPAQUE = (
    "-A FORWARD -m geoip --source-country XX -j DROP",
    "-A FORWARD -d 10.201.2.12/32 -p tcp -m geoip --source-country XX -j REJECT --reject-with tcp-reset",
    "-A FORWARD -p tcp -m geoip --source-country XX -j REJECT",
    "-A FORWARD -m geoip --source-country XX -j ACCEPT\n-A FORWARD -p udp -j DROP",
    "-A FORWARD -m geoip --source-country XX -j ACCEPT\n-A FORWARD -p udp -m udp --dport 53 -j ACCEPT",
    ":LATER - [0:0]\n-A FORWARD -i br-a -m geoip --source-country XX -j LATER\n-A LATER -p tcp -j DROP",
    ":LATER - [0:0]\n-A FORWARD -m geoip --source-country XX -g LATER\n-A LATER -p tcp -j DROP",
    "-A FORWARD -m geoip --source-country XX -j RETURN\n-A FORWARD -p tcp -j DROP",
    "-A INPUT -p tcp -m geoip --source-country XX -j DROP",
    "-A OUTPUT -p udp -m geoip --source-country XX -j DROP",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED -m geoip --source-country XX -j DROP",
)


@pytest.mark.parametrize("rule", OPAQUE)
def test_matches_that_nobody_models(rule: str) -> None:
    """What hangs on them is unknown to both engines, and of the others both say the same."""
    assert assert_agreement(five("", {}).rules(rule)) > 50


@pytest.mark.parametrize("target", ["DROP", "REJECT", "REJECT --reject-with tcp-reset"])
def test_what_hangs_on_an_unknown_match_is_covered_as_unknown(target: str) -> None:
    host = five("", {}).rules(f"-A FORWARD -p tcp -m geoip --source-country XX -j {target}")
    _, solutions = solved(host.snapshot())
    behaviour = Decisions(solutions).behaviour(host.netns_of("one"), Ip.parse("10.201.2.12"))
    assert behaviour is not None
    assert str(behaviour.allowed) == "icmp; tcp? all; udp all"


@pytest.mark.parametrize(
    ("rules", "table", "called", "told"),
    [
        (
            "-A FORWARD -p tcp -m limit --limit 3/min -j ACCEPT\n-A FORWARD -p tcp -j DROP",
            "filter",
            "",
            "icmp; tcp?; udp",
        ),
        ("-A FORWARD -p udp -m geoip --source-country XX -j ACCEPT\n-A FORWARD -j DROP", "filter", "", "udp?"),
        (
            "-A INPUT -m limit --limit 3/min -j ACCEPT\n-A INPUT -i br-a -p icmp -j DROP",
            "filter",
            "10.201.1.1",
            "icmp?",
        ),
        ("-A PREROUTING -m limit --limit 3/min -j ACCEPT\n-A PREROUTING -j DROP", "mangle", "", "icmp?; tcp?; udp?"),
    ],
)
def test_what_an_unknown_match_may_let_pass_before_it_is_stopped_is_unknown(
    rules: str, table: str, called: str, told: str
) -> None:
    host = five("", {}).rules(rules, table)
    assert_agreement(host)
    ip = Ip.parse(called) if called else host.address("two")
    behaviour = Decisions(solved(host.snapshot())[1]).behaviour(host.netns_of("zero"), ip)
    assert behaviour is not None
    assert str(behaviour.allowed).replace(" all", "").replace("none", "") == told


def test_whether_a_packet_is_masqueraded_hangs_on_an_unknown_match() -> None:
    rules = """-A POSTROUTING -s 10.201.1.0/24 -p tcp -m limit --limit 1/sec -j ACCEPT
-A POSTROUTING -s 10.201.1.0/24 ! -o br-a -j MASQUERADE"""
    assert_agreement(five("", {}).rules(rules, "nat"))


def test_diagrams_that_grow_too_large_cover_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "_NODES", 256)
    _, solutions = solved(five("", {}).snapshot())
    assert not solutions


def with_sets(host: Host) -> Host:
    """The host has the sets that random rules ask for."""
    sets = parse_ipset(rules.ipset_restore().encode(), "host/ipset.txt").value
    space = host.spaces["host"]
    return host.change("host", replace(space, ruleset=replace(space.ruleset, ipsets=MappingProxyType(dict(sets)))))


@pytest.mark.apart
@settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rules.iptables(), SWITCHES)
def test_random_rules_with_sets(text: str, switches: dict[str, str]) -> None:
    assert_agreement(with_sets(five(text, switches)))


@pytest.mark.parametrize("match", ["s-net-port dst,dst", "s-net-port src,dst", "s-port dst"])
@pytest.mark.parametrize("negation", ["", "! "])
def test_sets_of_ports(match: str, negation: str) -> None:
    rule = f"-A FORWARD -m set {negation}--match-set {match} -j DROP"
    assert assert_agreement(with_sets(five("", {}).rules(rule))) > 300


def test_what_a_set_of_ports_does_with_an_element_of_icmp_is_left_to_the_interpreter() -> None:
    host = with_sets(five("", {}).rules("-A FORWARD -m set --match-set s-ip-port dst,dst -j DROP"))
    decisions = Decisions(solved(host.snapshot())[1])
    assert decisions.behaviour(host.netns_of("zero"), host.address("two")) is None


def with_device_rules(host: Host, *devices: str) -> Host:
    """Rules at devices of the host, which drop what comes from everybody."""
    base = Base(Hook.INGRESS, 0, ChainType.FILTER, devices=devices)
    rule = NfRule((Drop(),), Evidence("host/nft-ruleset.json", 1, "drop"))
    table = NfTable(TableFamily.NETDEV, "t", Origin.NFT, MappingProxyType({"c": Chain("c", (rule,), base)}))
    space = host.spaces["host"]
    return host.change("host", replace(space, ruleset=replace(space.ruleset, tables=(*space.ruleset.tables, table))))


def test_rules_at_an_uplink_concern_what_is_beyond_it() -> None:
    host = with_device_rules(five("", {}), "eth0")
    assert assert_agreement(host) > 300
    assert WORLD not in {stack.netns for stack in solved(host.snapshot())[1][Family.IPV4].pairs.stacks}
    assert not solved(with_device_rules(five("", {}), "eth0", "br-a").snapshot())[1]


def with_machines(
    host: Host, rule: tuple[Match | Statement, ...], hook: Hook = Hook.FORWARD, *, drop: bool = False
) -> Host:
    """A bridge of virtual machines beside Docker's, and a rule of the bridge family."""
    base = Base(hook, 0, ChainType.FILTER, policy_drop=drop)
    made = NfRule(rule, Evidence("host/nft-ruleset.json", 1, "rule"))
    table = NfTable(TableFamily.BRIDGE, "nat", Origin.NFT, MappingProxyType({"c": Chain("c", (made,), base)}))
    space = host.spaces["host"]
    machines = (
        Link("virbr0", 900, LinkKind.BRIDGE, up=True, carrier=True),
        Link("vnet0", 901, LinkKind.TUN, up=True, carrier=True, master="virbr0"),
    )
    ruleset = replace(space.ruleset, tables=(*space.ruleset.tables, table))
    return host.change("host", replace(space, links=(*(space.links or ()), *machines), ruleset=ruleset))


def on(field: Field, *names: str, negated: bool = False) -> Named:
    return Named(field, names, negated)


BRIDGED = [
    ((on(Field.IIFNAME, "vnet0"), Drop()), True),
    ((on(Field.OIFNAME, "vnet*", "tap*"), Drop()), True),
    ((on(Field.IBRNAME, "virbr0"), Drop()), True),
    ((on(Field.IIFNAME, "v*"), Drop()), False),
    ((on(Field.IIFNAME, "vnet0", negated=True), Drop()), False),
    ((on(Field.IBRNAME, "br-a"), Drop()), False),
    ((SetMark(Field.MARK, 1), on(Field.IIFNAME, "vnet0"), Drop()), False),
    ((Drop(),), False),
]


@pytest.mark.parametrize(("rule", "others"), BRIDGED)
def test_rules_about_the_ports_of_other_bridges(rule: tuple[Match | Statement, ...], others: bool) -> None:
    host = with_machines(five("", {}), rule)
    if others:
        assert assert_agreement(host) > 300
    else:
        assert not solved(host.snapshot())[1]


def test_a_policy_and_rules_at_the_devices_of_other_bridges() -> None:
    rule = (on(Field.IIFNAME, "vnet0"), Drop())
    assert not solved(with_machines(five("", {}), rule, drop=True).snapshot())[1]
    assert assert_agreement(with_device_rules(with_machines(five("", {}), rule), "vnet0")) > 300
    docker = replace(with_machines(five("", {}), rule), networks=())
    links = tuple(
        replace(k, master="virbr0") if k.kind is LinkKind.VETH else k for k in docker.spaces["host"].links or ()
    )
    joined = docker.change("host", replace(docker.spaces["host"], links=links))
    assert not solved(joined.snapshot())[1], "a bridge that containers are on"


STOPPING = """*filter
:FORWARD ACCEPT [0:0]
-A FORWARD -p tcp -m tcp --dport 80 -j DROP
-A FORWARD -p udp -m udp --dport 53 -j REJECT
COMMIT
"""


@pytest.mark.parametrize(
    ("switches", "neighbours", "others"),
    [
        (
            {"net.bridge.bridge-nf-call-iptables": "", "net.ipv4.ip_forward": "1"},
            "icmp; tcp all but 80; tcp? 80; udp all but 53; udp? 53",
            "icmp; tcp all but 80; udp all but 53",
        ),
        (
            {"net.bridge.bridge-nf-call-iptables": "1", "net.ipv4.ip_forward": ""},
            "icmp; tcp all but 80; udp all but 53",
            "icmp?; tcp? all but 80; udp? all but 53",
        ),
    ],
)
def test_what_hangs_on_a_sysctl_that_was_not_captured_is_unknown(
    switches: dict[str, str], neighbours: str, others: str
) -> None:
    host = five(STOPPING, switches)
    assert assert_agreement(host) > 0
    decisions, zero = Decisions(solved(host.snapshot())[1]), host.netns_of("zero")
    found = [decisions.behaviour(zero, host.address(name)) for name in ("one", "two")]
    assert [behaviour.allowed.words for behaviour in found if behaviour is not None] == [neighbours, others]


PROXYING = {
    Family.IPV4: {"net.ipv4.conf.eth0.proxy_arp": "1", "net.ipv4.conf.default.proxy_arp": "1"},
    Family.IPV6: {"net.ipv6.conf.eth0.proxy_ndp": "1", "net.ipv6.conf.eth0.forwarding": "1"},
}


def proxying(host: Host) -> Host:
    """The host answers on its uplink for others, of whom some have addresses of the uplink's own network."""
    ipv4 = family_of(host) is Family.IPV4
    host = host.network("c", "192.0.2.64/26" if ipv4 else "2001:db8:1::4:0/112").container("within", "c")
    return replace(host, sysctls={**host.sysctls, **PROXYING[family_of(host)]})


@pytest.mark.parametrize("make", [five, five6])
def test_a_host_that_answers_for_others_on_its_uplink_alone(make: Callable[[str, dict[str, str]], Host]) -> None:
    host = proxying(make("", {}))
    assert assert_agreement(host, "within") > 0
    decisions, outside = Decisions(solved(host.snapshot())[1]), host.spaces["host"].links or ()
    uplink = next(a.ip for k in outside if k.name == "eth0" for a in k.addresses if not a.ip.is_link_local)
    assert decisions.behaviour(host.netns_of("zero"), host.address("within")) is not None
    assert decisions.behaviour(WORLD, uplink) is not None
    for name in ("all", "br-a"):
        switches = {key.replace("eth0", name): value for key, value in host.sysctls.items()}
        assert family_of(host) not in solved(replace(host, sysctls=switches).snapshot())[1]


@pytest.mark.apart
@FAMILIES
def test_random_rules_where_the_host_answers_for_others(family: Family) -> None:
    @settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(random_hosts(family), around)
    def agree(host: Host, beside: Callable[[Host], Host]) -> None:
        assert_agreement(proxying(beside(host)))

    agree()


def test_ports_of_bridges_that_may_not_call_iptables_are_left_to_the_interpreter() -> None:
    rule = "-A FORWARD -m physdev --physdev-is-bridged -p tcp -j DROP"
    host = five("", {"net.bridge.bridge-nf-call-iptables": ""}).rules(rule)
    found = Decisions(solved(host.snapshot())[1]).behaviour(host.netns_of("zero"), host.address("one"))
    assert found is None


def unknown_at_times(family: Family) -> st.SearchStrategy[Host]:
    """Hosts of random rules of which some sysctls were not captured: those are empty here."""
    switch = st.sampled_from(["1", "", "", "0"])
    if family is Family.IPV6:
        both = ("net.bridge.bridge-nf-call-ip6tables", "net.ipv6.conf.all.forwarding")
        return st.builds(five6, rules.iptables().map(rules.to_ip6), st.fixed_dictionaries(dict.fromkeys(both, switch)))
    named = ("net.bridge.bridge-nf-call-iptables", "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter")
    interfaces = tuple(f"net.ipv4.conf.{name}.forwarding" for name in ("br-a", "eth0"))
    of_each = st.fixed_dictionaries({"net.ipv4.ip_forward": st.just(""), **dict.fromkeys(interfaces, switch)})
    return st.builds(five, rules.iptables(), st.one_of(st.fixed_dictionaries(dict.fromkeys(named, switch)), of_each))


@pytest.mark.apart
@FAMILIES
def test_random_rules_where_sysctls_were_not_captured(family: Family) -> None:
    @settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(unknown_at_times(family), around)
    def agree(host: Host, beside: Callable[[Host], Host]) -> None:
        host = beside(host)
        assert_agreement(host)
        if family_of(host) is Family.IPV4:
            assert_fates(host.rules(PUBLISHED, "nat"))

    agree()


def test_where_the_hosts_rules_are_lost_what_would_meet_them_is_unknown() -> None:
    host = five("", {"net.bridge.bridge-nf-call-iptables": "0"})
    space = host.spaces["host"]
    lost = replace(space.ruleset, missing=MappingProxyType({TableFamily.IP: "not captured"}))
    host = host.change("host", replace(space, ruleset=lost))
    assert assert_agreement(host) > 0
    _, solutions = solved(host.snapshot())
    decisions, zero = Decisions(solutions), host.netns_of("zero")
    known = {name: decisions.behaviour(zero, host.address(name)) for name in ("one", "two")}
    assert [found.allowed.certain for found in known.values() if found is not None] == [True, False]
    assert decisions.taken(WORLD, Ip.parse("192.0.2.10")) is None


def unseen(host: Host, *names: str) -> Host:
    """Without the namespaces of some containers."""
    lost = [host.netns_of(name) for name in names]
    return replace(host, spaces=host.spaces | {netns: Netns(netns) for netns in lost})


def test_a_neighbour_that_was_not_captured_leaves_the_others_known() -> None:
    assert assert_agreement(unseen(five("", {}).container("unseen", "a"), "unseen"), "zero", "one") > 100


@pytest.mark.parametrize("make", [five, five6])
def test_what_gets_to_a_namespace_that_was_not_captured_is_unknown(make: Callable[[str, dict[str, str]], Host]) -> None:
    host = make("", {})
    there = host.address("two")
    stopped = f"*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -d {there} -p tcp -m tcp --dport 80 -j DROP\nCOMMIT\n"
    host = unseen(make(stopped, {}), "two", "both")
    assert_agreement(host)
    solutions = solved(host.snapshot())[1]
    decisions = Decisions(solutions)
    for netns in (host.netns_of("zero"), host.netns_of("three"), "host"):
        behaviour = decisions.behaviour(netns, there)
        assert behaviour is not None
        assert behaviour.allowed.icmp is None
        assert behaviour.allowed.tcp.ranges == ()
        assert (80 in behaviour.allowed.unknown_tcp) == (netns != host.netns_of("zero")), (
            "of a neighbour nothing is known"
        )
    assert not any(decisions.behaviour(host.netns_of("two"), port.address) for port in ports_of(solutions))


@pytest.mark.apart
@FAMILIES
def test_random_rules_where_namespaces_were_not_captured(family: Family) -> None:
    @settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(random_hosts(family), st.sets(st.sampled_from(NAMES), min_size=1, max_size=3))
    def agree(host: Host, lost: set[str]) -> None:
        host = unseen(host, *sorted(lost))
        assert_agreement(host)
        if family_of(host) is Family.IPV4:
            assert_fates(host.rules(PUBLISHED, "nat"))

    agree()


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("-s 10.201.0.0/16 -o eth0 -j SNAT --to-source 192.0.2.10", True),
        ("-s 10.201.1.0/24 -o br-b -j SNAT --to-source 10.201.2.1", True),
        ("-s 10.201.1.0/24 ! -o br-a -j SNAT --to-source 192.0.2.10", False),
        ("-s 10.201.1.0/24 -o br-b -j SNAT --to-source 10.201.2.1-10.201.2.2", False),
        ("-s 10.201.1.0/24 -o br-b -p udp -j SNAT --to-source 10.201.2.1:1024-2048", False),
        ("-s 10.201.1.0/24 -o br-b -j SNAT --to-source 10.201.2.1 --random", False),
        ("-s 10.201.1.0/24 -o br-b -j SNAT --to-source 10.201.2.12", False),
    ],
)
def test_source_nat_to_the_hosts_address_on_the_link_is_what_masquerading_is(rule: str, told: bool) -> None:
    host = five("", {}).rules(f"-A POSTROUTING {rule}", "nat")
    assert_agreement(host)
    decisions = Decisions(solved(host.snapshot())[1])
    called = [
        host.address("two"),
        *(port.address for port in ports_of(solved(host.snapshot())[1]) if port.netns == WORLD),
    ]
    assert all((decisions.behaviour(host.netns_of("zero"), ip) is not None) for ip in called) == told
