"""What real engines make, as the checks look for it."""

from __future__ import annotations

import pytest

from diag.findings import docker_rules
from diag.findings.check import Facts
from diag.findings.host_rules import HostRules
from diag.model.address import Family, Prefix
from diag.model.analysis import Analysis
from diag.model.netfilter import Hook
from diag.model.snapshot import Snapshot
from tests.altered import RULES, after, altered_snapshot, instead
from tests.loading import EACH_CAPTURE, snapshot_of


def rules_of(snapshot: Snapshot, family: Family = Family.IPV4) -> HostRules:
    """Of the host."""
    return HostRules(snapshot, snapshot.netns["host"].ruleset, family)


@pytest.mark.parametrize("name", EACH_CAPTURE)
def test_no_rule_of_a_real_engine_is_missing_or_left_over(name: str) -> None:
    facts = Facts(Analysis(snapshot_of(name), (), (), (), (), ()))
    for check in docker_rules.CHECKS:
        assert list(check.find(facts)) == [], check.code


@pytest.mark.parametrize("name", ["seed-d20", "seed-d28", "seed-d29", "seed_connected-d29nft"])
def test_each_version_accepts_from_its_bridges_and_masquerades(name: str) -> None:
    snapshot = snapshot_of(name)
    rules = rules_of(snapshot)
    assert rules.complete
    assert rules.publishes
    assert rules.uses_nft is name.endswith("nft")
    for network in snapshot.networks:
        if network.driver == "bridge":
            assert rules.accepts_from(network.bridge_name)
            assert rules.masquerading(network.ipam[0].subnet, network.bridge_name) is not None
    assert not rules.accepts_from("br-0123456789ab")
    assert not rules.rewrites_source(Prefix.parse("203.0.113.0/24"))


def test_what_is_published_is_indexed_by_port() -> None:
    for name in ("published-d20", "published-d29", "published-d29nft"):
        published = rules_of(snapshot_of(name)).published
        assert {port for _, port in published} >= {8080, 8081, 8082, 5353, 5432}
        assert all(len(places) == 1 for places in published.values())


def test_internal_networks_drop_both_ways() -> None:
    for name in ("internal_icc-d20", "internal_icc-d28", "internal_icc-d29", "published-d29nft"):
        snapshot = snapshot_of(name)
        rules = rules_of(snapshot)
        internal = {n.bridge_name for n in snapshot.networks if n.internal}
        assert internal
        assert internal <= rules.into_internal & rules.out_of_internal


def test_chains_that_nothing_leads_to_are_not_met() -> None:
    rules = rules_of(snapshot_of("seed-d29"), Family.IPV6)
    assert rules.has_docker_chains
    assert ("filter", Hook.FORWARD, "DOCKER-FORWARD") not in rules.reached


def test_rules_that_cannot_be_read_may_masquerade_anything() -> None:
    rule = "-A POSTROUTING -m set --match-set all src -j MASQUERADE"
    snapshot = altered_snapshot("seed-d29", after(RULES, "-j MASQUERADE", rule))
    assert rules_of(snapshot).rewrites_source(Prefix.parse("203.0.113.0/24"))


def test_a_wildcard_accepts_from_every_bridge() -> None:
    rule = "-A DOCKER-FORWARD -i br-+ -j ACCEPT"
    snapshot = altered_snapshot("seed-d29", instead(RULES, "-A DOCKER-FORWARD -i <test_net1> -j ACCEPT", rule))
    assert rules_of(snapshot).accepts_from("br-0123456789ab")
