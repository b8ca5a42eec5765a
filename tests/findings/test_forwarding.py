"""Switches that decide forwarding."""

from __future__ import annotations

from tests.altered import RULES6, instead, without
from tests.findings.cases import CASES, SYSCTLS, case, findings_of


def test_each_switch_is_cited_and_can_be_set() -> None:
    for code, command in (
        ("forwarding-disabled", "sysctl -w net.ipv4.ip_forward=1"),
        ("ipv6-forwarding-disabled", "sysctl -w net.ipv6.conf.all.forwarding=1"),
    ):
        (found,) = findings_of(code, CASES[code][0])
        assert found.command == command
        assert found.evidence[0].text == command.removeprefix("sysctl -w ").replace("=1", " = 0")


def test_one_bridge_that_does_not_forward() -> None:
    (found,) = findings_of("bridge-forwarding-disabled", CASES["bridge-forwarding-disabled"][0])
    assert found.evidence[0].text == found.command.removeprefix("sysctl -w ").replace("=1", " = 0")


def test_ipv6_that_docker_does_not_filter() -> None:
    found = findings_of("ipv6-not-filtered", CASES["ipv6-not-filtered"][0])
    assert [line.text for line in found[0].evidence] == ["network six", "net.ipv6.conf.all.forwarding = 1"]


def test_ipv6_that_others_filter_or_nobody_captured() -> None:
    closed = instead(RULES6, "-A FORWARD -p tcp -m tcp --dport 9999 -j DROP", "-A FORWARD -i eth0 -j DROP")
    assert findings_of("ipv6-not-filtered", case("ipv6-d20", closed)) == []
    assert findings_of("ipv6-not-filtered", case("ipv6-d20", without(SYSCTLS, "ipv6.conf.all.forwarding"))) == []
