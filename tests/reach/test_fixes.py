"""Every fix that is offered does what it says, on the model."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.model.reasons import Reachability
from diag.reach.explanation import explain
from tests.hosts import Host
from tests.loading import analysis_of

RANK = {Reachability.UNREACHABLE: 0, Reachability.UNKNOWN: 0, Reachability.PARTIAL: 1, Reachability.REACHABLE: 2}


@pytest.mark.parametrize("name", ["seed-d20", "internal_icc-d28", "published-d29"])
def test_offered_fixes_improve_their_pair(name: str) -> None:
    offered = 0
    for group in analysis_of(name).groups:
        for path in group.paths:
            for fix in path.fixes:
                offered += 1
                assert RANK[fix.effect] > RANK[group.reachability]
                assert group.example in fix.opens
                assert "\n" not in fix.command
    assert offered


def test_forwarding() -> None:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24").container("web", "a").container("db", "b")
    result = explain(host.sysctl(net__ipv4__ip_forward="0").snapshot(), "web", "db")
    assert "sysctl -w net.ipv4.ip_forward=1" in [f.command for f in result.fixes]


def test_a_bridge_that_is_down() -> None:
    host = Host().network("a", "10.1.0.0/24").container("web", "a").container("db", "a")
    space = host.spaces["host"]
    down = tuple(replace(k, up=False) if k.name == "br-a" else k for k in space.links or ())
    result = explain(host.change("host", replace(space, links=down)).snapshot(), "web", "db")
    assert [f.command for f in result.fixes] == ["ip link set dev br-a up"]


def test_an_accept_before_a_firewall_rule() -> None:
    host = Host().network("a", "10.1.0.0/24").container("web", "a").container("db", "a")
    rules = ":DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"
    result = explain(host.rules(rules + "-A FORWARD -s 10.1.0.10/32 -j DROP").snapshot(), "web", "db")
    assert result.fixes[0].command == "iptables -I DOCKER-USER -s 10.1.0.10 -d 10.1.0.11 -j ACCEPT"
    assert result.fixes[0].opens == (("web", "db"),)


DOCKER_USER = (
    ":DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"
)
STOPPED = [
    (("-p tcp -m tcp --dport 5432 -j DROP",), "-p tcp --dport 5432 "),
    (("-p udp -m udp --dport 53 -j REJECT",), "-p udp --dport 53 "),
    (
        ("-p tcp -m tcp --dport 80 -j DROP", "-p tcp --dport 9000:9010 -j REJECT"),
        "-p tcp -m multiport --dports 80,9000:9010 ",
    ),
    (("-p tcp -j DROP",), "-p tcp "),
    (("-p icmp -j DROP",), "-p icmp "),
    (("-p icmp -j DROP", "-p tcp --dport 80 -j DROP"), ""),
    (tuple(f"-p tcp --dport {port} -j DROP" for port in range(100, 140, 2)), ""),
]


@pytest.mark.parametrize(("lines", "options"), STOPPED)
def test_what_a_rule_stops_of_a_pair_is_accepted_and_nothing_else(lines: tuple[str, ...], options: str) -> None:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24")
    host = host.container("web", "a").container("db", "a", "b").container("other", "b")
    rules = "".join(f"-A FORWARD -s 10.1.0.10/32 {line}\n" for line in lines)
    fix, *_ = explain(host.rules(DOCKER_USER + rules).snapshot(), "web", "db").fixes
    assert fix.command == f"iptables -I DOCKER-USER -s 10.1.0.10 -d 10.1.0.11 {options}-j ACCEPT"
    assert (fix.effect, fix.opens) == (Reachability.REACHABLE, (("web", "db"),))


def test_the_same_of_ipv6() -> None:
    host = Host().network("a", "fd00:1::/64").container("web", "a").container("db", "a")
    rule = "-A FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j DROP"
    text = f"*filter\n:FORWARD ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n{rule}\nCOMMIT\n"
    fix, *_ = explain(replace(host, ip6tables=text).snapshot(), "web", "db").fixes
    assert fix.command == "ip6tables -I DOCKER-USER -s fd00:1::10 -d fd00:1::11 -p ipv6-icmp -j ACCEPT"


@pytest.mark.parametrize(("name", "chain"), [("web", "OUTPUT"), ("db", "INPUT")])
def test_a_rule_inside_a_container_is_met_there(name: str, chain: str) -> None:
    host = Host().network("a", "10.1.0.0/24").container("web", "a").container("db", "a")
    host = host.guard(name, f"*filter\n:{chain} ACCEPT [0:0]\n-A {chain} -p tcp -m tcp --dport 5432 -j DROP\nCOMMIT\n")
    guarded = tuple(replace(c, pid=4711) if c.name == name else c for c in host.containers)
    fix, *_ = explain(replace(host, containers=guarded).snapshot(), "web", "db").fixes
    command = f"nsenter -t 4711 -n iptables -I {chain} -s 10.1.0.10 -d 10.1.0.11 -p tcp --dport 5432 -j ACCEPT"
    assert (fix.command, fix.note) == (command, f"Lasts until {name} restarts.")


def test_no_fix_is_made_up() -> None:
    host = Host().network("a", "10.1.0.0/24").container("web", "a").container("gone", "a", status="exited")
    assert explain(host.snapshot(), "web", "gone").fixes == ()
