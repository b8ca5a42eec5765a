"""Exact port sets: a port is in the set if and only if its own trace is delivered."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.interpreter.trace import Tracer
from diag.model.address import Ip
from diag.model.flow import Flow, Protocol
from diag.model.reasons import Disposition
from diag.reach.beyond import WORLD, with_world
from diag.reach.pairs import PairAnalyser
from tests.loading import apart, snapshot_of

HOSTS = (*map(apart, ("published-d20", "published-d29", "published-d29nft")), "user_rules-d29", "internal_icc-d28")
EDGES = (1, 22, 53, 79, 80, 81, 5353, 5432, 5433, 8079, 8080, 8081, 9999, 65535)


@pytest.mark.parametrize("name", HOSTS)
def test_a_port_is_allowed_if_and_only_if_its_packet_is_delivered(name: str) -> None:
    snapshot = with_world(snapshot_of(name))
    tracer = Tracer(snapshot)
    pairs = PairAnalyser(snapshot, Tracer(snapshot))
    sources = sorted({*snapshot.netns_of.values(), "host", WORLD})
    addresses = [
        a.ip for netns in snapshot.netns.values() for k in netns.links or () for a in k.addresses if a.scope == "global"
    ]

    @settings(max_examples=120, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(sources),
        st.sampled_from(sorted(set(addresses))),
        st.sampled_from([Protocol.TCP, Protocol.UDP]),
        st.one_of(st.sampled_from(EDGES), st.integers(1, 65535)),
    )
    def check(source: str, address: Ip, protocol: Protocol, port: int) -> None:
        allowed = pairs.sweep(source, address).allowed
        trace = tracer.trace(Flow(source, address, protocol, port))
        ports = allowed.tcp if protocol is Protocol.TCP else allowed.udp
        assert (port in ports) == (trace.disposition is Disposition.DELIVERED), (trace.disposition, str(allowed))

    check()
