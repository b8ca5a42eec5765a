"""Checks of interfaces."""

from __future__ import annotations

from typing import Any

from tests.altered import Change, altered_snapshot, first_route, instead, items, link_facts
from tests.findings.asking import bridge_of, every_finding, found, only, veth_of
from tests.loading import snapshot_of

SEED, BROKEN, MACVLAN, OVERLAY = "seed-d29", "broken_links-d20", "macvlan-d29", "overlay_A-d29"


def test_a_link_on_no_bridge() -> None:
    finding = only(found(snapshot_of(BROKEN), "veth-without-bridge"))
    assert finding.subject == "nomaster (net)"
    veth = veth_of(BROKEN, "nomaster")
    assert veth in finding.evidence[0].text
    assert finding.command == f"ip link set dev {veth} master {bridge_of(BROKEN, 'net')}"


def test_a_link_on_the_wrong_bridge() -> None:
    finding = only(
        list(every_finding(altered_snapshot(SEED, link_facts("host", veth_of(SEED, "ng1"), master="docker0"))))
    )
    assert (finding.code, finding.subject) == ("veth-on-wrong-bridge", "ng1 (test_net1)")
    assert finding.command.endswith(f" master {bridge_of(SEED, 'test_net1')}")


def test_what_is_down() -> None:
    findings = {f.subject: f for f in found(snapshot_of(BROKEN), "interface-down")}
    assert findings.keys() == {"downbr", "ethdown (net)", "vethdown (net)"}
    assert findings["downbr"].command == f"ip link set dev {bridge_of(BROKEN, 'downbr')} up"
    assert findings["vethdown (net)"].evidence[0].file == "host/ip-addr.json"
    assert not findings["ethdown (net)"].command  # its default route would not come back


def gone(*bridges: str) -> list[Change]:
    """The bridges, and with them the places of their ports."""

    def released(links: list[Any]) -> None:
        links[:] = [x for x in links if x["ifname"] not in bridges]
        for each in links:
            if each.get("master") in bridges:
                del each["master"]

    def unlisted(ports: list[Any]) -> None:
        ports[:] = [x for x in ports if x["master"] not in bridges]

    return [items("host/ip-addr.json", released), items("host/bridge-link.json", unlisted)]


def test_a_bridge_that_is_gone() -> None:
    finding = only(list(every_finding(altered_snapshot(SEED, *gone(bridge_of(SEED, "test_net2"))))))
    assert (finding.code, finding.subject) == ("bridge-missing", "test_net2")
    assert finding.evidence[0].text == "network test_net2"


def test_bridges_elsewhere_are_not_missing() -> None:
    """Rootless Docker has its bridges in a namespace of its own."""
    elsewhere = gone(*(n.bridge_name for n in snapshot_of(SEED).networks if n.driver == "bridge"))
    assert not every_finding(altered_snapshot(SEED, *elsewhere))


def test_a_bridge_without_its_address() -> None:
    bridge = bridge_of(SEED, "test_net1")
    finding = only(list(every_finding(altered_snapshot(SEED, link_facts("host", bridge, addr_info=[])))))
    assert (finding.code, finding.subject) == ("bridge-without-address", "test_net1")
    assert finding.command == f"ip address add 172.18.0.1/16 dev {bridge}"


def test_a_gateway_that_only_the_containers_name() -> None:
    """Docker 20.10 lists none for a subnet that it chose."""
    finding = only(
        found(
            altered_snapshot(BROKEN, link_facts("host", bridge_of(BROKEN, "net"), addr_info=[])),
            "bridge-without-address",
        )
    )
    assert finding.command.startswith("ip address add 10.90.0.1/24 dev ")


def test_links_that_a_manager_configures() -> None:
    info = [{"family": "inet", "local": "169.254.77.1", "prefixlen": 16, "scope": "global"}]
    finding = only(
        list(every_finding(altered_snapshot(SEED, link_facts("host", veth_of(SEED, "ng1"), addr_info=info))))
    )
    assert (finding.code, finding.subject) == ("veth-managed", "ng1 (test_net1)")


def test_packets_too_large_for_the_uplink() -> None:
    out = first_route("host", dst="default", gateway="10.60.0.1", dev="par0")
    finding = only(list(every_finding(altered_snapshot(MACVLAN, out, link_facts("host", "par0", mtu=1450)))))
    assert (finding.code, finding.subject) == ("mtu-above-uplink", "par0")
    assert "both" in finding.text
    assert "1450" in finding.text
    assert not every_finding(altered_snapshot(MACVLAN, out))
    clamped = instead(
        "host/iptables-save.txt",
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu\n-A FORWARD -j DOCKER-USER",
    )
    assert not every_finding(altered_snapshot(MACVLAN, out, link_facts("host", "par0", mtu=1450), clamped))


def test_overlay_packets_too_large_for_the_link() -> None:
    finding = only(list(every_finding(altered_snapshot(OVERLAY, link_facts("host", "eth0", mtu=1450)))))
    assert (finding.code, finding.subject) == ("overlay-mtu", "eth0")
    assert not every_finding(snapshot_of(OVERLAY))


def test_ends_that_differ() -> None:
    finding = only(list(every_finding(altered_snapshot(SEED, link_facts("host", veth_of(SEED, "ng1"), mtu=1400)))))
    assert (finding.code, finding.subject) == ("mtu-differs", "ng1 (test_net1)")
    assert not every_finding(altered_snapshot(SEED, link_facts("containers/ng1", "eth0", mtu=1400)))
