"""The walk through namespaces: bridges, routes, rules, NAT, replies."""

from __future__ import annotations

import json
from types import MappingProxyType

import pytest
from msgspec.structs import replace

from diag.model.address import Family, Ip, Prefix
from diag.model.docker import PublishedPort
from diag.model.netns import BridgePort, Link, Netns, Nexthop, Route, RouteType, Socket
from diag.model.reasons import Disposition, Reason, Symptom
from diag.parse.nft_json import parse_nft_json
from tests.hosts import Host

TWO = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24").container("web", "a").container("db", "b")
ONE = Host().network("a", "10.1.0.0/24").container("web", "a").container("db", "a")


def edit_link(host: Host, space: str, name: str, **changes: object) -> Host:
    found = host.spaces[host.netns_of(space)]
    links = tuple(replace(k, **changes) if k.name == name else k for k in found.links or ())
    return host.change(space, replace(found, links=links))


def edit_routes(host: Host, name: str, *routes: Route, keep: bool = True) -> Host:
    found = host.spaces[host.netns_of(name)]
    family = routes[0].destination.family if routes else Family.IPV4
    before = (found.routes[family] or ()) if keep else ()
    return host.change(name, replace(found, routes=MappingProxyType({**found.routes, family: (*before, *routes)})))


def host_veth(host: Host, name: str) -> Link:
    inside = next(k for k in host.spaces[host.netns_of(name)].links or () if k.name == "eth0")
    return next(k for k in host.spaces["host"].links or () if k.index == inside.peer_index)


def test_same_bridge() -> None:
    trace = ONE.send("web", "db", tcp=80)
    assert (trace.disposition, trace.reason) == (Disposition.DELIVERED, Reason.SAME_BRIDGE)
    assert trace.symptom is Symptom.ECONNREFUSED  # the capture shows that nothing listens


def test_a_listener_makes_it_ok() -> None:
    space = ONE.spaces[ONE.netns_of("db")]
    host = ONE.change("db", replace(space, sockets=(Socket("tcp", Ip.parse("0.0.0.0"), 80),)))
    assert host.send("web", "db", tcp=80).symptom is Symptom.OK
    assert host.send("web", "db", tcp=81).symptom is Symptom.ECONNREFUSED
    assert host.send("web", "db", udp=80).symptom is Symptom.ECONNREFUSED


def test_routed_between_networks_without_rules() -> None:
    trace = TWO.send("web", "db", tcp=80)
    assert (trace.disposition, trace.reason) == (Disposition.DELIVERED, Reason.ROUTED)


def test_isolation_rule_decides() -> None:
    host = TWO.rules(":STAGE - [0:0]\n-A FORWARD -i br-a ! -o br-a -j STAGE\n-A STAGE -o br-b -j DROP")
    trace = host.send("web", "db")
    assert (trace.disposition, trace.reason) == (Disposition.DROPPED, Reason.ISOLATION)
    assert trace.decided_by is not None
    assert trace.decided_by.text == "-A STAGE -o br-b -j DROP"
    assert trace.symptom is Symptom.TIMEOUT


def test_bridged_packets_meet_iptables_only_with_br_netfilter() -> None:
    host = ONE.rules("-A FORWARD -i br-a -o br-a -j DROP")
    assert host.send("web", "db").disposition is Disposition.DROPPED
    off = host.sysctl(**{"net__bridge__bridge-nf-call-iptables": "0"})
    assert off.send("web", "db").disposition is Disposition.DELIVERED


def test_forwarding_off() -> None:
    trace = TWO.sysctl(net__ipv4__ip_forward="0").send("web", "db", tcp=1)
    assert (trace.disposition, trace.reason) == (Disposition.DROPPED, Reason.IP_FORWARD_OFF)


def test_reply_must_come_back() -> None:
    host = TWO.rules("-A FORWARD -i br-b -o br-a -j DROP")
    trace = host.send("web", "db", tcp=80)
    assert (trace.disposition, trace.reason) == (Disposition.REPLY_LOST, Reason.REPLY_BLOCKED)
    established = TWO.rules(
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -i br-b -o br-a -j DROP"
    )
    assert established.send("web", "db", tcp=80).disposition is Disposition.DELIVERED
    assert established.send("db", "web", tcp=80).disposition is Disposition.DROPPED


@pytest.mark.parametrize(
    ("kind", "symptom"),
    [
        ("icmp-port-unreachable", Symptom.ECONNREFUSED),
        ("icmp-host-unreachable", Symptom.EHOSTUNREACH),
        ("icmp-admin-prohibited", Symptom.EHOSTUNREACH),
        ("icmp-net-unreachable", Symptom.ENETUNREACH),
        ("tcp-reset", Symptom.ECONNREFUSED),
    ],
)
def test_reject_kinds(kind: str, symptom: Symptom) -> None:
    trace = TWO.rules(f"-A FORWARD -p tcp -j REJECT --reject-with {kind}").send("web", "db", tcp=80)
    assert (trace.disposition, trace.reason) == (Disposition.REJECTED, Reason.FIREWALL_REJECT)
    assert trace.symptom is symptom


def test_a_reject_that_cannot_get_back_looks_like_a_drop() -> None:
    host = TWO.rules("-A FORWARD -j REJECT\n-A OUTPUT -p icmp -j DROP")
    assert host.send("web", "db", tcp=80).symptom is Symptom.TIMEOUT


@pytest.mark.parametrize(
    ("kind", "symptom"),
    [
        (RouteType.BLACKHOLE, Symptom.EINVAL),
        (RouteType.UNREACHABLE, Symptom.EHOSTUNREACH),
        (RouteType.PROHIBIT, Symptom.EACCES),
    ],
)
def test_special_routes_at_the_source(kind: RouteType, symptom: Symptom) -> None:
    host = edit_routes(TWO, "web", Route(Prefix.parse("10.2.0.0/16"), kind, "main"))
    trace = host.send("web", "db", tcp=80)
    assert (trace.disposition, trace.reason, trace.symptom) == (Disposition.NO_ROUTE, Reason.ROUTE_PROHIBITED, symptom)


def test_no_route() -> None:
    host = edit_routes(TWO, "web", keep=False)
    trace = host.send("web", "db", tcp=80)
    assert (trace.disposition, trace.symptom) == (Disposition.NO_ROUTE, Symptom.ENETUNREACH)


def test_link_down_in_the_host() -> None:
    host = edit_link(ONE, "host", host_veth(ONE, "db").name, up=False)
    trace = host.send("web", "db")
    assert (trace.disposition, trace.reason) == (Disposition.UNREACHABLE, Reason.LINK_DOWN)


def test_veth_without_master() -> None:
    host = edit_link(ONE, "host", host_veth(ONE, "db").name, master="")
    trace = host.send("web", "db")
    assert (trace.disposition, trace.reason) == (Disposition.UNREACHABLE, Reason.NO_BRIDGE_PORT)


def test_isolated_ports_do_not_talk() -> None:
    isolated = BridgePort("forwarding", False, True)
    host = edit_link(ONE, "host", host_veth(ONE, "db").name, port=isolated)
    assert host.send("web", "db").disposition is Disposition.DELIVERED
    host = edit_link(host, "host", host_veth(ONE, "web").name, port=isolated)
    assert host.send("web", "db").disposition is Disposition.UNREACHABLE


def test_wrong_address() -> None:
    wrong = Ip.parse("10.1.0.99")
    space = ONE.spaces[ONE.netns_of("db")]
    links = tuple(
        replace(k, addresses=(replace(k.addresses[0], ip=wrong),)) if k.name == "eth0" else k for k in space.links or ()
    )
    routes = tuple(
        replace(r, destination=Prefix.of(wrong, 32)) if r.type is RouteType.LOCAL and r.scope == "host" else r
        for r in space.routes[Family.IPV4] or ()
    )
    changed = replace(space, links=links, routes=MappingProxyType({Family.IPV4: routes}))
    trace = ONE.change("db", changed).send("web", "db")
    assert (trace.disposition, trace.reason) == (Disposition.UNREACHABLE, Reason.WRONG_ADDRESS)


def test_strict_reverse_path_filter() -> None:
    other = edit_routes(TWO, "host", Route(Prefix.parse("10.1.0.10/32"), RouteType.UNICAST, "main", (Nexthop("br-b"),)))
    trace = other.sysctl(net__ipv4__conf__all__rp_filter="1").send("web", "db")
    assert (trace.disposition, trace.reason) == (Disposition.DROPPED, Reason.RP_FILTER)


def test_published_port_by_dnat() -> None:
    nat = "-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.2.0.11:80"
    trace = TWO.rules(nat, "nat").send("web", Ip.parse("10.1.0.1"), tcp=8080)
    assert (trace.disposition, trace.reason) == (Disposition.DELIVERED, Reason.PUBLISHED_PORT)
    assert (str(trace.final_ip), trace.final_port) == ("10.2.0.11", 80)


def test_hairpin_needs_masquerade_or_br_netfilter() -> None:
    nat = "-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.11:80"
    host = ONE.rules(nat, "nat")
    assert host.send("web", Ip.parse("10.1.0.1"), tcp=8080).disposition is Disposition.DELIVERED
    off = host.sysctl(**{"net__bridge__bridge-nf-call-iptables": "0"})
    lost = off.send("web", Ip.parse("10.1.0.1"), tcp=8080)
    assert lost.disposition is Disposition.REPLY_LOST
    masquerade = ONE.rules(nat + "\n-A POSTROUTING -s 10.1.0.0/24 -d 10.1.0.0/24 -j MASQUERADE", "nat")
    masquerade = masquerade.sysctl(**{"net__bridge__bridge-nf-call-iptables": "0"})
    assert masquerade.send("web", Ip.parse("10.1.0.1"), tcp=8080).disposition is Disposition.DELIVERED


def test_udp_answers_from_the_address_of_its_route() -> None:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24")
    host = host.container("web", "a").container("db", "b", "a")
    assert host.send("web", "db", tcp=53, network="b").disposition is Disposition.DELIVERED
    lost = host.send("web", "db", udp=53, network="b")
    assert lost.disposition is Disposition.REPLY_LOST


def test_unknown_stands_only_where_both_ways_agree() -> None:
    opaque = "-A FORWARD -m string --algo bm --string x -j DROP"
    trace = TWO.rules(opaque).send("web", "db")
    assert (trace.disposition, trace.reason) == (Disposition.UNKNOWN, Reason.NOT_MODELLED)
    assert any("string" in cause for cause in trace.unknown_causes)
    assert TWO.rules(opaque + "\n-A FORWARD -j DROP").send("web", "db").disposition is Disposition.DROPPED
    logged = "-A FORWARD -m limit --limit 1/s -j LOG"
    assert TWO.rules(logged).send("web", "db").disposition is Disposition.DELIVERED


def test_rules_that_were_not_captured_are_unknown() -> None:
    space = TWO.spaces["host"]
    from diag.model.netfilter import Ruleset, TableFamily

    host = TWO.change("host", replace(space, ruleset=Ruleset(missing={TableFamily.IP: "no iptables-save"})))
    trace = host.send("web", "db")
    assert (trace.disposition, trace.reason) == (Disposition.UNKNOWN, Reason.NOT_CAPTURED)


def test_the_window_says_for_which_ports_a_trace_holds() -> None:
    host = TWO.rules("-A FORWARD -p tcp -m multiport --dports 80,443,8000:8100 -j ACCEPT\n-A FORWARD -i br-a -j DROP")
    assert host.send("web", "db", tcp=1).window == (0, 79)
    assert host.send("web", "db", tcp=80).window == (80, 80)
    assert host.send("web", "db", tcp=8050).window == (8000, 8100)
    assert host.send("web", "db", tcp=9000).window == (8101, 65535)


def test_own_output_rules() -> None:
    space = TWO.spaces[TWO.netns_of("web")]
    inner = Host().rules("-A OUTPUT -p udp -j DROP\n-A OUTPUT -p tcp -j DROP").snapshot().netns["host"].ruleset
    host = TWO.change("web", replace(space, ruleset=inner))
    assert host.send("web", "db", udp=53).symptom is Symptom.EPERM
    assert host.send("web", "db", tcp=53).symptom is Symptom.TIMEOUT


def test_a_container_on_the_hosts_network() -> None:
    host = TWO.container("onhost", mode="host")
    trace = host.send("web", Ip.parse("10.1.0.1"), tcp=80)
    assert (trace.disposition, trace.reason) == (Disposition.DELIVERED, Reason.HOST_NETNS)


def test_a_host_port_that_nobody_opened_is_refused() -> None:
    trace = TWO.send("web", Ip.parse("10.1.0.1"), tcp=80)
    assert (trace.disposition, trace.reason) == (Disposition.REJECTED, Reason.UNPUBLISHED_PORT)
    assert trace.symptom is Symptom.ECONNREFUSED


def test_what_docker_proxy_calls_decides_nothing_for_a_tcp_caller() -> None:
    """It is connected before: what is unknown of the proxy's own connection is not tried out."""
    unknown = "\n".join(
        f"-A OUTPUT -o br-a -m geoip --source-country X{n} -j MARK --set-xmark 0x{n}" for n in range(1, 9)
    )
    host = ONE.rules(f"{unknown}\n-A OUTPUT -m mark --mark 0x3 -j DROP", "mangle")
    containers = tuple(replace(c, ports=(PublishedPort(80, "tcp", 8080),)) for c in host.containers if c.name == "web")
    space = replace(host.spaces["host"], sockets=(Socket("tcp", Ip.parse("0.0.0.0"), 8080),))
    host = replace(host, containers=(*containers, host.containers[1])).change("host", space).network("b", "10.2.0.0/24")
    host = host.container("client", "b")
    trace = host.send("client", Ip.parse("10.2.0.1"), tcp=8080)
    assert (trace.disposition, trace.reason) == (Disposition.DELIVERED, Reason.DOCKER_PROXY)


def test_forwarding_loop_ends() -> None:
    space = TWO.spaces["host"]
    routes = (*(space.routes[Family.IPV4] or ()),)
    assert isinstance(space, Netns)
    way = Route(Prefix.parse("192.0.2.0/24"), RouteType.UNICAST, "main", (Nexthop("br-a", Ip.parse("10.1.0.10")),))
    host = TWO.change("host", replace(space, routes=MappingProxyType({Family.IPV4: (*routes, way)})))
    web = host.spaces[host.netns_of("web")]
    host = host.change("web", replace(web, sysctl=MappingProxyType({"net.ipv4.ip_forward": "1"})))
    trace = host.send("db", Ip.parse("192.0.2.1"))
    assert trace.disposition is Disposition.DROPPED


def with_table(host: Host, name: str, family: str, chain: dict[str, object], *expr: dict[str, object]) -> Host:
    """The host with one nft chain in the namespace of a container, or in its own."""
    where = {"family": family, "table": "t"}
    listing = {
        "nftables": [
            {"chain": {**where, "name": "c", "type": "filter", "prio": 0, **chain}},
            {"rule": {**where, "chain": "c", "expr": [*expr, {"drop": None}]}},
        ]
    }
    tables = parse_nft_json(json.dumps(listing).encode(), "nft-ruleset.json").value
    space = host.spaces[host.netns_of(name) if name != "host" else "host"]
    return host.change(name, replace(space, ruleset=replace(space.ruleset, tables=tables)))


@pytest.mark.parametrize(
    ("where", "family", "chain"),
    [
        ("host", "bridge", {"hook": "forward"}),
        ("host", "bridge", {"hook": "prerouting"}),
        ("db", "arp", {"hook": "input"}),
        ("db", "netdev", {"hook": "ingress", "dev": "eth0"}),
    ],
)
def test_rules_below_layer_3_stop_the_question_for_the_address(
    where: str, family: str, chain: dict[str, object]
) -> None:
    trace = with_table(ONE, where, family, chain).send("web", "db")
    assert (trace.disposition, trace.symptom) == (Disposition.UNREACHABLE, Symptom.EHOSTUNREACH)
    assert trace.reason is Reason.FIREWALL_DROP
    assert trace.decided_by is not None
    assert trace.decided_by.file == "nft-ruleset.json"


def test_rules_of_a_bridge_see_frames_where_br_netfilter_is_off() -> None:
    ports: dict[str, object] = {
        "match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 5432}
    }
    host = with_table(
        ONE.sysctl(**{"net.bridge.bridge-nf-call-iptables": "0"}), "host", "bridge", {"hook": "forward"}, ports
    )
    assert host.send("web", "db", tcp=5432).disposition is Disposition.DROPPED
    assert host.send("web", "db", tcp=80).disposition is Disposition.DELIVERED


def test_a_chain_whose_device_is_not_shown_makes_it_unknown() -> None:
    trace = with_table(ONE, "db", "netdev", {"hook": "ingress"}).send("web", "db")
    assert trace.disposition is Disposition.UNKNOWN
    assert any("attached to eth0" in cause for cause in trace.unknown_causes)


def test_what_is_not_modelled_stays_so_whatever_the_rule_says() -> None:
    rule = '-A FORWARD -m string --algo bm --string "not captured" -j DROP'
    trace = TWO.rules(rule).send("web", "db", tcp=80)
    assert (trace.disposition, trace.reason) == (Disposition.UNKNOWN, Reason.NOT_MODELLED)


def asking_on_its_link(host: Host) -> Host:
    """`web` takes `db`, which is on the other network, for a neighbour."""
    db = host.address("db")
    return edit_routes(host, "web", Route(Prefix.of(db, db.family.bits), RouteType.UNICAST, "main", (Nexthop("eth0"),)))


def test_proxy_arp() -> None:
    host = asking_on_its_link(TWO)
    assert host.send("web", "db").reason is Reason.NO_NEIGHBOUR
    assert host.sysctl(net__ipv4__conf__all__proxy_arp="1").send("web", "db").disposition is Disposition.DELIVERED


def test_proxy_arp_of_whom_it_is_not_known_where_to_it_forwards() -> None:
    host = asking_on_its_link(TWO).sysctl(net__ipv4__conf__all__proxy_arp="1")
    space = host.spaces["host"]
    lost = host.change("host", replace(space, routes=MappingProxyType({**space.routes, Family.IPV4: None})))
    silent = host.change("host", replace(space, sysctl=MappingProxyType({})))
    for unknown in (lost, silent):
        trace = unknown.send("web", "db")
        assert trace.disposition is Disposition.UNKNOWN
        assert "proxy ARP" in " ".join(trace.unknown_causes)


def test_proxies_of_ipv6_are_in_no_capture() -> None:
    networks = Host().network("a", "fd00:a::/64").network("b", "fd00:b::/64")
    host = asking_on_its_link(networks.container("web", "a").container("db", "b"))
    assert host.send("web", "db").reason is Reason.NO_NEIGHBOUR
    switched_on = host.sysctl(**{"net.ipv6.conf.br-a.proxy_ndp": "1"})
    trace = switched_on.send("web", "db")
    assert trace.disposition is Disposition.UNKNOWN
    assert "proxy NDP" in " ".join(trace.unknown_causes)
    assert switched_on.send("web", Ip.parse("fd00:a::1")).disposition is Disposition.DELIVERED
    no_router = switched_on.sysctl(**{"net.ipv6.conf.br-a.forwarding": "0"})
    assert no_router.send("web", "db").reason is Reason.NO_NEIGHBOUR
    elsewhere = host.sysctl(**{"net.ipv6.conf.eth7.proxy_ndp": "1"})
    assert elsewhere.send("web", "db").reason is Reason.NO_NEIGHBOUR
