"""The first policy of a host: it holds there, and says so in few words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from diag.model.analysis import Analysis
from diag.policy.from_analysis import policy_of_today, rectangles
from diag.policy.judge import judge
from diag.policy.loader import load_policy
from diag.policy.model import Expectation, Policy
from diag.policy.writer import policy_yaml
from diag.reach.analysis import analyse
from tests.hosts import Host
from tests.loading import EACH_CAPTURE, analysis_of


def read_back(policy: Policy) -> Policy:
    return load_policy(policy_yaml(policy, ["A comment.", "Another\none."], ["left\x07out"]), policy.file)


def lineless(policy: Policy) -> list[Expectation]:
    return [replace(expected, line=0) for expected in policy]


@pytest.mark.parametrize("capture", EACH_CAPTURE)
def test_it_holds_on_the_capture_it_was_made_from(capture: str) -> None:
    analysis = analysis_of(capture)
    policy = policy_of_today(analysis, "p.yaml")
    again = read_back(policy)
    assert lineless(again) == lineless(policy)
    assert all(expected.line for expected in again)
    assert [e for e in judge(again, analysis) if e.held is not True] == []
    assert policy_yaml(policy) == policy_yaml(policy_of_today(analysis, "p.yaml"))


@pytest.mark.parametrize(
    ("before", "after"), [("seed-d29", "seed_connected-d29"), ("user_rules-d29", "user_rules-d29nft")]
)
def test_it_does_not_hold_on_another(before: str, after: str) -> None:
    policy = policy_of_today(analysis_of(before), "p.yaml")
    assert any(e.held is False for e in judge(policy, analysis_of(after), fixes=False))


def test_networks_stand_for_their_members() -> None:
    text = policy_yaml(policy_of_today(analysis_of("seed-d29"), "p.yaml"))
    assert "  - from: {network: test_net1}\n    to: {network: test_net1}\n    ports: all\n" in text
    assert "8b9c67651b47" not in text
    assert len(text.splitlines()) < 60


def compose_host() -> Analysis:
    """Two projects on a network each, of which one has two containers of a service and is blocked in part."""
    host = Host().uplink().network("shop", "10.1.0.0/24").network("ops", "10.2.0.0/24")
    for name in ("shop-web-1", "shop-web-2", "shop-db-1"):
        host = host.container(name, "shop")
    host = host.container("ops-db-1", "ops").container("ops-cron-1", "ops")
    host = host.rules(
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        "-A FORWARD -i br-shop -o br-ops -j DROP\n-A FORWARD -i br-ops -o br-shop -p tcp --dport 81:65535 -j DROP"
    )
    snapshot = host.snapshot()
    containers = tuple(
        replace(c, compose_project=c.name.split("-")[0], compose_service=c.name.split("-")[1])
        for c in snapshot.containers
    )
    return analyse(replace(snapshot, containers=containers))


def test_services_stand_for_their_containers() -> None:
    analysis = compose_host()
    policy = policy_of_today(analysis, "p.yaml")
    text = policy_yaml(policy)
    assert "shop-web-1" not in text
    assert "  - from: {compose: ops}\n    to: {compose: shop}\n    ports: [icmp, tcp/1-80, udp]\n" in text
    assert "  - from: {compose: ops}\n    to: {compose: shop}\n    ports: tcp/81-65535\n" in text
    assert "  - to: {compose: ops}\n    from: {compose: ops}\n" in text
    assert all(e.held for e in judge(read_back(policy), analysis))


HOSTILE = ["@world", "*", "[a]", "x\ny", "# no", "a: b", "yes", "1.5", "é'\"", "\ud800", "\u202e", "~", "a/b"]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name.encode("unicode_escape").decode())
def test_names_that_mean_something_else(name: str) -> None:
    host = Host().network("n", "10.1.0.0/24").container("other", "n").container("third", mode="none")
    snapshot = host.container("x", "n").snapshot()
    containers = tuple(
        replace(c, name=name, compose_project=name, compose_service=name) if c.name == "x" else c
        for c in snapshot.containers
    )
    renamed = replace(
        snapshot,
        containers=tuple(sorted(containers, key=lambda c: c.name)),
        netns_of={name if key == "x" else key: netns for key, netns in snapshot.netns_of.items()},
    )
    analysis = analyse(renamed)
    if name != "@world":  # which no container is called
        policy = policy_of_today(analysis, "p.yaml")
        assert lineless(read_back(policy)) == lineless(policy)
        assert all(e.held for e in judge(read_back(policy), analysis))


ROWS = st.dictionaries(st.integers(0, 7), st.integers(0, 255), max_size=8)


@given(ROWS, st.booleans())
def test_rectangles_are_the_rows(rows: dict[int, int], empty: bool) -> None:
    rows = {source: row & ~(1 << source) for source, row in rows.items()}
    found: dict[int, int] = {}
    for sources, destinations in rectangles(rows, empty=empty):
        for source in (n for n in range(8) if sources >> n & 1):
            assert source not in found
            found[source] = destinations & ~(1 << source)
    assert found == {source: row for source, row in rows.items() if row or empty}
