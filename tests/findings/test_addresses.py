"""Checks of subnets and addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.findings.prefixes import PrefixIndex
from diag.model.address import Family, Ip, Prefix
from diag.model.docker import NetworkMember
from diag.model.snapshot import Snapshot
from tests.altered import altered_snapshot, container, first_route, link_facts, network
from tests.findings.asking import bridge_of, every_finding, found, only
from tests.loading import snapshot_of

SEED = "seed-d29"
OUT = first_route("host", dst="default", gateway="192.0.2.1", dev="uplink0")


def test_a_route_of_the_lan_overlaps() -> None:
    wide = first_route("host", dst="172.16.0.0/12", dev="tun0", scope="link")
    findings = found(altered_snapshot(SEED, wide), "subnet-overlaps-route")
    assert [f.subject for f in findings] == ["bridge", "test_net1"]
    assert "172.16.0.0/12" in findings[0].evidence[0].text


def test_a_route_into_a_subnet_overlaps() -> None:
    narrow = first_route("host", dst="172.18.0.128/25", dev="eth9", gateway="192.0.2.7")
    finding = only(list(every_finding(altered_snapshot(SEED, narrow))))
    assert (finding.code, finding.subject) == ("subnet-overlaps-route", "test_net1")


def test_a_summary_by_a_gateway_does_not_overlap() -> None:
    """Nor what a container routes, nor the automatic addresses of a link."""
    summary = first_route("host", dst="172.16.0.0/12", dev="eth9", gateway="192.0.2.7")
    inward = first_route("host", dst="172.18.9.0/24", dev=bridge_of(SEED, "test_net1"), gateway="172.18.0.3")
    automatic = first_route("host", dst="169.254.0.0/16", dev="eth9", scope="link")
    half = first_route("host", dst="128.0.0.0/1", dev="tun0", scope="link")
    assert not every_finding(altered_snapshot(SEED, summary, inward, automatic, half))


def test_networks_with_the_same_addresses() -> None:
    twice = network("test_net1", lambda n: n["IPAM"]["Config"][0].update(Subnet="172.17.128.0/17"))
    finding = only(found(altered_snapshot(SEED, twice), "subnets-overlap"))
    assert finding.subject == "test_net1"
    assert [e.text for e in finding.evidence] == ["network test_net1", "network bridge"]


def test_public_addresses_count_where_there_is_an_internet() -> None:
    finding = only(list(every_finding(altered_snapshot(SEED, OUT))))
    assert (finding.code, finding.subject) == ("public-subnet", "test_net2")
    assert finding.evidence[1].text.startswith("default")
    routed = network(
        "test_net2", lambda n: n["Options"].update({"com.docker.network.bridge.gateway_mode_ipv4": "routed"})
    )
    assert not found(altered_snapshot(SEED, OUT, routed), "public-subnet")


def full(snapshot: Snapshot, name: str, last: int) -> Snapshot:
    """With members from .2 on."""
    members = tuple(NetworkMember(f"{n:064}", f"m{n}", (Ip.parse(f"172.18.0.{n}"),)) for n in range(2, last + 1))
    networks = tuple(replace(n, members=members) if n.name == name else n for n in snapshot.networks)
    return replace(snapshot, networks=networks)


def test_addresses_run_out() -> None:
    small = altered_snapshot(
        SEED, network("test_net1", lambda n: n["IPAM"]["Config"][0].update(IPRange="172.18.0.0/27"))
    )
    finding = only(found(full(small, "test_net1", 30), "addresses-exhausted"))
    assert finding.subject == "test_net1"
    assert "1 of 30" in finding.text  # of .2 to .31, for the range does not reach the broadcast address
    assert not found(full(small, "test_net1", 28), "addresses-exhausted")
    assert not found(full(snapshot_of(SEED), "test_net1", 200), "addresses-exhausted")


def test_a_fixed_address_outside_the_subnet() -> None:
    moved = network("test_net2", lambda n: n["IPAM"]["Config"][0].update(Subnet="173.30.0.0/16", Gateway="173.30.0.1"))
    finding = only(found(altered_snapshot(SEED, moved), "fixed-address-outside-subnet"))
    assert finding.subject == "modest_swartz (test_net2)"
    assert finding.evidence[0].text == "container modest_swartz"


def test_an_address_that_is_not_there() -> None:
    finding = only(found(snapshot_of("broken_links-d20"), "address-not-on-link"))
    assert finding.subject == "wrongip (net)"
    assert "10.99.0.9" in finding.evidence[1].text


def test_two_with_one_address() -> None:
    addresses = snapshot_of(SEED).netns[snapshot_of(SEED).netns_of["ng1"]]
    own = next(x for x in addresses.links or () if x.name == "eth0")
    info = [{"family": "inet", "local": str(own.addresses[0].ip), "prefixlen": 16, "scope": "global"}]
    findings = every_finding(altered_snapshot(SEED, link_facts("containers/ng2", "eth0", addr_info=info)))
    assert {(f.code, f.subject) for f in findings} == {
        ("duplicate-address", "test_net1"),
        ("address-not-on-link", "ng2 (test_net1)"),
    }
    assert len(only([f for f in findings if f.code == "duplicate-address"]).evidence) == 2


def test_two_with_one_mac_address() -> None:
    mac = next(e.mac for e in next(c for c in snapshot_of(SEED).containers if c.name == "ng1").endpoints)
    finding = only(list(every_finding(altered_snapshot(SEED, link_facts("containers/ng2", "eth0", address=mac)))))
    assert (finding.code, finding.subject) == ("duplicate-mac", "test_net1")
    assert mac in finding.text


def test_a_container_on_two_networks_has_nothing_twice() -> None:
    assert not [f for f in every_finding(snapshot_of("ipv6-d20")) if f.code.startswith("duplicate")]


def test_what_was_asked_for_is_read() -> None:
    asked = container(
        "ng1", lambda c: c["HostConfig"].update(PortBindings={"80/tcp": [{"HostIp": "", "HostPort": ""}]})
    )
    there = altered_snapshot(SEED, asked).container("ng1")
    assert there is not None
    assert [(p.container_port, p.host_port) for p in there.asked_ports] == [(80, 0)]
    assert not there.ports


PREFIXES = st.builds(
    lambda value, length: Prefix.of(Ip(Family.IPV4, value), length), st.integers(0, 255), st.integers(24, 32)
)


@pytest.mark.apart
@given(st.lists(PREFIXES), PREFIXES)
def test_an_index_finds_what_overlaps(listed: list[Prefix], asked: Prefix) -> None:
    index = PrefixIndex((prefix, number) for number, prefix in enumerate(listed))
    hits = [*index.containing(asked), *index.within(asked)]
    assert sorted(number for _, number in hits) == [n for n, prefix in enumerate(listed) if prefix.overlaps(asked)]
