"""Sets of flows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.model.analysis import Allowed, PortSet
from diag.policy.traffic import ALL_TRAFFIC, NOTHING, PATTERN, Traffic
from diag.reach.windows import port_set

RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda r: (r[0], r[0] + r[1])), max_size=4)
PORTS = RANGES.map(port_set)
TRAFFIC = st.builds(Traffic, st.booleans(), PORTS, PORTS)


def flows(traffic: Traffic) -> set[tuple[str, int]]:
    found = {("icmp", 0)} if traffic.icmp else set()
    for name, ports in (("tcp", traffic.tcp), ("udp", traffic.udp)):
        found |= {(name, port) for low, high in ports.ranges for port in range(low, high + 1)}
    return found


@given(TRAFFIC, TRAFFIC)
def test_they_are_sets(a: Traffic, b: Traffic) -> None:
    assert flows(a | b) == flows(a) | flows(b)
    assert flows(a & b) == flows(a) & flows(b)
    assert flows(a - b) == flows(a) - flows(b)
    assert bool(a) == bool(flows(a))
    assert (a == b) == (flows(a) == flows(b))


@given(TRAFFIC)
def test_what_is_spelled_is_read_back(traffic: Traffic) -> None:
    assert Traffic.of(traffic.spelled) == traffic
    assert Traffic.of((ALL_TRAFFIC - traffic).spelled) == ALL_TRAFFIC - traffic
    assert all(re.search(PATTERN, text) for text in traffic.spelled)


def test_all_and_nothing() -> None:
    assert Traffic.of(["all"]) == ALL_TRAFFIC == Traffic.of(["tcp", "udp/1-65535", "icmp"])
    assert ALL_TRAFFIC.spelled == ("all",)
    assert Traffic.of([]) == NOTHING
    assert not NOTHING


def test_of_a_verdict() -> None:
    allowed = Allowed(None, tcp=PortSet(((80, 80),)), unknown_udp=PortSet(((53, 53),)))
    assert Traffic.known(allowed) == Traffic.of(["tcp/80"])
    assert Traffic.unknown(allowed) == Traffic.of(["icmp", "udp/53"])


@pytest.mark.parametrize("text", ["", "80", "tcp/", "tcp/0", "tcp/65536", "tcp/80,", "TCP/80", "tcp/80\n", "sctp/1"])
def test_what_is_no_traffic(text: str) -> None:
    assert not re.search(PATTERN, text)
    with pytest.raises(ValueError, match="tcp/80,443"):
        Traffic.of([text])


def test_a_range_that_descends() -> None:
    with pytest.raises(ValueError, match="90-80 ends before it begins"):
        Traffic.of(["tcp/90-80"])
