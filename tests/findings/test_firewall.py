"""An administrator's rules."""

from __future__ import annotations

import pytest

from diag.findings.registry import find_all
from tests.altered import RULES, UPLINK, after, altered, instead
from tests.findings.cases import CASES, CLOSED, case, findings_of


@pytest.mark.apart
def test_a_rule_added_to_docker_user_is_the_one_finding() -> None:
    (found,) = find_all(altered("seed-d29", after(RULES, ":DOCKER-USER", "-A DOCKER-USER -j DROP")))
    assert (found.code, found.subject) == ("same-network-blocked", "filter DOCKER-USER: -j DROP")
    assert found.text.startswith("They share a network, but rule 1 of DOCKER-USER stops all they say: ng to mysql1")
    assert [line.text for line in found.evidence] == [
        "-A DOCKER-USER -j DROP",
        "net.bridge.bridge-nf-call-iptables = 1",
    ]


def test_a_comment_names_a_rule() -> None:
    rule = '-A DOCKER-USER -i <test_net2> -o <test_net2> -m comment --comment "ticket 7" -j DROP'
    (found,) = findings_of("same-network-blocked", case("seed-d29", after(RULES, ":DOCKER-USER", rule), pairs=True))
    assert found.subject == "filter DOCKER-USER: ticket 7"


def test_a_rule_for_some_ports_is_milder() -> None:
    fires, _ = CASES["same-network-filtered"]
    assert findings_of("same-network-blocked", fires) == []
    (found,) = findings_of("same-network-filtered", fires)
    assert found.text.endswith("stops part of it: v1 to w2 and 5 more on six, w1 to w2 and 1 more on six2.")


@pytest.mark.apart
def test_docker_keeping_networks_apart_is_by_design() -> None:
    for capture in ("internal_icc-d20", "internal_icc-d28", "gateway_modes-d29nft", "cross_accept-d20"):
        for code in ("same-network-blocked", "same-network-filtered", "container-firewall"):
            assert findings_of(code, case(capture, pairs=True)) == []


def test_a_container_that_has_a_firewall() -> None:
    (found,) = findings_of("container-firewall", CASES["container-firewall"][0])
    assert found.text.startswith("Rules in the network namespace of ng1 stop traffic that Docker lets through: ")
    assert found.evidence[0].text == ":INPUT DROP [0:0]"


def test_a_rule_behind_the_return_of_docker_user() -> None:
    (found,) = findings_of("shadowed-rule", CASES["shadowed-rule"][0])
    assert found.text == "Rule 6 of DOCKER-USER never matches: rule 5 before it takes all of its packets."
    assert [line.text for line in found.evidence] == [
        "-A DOCKER-USER -s 10.77.0.12/32 -j DROP",
        "-A DOCKER-USER -j RETURN",
    ]


def test_input_does_not_close_a_published_port() -> None:
    (found,) = findings_of("published-port-bypasses-input", CASES["published-port-bypasses-input"][0])
    assert found.text.startswith("Rule 1 of INPUT closes port 8080 of the host, but Docker publishes it for tomcat1")
    assert found.evidence[0].text == "-A INPUT -p tcp -m tcp --dport 8080 -j DROP"
    assert found.evidence[1].text.endswith("--to-destination 172.17.0.5:8080")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--dport 8080 -j DROP", "--dport 22 -j DROP"),
        ("--dport 8080 -j DROP", "--dport 1:65535 -j DROP"),
        ("-A INPUT -p tcp -m tcp", "-A INPUT -s 203.0.113.7/32 -p tcp -m tcp"),
    ],
)
def test_other_rules_of_input_mean_what_they_say(old: str, new: str) -> None:
    assert (
        findings_of("published-port-bypasses-input", case("seed-d29", *UPLINK, CLOSED, instead(RULES, old, new))) == []
    )
