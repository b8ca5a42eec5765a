"""Checks of published ports."""

from __future__ import annotations

from typing import Any

import pytest

from diag.findings.registry import find_all
from diag.reach.analysis import analyse
from tests.altered import (
    Change,
    absent,
    altered_snapshot,
    container,
    first_route,
    instead,
    items,
    listening,
    more,
    silent,
    status,
    without,
)
from tests.findings.asking import bridge_of, every_finding, found, only
from tests.loading import snapshot_of

NEW, OLD = "published-d29", "published-d20"


def test_a_service_on_loopback() -> None:
    finding = only(list(every_finding(altered_snapshot(NEW, listening("containers/pub_any", "127.0.0.1", 80)))))
    assert (finding.code, finding.subject) == ("listens-on-loopback", "pub_any 80/tcp")
    assert "0100007F:0050" in finding.evidence[0].text


def test_a_service_on_loopback_and_elsewhere() -> None:
    both = (listening("containers/pub_any", ip, 80) for ip in ("127.0.0.1", "172.18.0.2"))
    assert not every_finding(altered_snapshot(NEW, *both))


def test_a_service_behind_a_redirect() -> None:
    """Of a proxy in the container."""
    nat = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 15006\nCOMMIT\n"
    edits = (listening("containers/pub_any", "127.0.0.1", 80), more("containers/pub_any/iptables-save.txt", nat))
    assert not every_finding(altered_snapshot(NEW, *edits))


def test_another_port_is_listened_on() -> None:
    finding = only(list(every_finding(altered_snapshot(NEW, listening("containers/pub_any", "0.0.0.0", 3000)))))
    assert (finding.code, finding.subject) == ("published-port-unused", "pub_any")
    assert "3000" in finding.text
    assert not every_finding(
        altered_snapshot(NEW, *(listening("containers/pub_any", "0.0.0.0", port) for port in (80, 3000)))
    )


def test_sockets_of_ipv6_take_ipv4_too() -> None:
    """Where they were not captured, nobody can tell who listens."""
    unseen = absent("containers/pub_any/proc-net-tcp6.txt")
    assert not every_finding(altered_snapshot(NEW, listening("containers/pub_any", "0.0.0.0", 3000), unseen))
    assert not every_finding(altered_snapshot(NEW, silent(8080), NO_RULE, absent("host/proc-net-tcp6.txt")))


NO_RULE = without("host/iptables-save.txt", "--dport 8080", "DNAT")


def test_a_port_that_nothing_takes() -> None:
    finding = only(list(every_finding(altered_snapshot(NEW, silent(8080), NO_RULE))))
    assert (finding.code, finding.subject) == ("published-port-lost", "pub_any 80/tcp")
    assert finding.evidence[0].text == "container pub_any"


@pytest.mark.parametrize("edit", [silent(8080), NO_RULE], ids=["rule", "proxy"])
def test_a_port_that_one_of_the_two_takes(edit: Change) -> None:
    assert not every_finding(altered_snapshot(NEW, edit))


def test_ports_of_the_nftables_backend_are_taken() -> None:
    assert not every_finding(altered_snapshot("published-d29nft", silent(8080)))


def test_an_address_that_the_host_lost() -> None:
    away = instead("docker/containers.json", '"HostIp": "172.19.0.1"', '"HostIp": "192.168.7.7"')
    finding = only(list(every_finding(altered_snapshot(NEW, away))))
    assert (finding.code, finding.subject) == ("published-address-gone", "pub_gw 192.168.7.7:8082/tcp")
    local = first_route("host", type="local", dst="192.168.7.7", dev="lo", table="local", scope="host")
    assert not every_finding(altered_snapshot(NEW, away, local))


def wants(port: str) -> Change:
    return container("onhost", lambda c: c["Config"].update(ExposedPorts={port: {}}))


def test_a_port_that_another_has_taken() -> None:
    findings = found(
        altered_snapshot("seed-d29", status("onhost", "restarting"), wants("8080/tcp")), "port-taken-in-shared-stack"
    )
    assert only(findings).subject == "onhost 8080/tcp"
    assert not found(
        altered_snapshot("seed-d29", status("onhost", "restarting"), wants("81/tcp")), "port-taken-in-shared-stack"
    )
    assert not every_finding(altered_snapshot("seed-d29", wants("8080/tcp")))


def test_no_way_back_out_of_the_same_port() -> None:
    """As without docker-proxy: rules without `! -i`, and hairpin off."""
    rule = instead("host/iptables-save.txt", f"-A DOCKER ! -i {bridge_of(NEW, 'neta')} -p tcp", "-A DOCKER -p tcp")
    finding = only(list(every_finding(altered_snapshot(NEW, silent(8080), rule))))
    assert (finding.code, finding.subject) == ("no-hairpin", "pub_any 80/tcp")
    on = items("host/bridge-link.json", lambda ports: [port.update(hairpin=True) for port in ports])
    assert not every_finding(altered_snapshot(NEW, silent(8080), rule, on))


def test_a_firewall_in_the_container() -> None:
    drop = "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n"
    finding = only(list(every_finding(altered_snapshot(NEW, more("containers/pub_any/iptables-save.txt", drop)))))
    assert (finding.code, finding.subject) == ("container-firewall-blocks-port", "pub_any 80/tcp")
    assert finding.evidence[0].file.endswith("/iptables-save.txt")
    accept = drop.replace("COMMIT", "-A INPUT -p tcp --dport 80 -j ACCEPT\nCOMMIT")
    assert not every_finding(altered_snapshot(NEW, more("containers/pub_any/iptables-save.txt", accept)))


def shut(rule: str = "") -> list[Change]:
    """A host whose INPUT drops, a service of its own, and a container that is to call it."""
    return [
        container("client_a", lambda c: c["HostConfig"].update(ExtraHosts=["host.docker.internal:host-gateway"])),
        listening("host", "0.0.0.0", 9100),
        more("host/iptables-legacy-save.txt", f"*filter\n:INPUT DROP [0:0]\n{rule}COMMIT\n"),
    ]


def test_a_host_that_shuts_out_who_is_to_call_it() -> None:
    findings = find_all(analyse(altered_snapshot(NEW, *shut())))
    finding = only([f for f in findings if f.code == "host-firewall-blocks-containers"])
    assert finding.subject == "@host"
    assert "client_a" in finding.text
    assert finding.evidence[0].file == "host/iptables-legacy-save.txt"


@pytest.mark.apart
def test_a_host_that_lets_them_in() -> None:
    findings = find_all(analyse(altered_snapshot(NEW, *shut("-A INPUT -p tcp --dport 9100 -j ACCEPT\n"))))
    assert not [f for f in findings if f.code == "host-firewall-blocks-containers"]


UPLINK = {
    "ifindex": 99,
    "ifname": "eth9",
    "flags": ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
    "mtu": 1500,
    "address": "02:00:00:00:00:99",
    "addr_info": [{"family": "inet", "local": "192.0.2.10", "prefixlen": 24, "scope": "global"}],
}


def outside() -> list[Change]:
    """A NIC with a default route."""

    def add(links: list[Any]) -> None:
        links.append(UPLINK)

    return [
        items("host/ip-addr.json", add),
        first_route("host", dst="default", gateway="192.0.2.1", dev="eth9"),
        first_route("host", dst="192.0.2.0/24", dev="eth9", scope="link"),
        first_route("host", type="local", dst="192.0.2.10", dev="eth9", table="local", scope="host"),
    ]


def test_a_port_on_loopback_that_is_open_to_the_link() -> None:
    finding = only(list(every_finding(altered_snapshot(OLD, *outside()))))
    assert (finding.code, finding.subject) == ("loopback-port-exposed", "pub_lo 80/tcp")
    assert "--dport 80" in finding.evidence[0].text


@pytest.mark.parametrize("capture", ["published-d28", "published-d29", "published-d29nft"])
def test_docker_28_closes_it(capture: str) -> None:
    assert not every_finding(altered_snapshot(capture, *outside()))


def test_a_rule_of_the_administrators_closes_it() -> None:
    rule = instead("host/iptables-save.txt", "-A DOCKER-USER -j RETURN", "-A DOCKER-USER -i eth9 -j DROP")
    assert not every_finding(altered_snapshot(OLD, *outside(), rule))
    assert not every_finding(snapshot_of(OLD))
