"""Checks of routes."""

from __future__ import annotations

import pytest

from diag.findings.registry import find_all
from diag.reach.analysis import analyse
from tests.altered import altered_snapshot, first_route, instead, link_facts
from tests.findings.asking import every_finding, found, only, veth_of
from tests.loading import snapshot_of

SEED, BROKEN = "seed-d29", "broken_links-d20"
STRICT = instead("host/sysctl.txt", "net.ipv4.conf.all.rp_filter = 0", "net.ipv4.conf.all.rp_filter = 1")


def test_a_default_route_into_a_container() -> None:
    veth = veth_of(SEED, "ng1")
    finding = only(
        found(
            altered_snapshot(SEED, first_route("host", dst="default", dev=veth, scope="link", metric=205)),
            "default-route-through-veth",
        )
    )
    assert finding.subject == "ng1 (test_net1)"
    assert finding.command == f"ip route del default dev {veth} metric 205"
    assert finding.evidence[0].file == "host/ip-route.json"


def test_a_default_route_by_a_link_of_the_hosts_own() -> None:
    assert not found(
        altered_snapshot("macvlan-d29", first_route("host", dst="default", dev="par0", gateway="10.60.0.1")),
        "default-route-through-veth",
    )


def test_no_way_out() -> None:
    finding = only(found(snapshot_of(BROKEN), "no-default-route"))
    assert finding.subject == "nogw"
    assert finding.evidence[0].file.endswith("/ip-route.json")


def test_a_way_out_by_other_routes() -> None:
    """As a VPN client has it, or its kill switch."""
    half = [first_route("containers/nogw", dst=half, dev="tun0") for half in ("0.0.0.0/1", "128.0.0.0/1")]
    assert not found(altered_snapshot(BROKEN, *half), "no-default-route")
    assert not found(
        altered_snapshot(BROKEN, first_route("containers/nogw", type="blackhole", dst="default")), "no-default-route"
    )


def test_an_internal_network_leads_nowhere() -> None:
    for name in ("internal_icc-d20", "internal_icc-d29"):
        assert not every_finding(snapshot_of(name))


def test_no_route_to_the_own_network() -> None:
    finding = only(found(snapshot_of(BROKEN), "no-subnet-route"))
    assert finding.subject == "noroute (net)"
    assert "10.90.0.0/24" in finding.text


def test_a_gateway_that_nobody_is() -> None:
    edit = instead("containers/ng1/ip-route.json", '"gateway":"172.18.0.1"', '"gateway":"172.18.0.99"')
    finding = only(list(every_finding(altered_snapshot(SEED, edit))))
    assert (finding.code, finding.subject) == ("default-route-to-nobody", "ng1")
    assert "172.18.0.99" in finding.evidence[0].text


def test_a_container_as_gateway() -> None:
    edit = instead("containers/ng1/ip-route.json", '"gateway":"172.18.0.1"', '"gateway":"172.18.0.4"')
    assert not every_finding(altered_snapshot(SEED, edit))


def test_a_foreign_port_may_be_the_gateway() -> None:
    edit = instead("containers/ng1/ip-route.json", '"gateway":"172.18.0.1"', '"gateway":"172.18.0.99"')
    foreign = link_facts("host", veth_of(SEED, "ng2"), link_index=9999)
    assert not found(altered_snapshot(SEED, edit, foreign), "default-route-to-nobody")


def test_strict_reverse_paths() -> None:
    finding = only(
        list(
            find_all(
                analyse(
                    altered_snapshot(SEED, STRICT, first_route("host", dst="172.18.0.3", dev="docker0", scope="link"))
                )
            )
        )
    )
    assert (finding.code, finding.subject) == ("asymmetric-path-dropped", "@host")
    assert finding.evidence


@pytest.mark.apart
def test_strict_reverse_paths_that_are_symmetric() -> None:
    assert not find_all(analyse(altered_snapshot(SEED, STRICT)))
