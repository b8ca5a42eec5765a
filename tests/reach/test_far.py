"""The address that stands for any on the internet is one that the host does not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.interpreter.trace import Tracer
from diag.model.address import Family, Ip, Prefix
from diag.model.reasons import Reachability
from diag.reach.beyond import WORLD, far_of, with_world
from diag.reach.far import KEPT, far_addresses
from diag.reach.flows import FlowAnswerer
from diag.reach.pairs import PairAnalyser, PairFacts
from diag.reach.reserved import ReservedPairs
from tests.hosts import Host

FIRST, SECOND, *_ = KEPT[Family.IPV4]
PUBLISH = "-A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.10:80"


def host(subnet: str = "10.1.0.0/24", uplink: tuple[str, str] = ("10.9.0.10/24", "10.9.0.1")) -> Host:
    made = Host().network("a", subnet).container("web", "a").container("db", "a").uplink(*uplink)
    return made.rules(f"-A POSTROUTING -s {subnet} ! -o br-a -j MASQUERADE", table="nat")


def pair(made: Host, source: str, destination: str) -> PairFacts:
    snapshot = made.snapshot()
    world = with_world(snapshot)
    return ReservedPairs(snapshot, PairAnalyser(world, Tracer(world))).pair(source, destination)


def test_the_usual_one() -> None:
    far = far_addresses(host().snapshot())
    assert {family: str(ip) for family, ip in far.items()} == {Family.IPV4: "198.51.100.1", Family.IPV6: "2001:db8::1"}
    assert far_of(with_world(host().snapshot())) == far


def test_a_docker_network_of_such_addresses_is_not_the_internet() -> None:
    made = host("198.51.100.0/24")
    assert far_addresses(made.snapshot())[Family.IPV4] == SECOND
    assert pair(made, "web", WORLD).reachability is Reachability.REACHABLE
    answerer = FlowAnswerer(made.snapshot())
    for asked in ("198.51.100.1", "@world"):
        answer = answerer.answer({"source": "web", "address": asked, "protocol": "icmp"})
        assert answer["delivered_to"] == ("host" if asked != "@world" else WORLD)


def test_a_gateway_with_such_an_address_is_not_the_internet() -> None:
    made = host(uplink=("198.51.100.10/24", "198.51.100.1"))
    assert far_addresses(made.snapshot())[Family.IPV4] == SECOND
    assert pair(made, "web", WORLD).reachability is Reachability.REACHABLE


@pytest.mark.parametrize(
    "allowed",
    [
        "-s 198.51.100.0/24",
        "-m iprange --src-range 198.51.100.1-198.51.100.9",
        "-s 198.51.100.1/255.0.255.255",
    ],
)
def test_whom_a_rule_lets_in_by_address_is_not_everyone(allowed: str) -> None:
    made = host().rules(f"-A FORWARD -i eth0 {allowed} -j ACCEPT\n-A FORWARD -i eth0 -j DROP")
    made = made.rules(PUBLISH, table="nat")
    assert far_addresses(made.snapshot())[Family.IPV4] == SECOND
    assert pair(made, WORLD, "web").reachability is Reachability.UNREACHABLE


def test_where_bogons_are_dropped_the_internet_is_reached() -> None:
    bogons = ("192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24")
    made = host().rules("\n".join(f"-A FORWARD -d {bogon} -j DROP" for bogon in bogons))
    assert str(far_addresses(made.snapshot())[Family.IPV4]) == "192.31.196.1"
    assert pair(made, "web", WORLD).reachability is Reachability.REACHABLE


def test_a_rule_about_all_addresses_names_none() -> None:
    made = host().rules("-A FORWARD -s 128.0.0.0/1 -j DROP")
    assert far_addresses(made.snapshot())[Family.IPV4] == FIRST


@given(st.lists(st.sampled_from([*KEPT[Family.IPV4], Ip.parse("10.0.0.1")]), max_size=6), st.integers(8, 32))
def test_it_is_in_no_network_unless_all_are(known: list[Ip], length: int) -> None:
    made = Host()
    for number, ip in enumerate(dict.fromkeys(known)):
        made = made.uplink(f"{ip}/{length}", str(ip), name=f"eth{number}")
    networks = {Prefix.of(ip, length) for ip in known}
    far = far_addresses(made.snapshot())[Family.IPV4]
    free = [ip for ip in KEPT[Family.IPV4] if not any(ip in network for network in networks)]
    assert far == (free[0] if free else FIRST)
