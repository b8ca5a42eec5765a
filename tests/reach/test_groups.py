"""Groups hold every pair once, and pairs of a group behave alike."""

from __future__ import annotations

import itertools

import pytest

from diag.model.reasons import Reachability, Reason
from diag.reach.analysis import Analyser
from diag.reach.rows import pair_rows
from tests.hosts import Host
from tests.loading import analysis_of, snapshot_of


@pytest.mark.parametrize("name", ["seed-d20", "seed_connected-d29", "published-d28", "internal_icc-d29", "macvlan-d29"])
def test_every_ordered_pair_is_in_exactly_one_group(name: str) -> None:
    analysis = analysis_of(name)
    listed = [(s, d) for g in analysis.groups for s, d in itertools.product(g.sources, g.destinations) if s != d]
    names = [c.name for c in analysis.snapshot.containers]
    assert sorted(listed) == sorted((s, d) for s, d in itertools.product(names, names) if s != d)


def test_members_of_a_group_are_like_its_example() -> None:
    analysis = analysis_of("seed-d20")
    pairs = Analyser(analysis.snapshot).pairs
    containers = {c.name: c for c in analysis.snapshot.containers}
    for group in analysis.groups:
        for source, destination in itertools.product(group.sources, group.destinations):
            if source != destination:
                found = pairs.pair(containers[source], containers[destination])
                assert found.reachability is group.reachability
                assert [p.allowed for p in found.paths] == [p.allowed for p in group.paths]


def test_exact_port_sets() -> None:
    host = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24").container("web", "a").container("db", "b")
    host = host.rules(
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        "-A FORWARD -p tcp -m multiport --dports 80,443,8000:8100 -j ACCEPT\n"
        "-A FORWARD -p udp -m udp ! --dport 53 -j ACCEPT\n"
        "-A FORWARD -i br-a -o br-b -j DROP"
    )
    analyser = Analyser(host.snapshot())
    web, db = (analyser.snapshot.container(n) for n in ("web", "db"))
    assert web is not None
    assert db is not None
    result = analyser.pair(web, db)
    assert result.reachability is Reachability.PARTIAL
    assert str(result.paths[0].allowed) == "tcp 80,443,8000-8100; udp 1-52,54-65535"
    assert result.paths[0].allowed.words == "tcp 80,443,8000-8100; udp all but 53"
    assert any(clause.startswith("icmp, tcp all but 80,443,8000-8100") for clause in result.paths[0].partial)


def test_rows_of_pairs() -> None:
    rows = [row.as_json() for row in pair_rows(snapshot_of("seed-d20"))]
    blocked = next(r for r in rows if (r["source"], r["destination"]) == ("objective_blackburn", "goofy_swartz"))
    assert blocked["allowed"] == {"icmp": False, "tcp": "none", "udp": "none"}
    assert blocked["reason"] == Reason.ISOLATION.value
    lonely = next(r for r in rows if r["destination"] == "lonely")
    assert (lonely["family"], lonely["address"]) == ("", "")
    names = next(r for r in rows if (r["source"], r["destination"]) == ("ng1", "ng2"))["names"]
    assert "ng2" in names
