"""Several firewalls beside each other."""

from __future__ import annotations

import pytest

from diag.findings.registry import find_all
from tests.altered import LEGACY, UPLINK, altered, nft, whole
from tests.findings.cases import CASES, DOCKER_TWICE, TABLE, case, findings_of, firewalld, forward_chain


def test_both_variants_of_iptables() -> None:
    (found,) = findings_of("iptables-legacy-and-nft", CASES["iptables-legacy-and-nft"][0])
    assert found.text.startswith("Both iptables-legacy and iptables-nft hold rules, and every packet meets both")
    assert str(found.evidence[0]) == "host/iptables-legacy-save.txt:4: :FORWARD DROP [0:0]"


def test_docker_in_both_variants() -> None:
    twice = DOCKER_TWICE.replace("COMMIT", "[0:0] -A DOCKER -d 172.17.0.9/32 -o docker0 -j ACCEPT\nCOMMIT")
    (found,) = findings_of("iptables-legacy-and-nft", case("seed-d29", whole(LEGACY, twice)))
    assert found.text.endswith(", Docker's in each of them.")


def test_the_policy_that_is_left_from_iptables() -> None:
    (found,) = findings_of("iptables-drop-beside-nftables", CASES["iptables-drop-beside-nftables"][0])
    assert found.text.endswith("drops them: api to web and 5 more on app, api to cache and 5 more on db.")
    assert [str(line) for line in found.evidence] == ["host/iptables-save.txt:19: :FORWARD DROP [0:0]"]
    assert found.command == "iptables -t filter -P FORWARD ACCEPT"


@pytest.mark.apart
def test_a_foreign_table_is_named_once_for_all_that_it_stops() -> None:
    (found,) = find_all(altered("published-d29", *UPLINK, nft(TABLE, forward_chain("drop"))))
    assert (found.code, found.subject) == ("foreign-table-drops", "firewall forward policy")
    assert "to the world" in found.text
    assert "pub_any to client_a and 5 more on neta" in found.text
    assert found.evidence[0].text.startswith("chain inet firewall forward")


def test_firewalld_lets_through_what_it_forwards_itself() -> None:
    found = findings_of("firewalld-strict-forward-ports", case("seed-d29", firewalld()))
    assert [finding.subject for finding in found] == ["mysql1", "tomcat1"]
    (found,) = [findings_of("firewalld-strict-forward-ports", case("seed-d29", firewalld(8080)))]
    assert [finding.subject for finding in found] == ["mysql1"]
    assert found[0].evidence[0].text == "inet firewalld filter_FORWARD_dnat: reject with icmpx admin-prohibited"
