"""Checks of what network drivers need or leave out."""

from __future__ import annotations

from typing import Any

from tests.altered import Change, altered_snapshot, container, instead, items, link_facts
from tests.findings.asking import every_finding, found, only
from tests.loading import snapshot_of

MACVLAN, OVERLAY = "macvlan-d29", "overlay_A-d29"


def publishes(name: str) -> Change:
    return container(
        name, lambda c: c["HostConfig"].update(PortBindings={"80/tcp": [{"HostIp": "", "HostPort": "8080"}]})
    )


def test_a_published_port_of_macvlan() -> None:
    finding = only(list(every_finding(altered_snapshot(MACVLAN, publishes("m1")))))
    assert (finding.code, finding.subject) == ("published-without-effect", "m1")
    assert finding.evidence[0].text == "container m1"


def test_a_container_on_a_bridge_too() -> None:
    assert not found(altered_snapshot(MACVLAN, publishes("b1")), "published-without-effect")


def test_a_parent_that_is_down() -> None:
    finding = only(
        list(every_finding(altered_snapshot(MACVLAN, link_facts("host", "par0", flags=["BROADCAST", "MULTICAST"]))))
    )
    assert (finding.code, finding.subject) == ("parent-down", "mv")
    assert "par0" in finding.evidence[0].text


def test_a_parent_that_is_gone() -> None:
    def remove(links: list[Any]) -> None:
        links[:] = [x for x in links if x["ifname"] != "par1"]

    finding = only(found(altered_snapshot(MACVLAN, items("host/ip-addr.json", remove)), "parent-down"))
    assert finding.subject == "mvp"
    assert not every_finding(snapshot_of(MACVLAN))


def test_swarm_traffic_that_is_dropped() -> None:
    drop = instead(
        "host/iptables-save.txt",
        "-A FORWARD -j DOCKER-USER",
        "-A INPUT -p udp --dport 4789 -j DROP\n-A FORWARD -j DOCKER-USER",
    )
    finding = only(list(every_finding(altered_snapshot(OVERLAY, drop))))
    assert (finding.code, finding.subject) == ("swarm-port-blocked", "4789/udp")
    assert "--dport 4789 -j DROP" in finding.evidence[0].text


def test_swarm_traffic_of_other_hosts_that_is_accepted() -> None:
    lines = "-A INPUT -s 10.254.0.2/32 -j ACCEPT\n-A INPUT -p udp --dport 4789 -j DROP\n-A FORWARD -j DOCKER-USER"
    assert not every_finding(
        altered_snapshot(OVERLAY, instead("host/iptables-save.txt", "-A FORWARD -j DOCKER-USER", lines))
    )
