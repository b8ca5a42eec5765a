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


def test_no_fix_is_made_up() -> None:
    host = Host().network("a", "10.1.0.0/24").container("web", "a").container("gone", "a", status="exited")
    assert explain(host.snapshot(), "web", "gone").fixes == ()
