"""Others' bridges and tunnels."""

from __future__ import annotations

from tests.altered import RULES, UPLINK, instead, link, without
from tests.findings.cases import CASES, DROPPED, LIBVIRT, case, findings_of

CODE = "foreign-bridge-cut-off"


def test_virtual_machines_without_a_way_out() -> None:
    (found,) = findings_of(CODE, CASES[CODE][0])
    assert found.evidence[0].text == ":FORWARD DROP [0:0]"
    assert found.evidence[1].text.split()[1] == "virbr0"
    assert found.command == "iptables -I DOCKER-USER -i virbr0 -j ACCEPT"


def test_bridges_that_are_not_meant_to_be_routed() -> None:
    assert findings_of(CODE, case("seed-d29", *UPLINK, *LIBVIRT)) == []
    unmasked = without(RULES, "-A POSTROUTING -s 192.168.122.0/24")
    assert findings_of(CODE, case("seed-d29", *UPLINK, *LIBVIRT, DROPPED, unmasked)) == []
    assert findings_of(CODE, case("seed-d29", *UPLINK, *LIBVIRT[:1], *LIBVIRT[2:], DROPPED)) == []


def test_counters_of_drops_before_routing() -> None:
    (found,) = findings_of("direct-access-dropped", CASES["direct-access-dropped"][0])
    assert found.text.startswith("7 packets to 172.17.0.4 of mysql1 that did not come over its bridge were dropped")
    assert found.text.endswith("this host also has virbr0, vnet0.")


def test_no_counters_no_finding() -> None:
    counted = instead(RULES, "[0:0] -A PREROUTING -d 172.17.0.4/32", "-A PREROUTING -d 172.17.0.4/32")
    assert findings_of("direct-access-dropped", case("seed-d29", link("flannel.1", "vxlan"), counted)) == []
