"""br_netfilter: ICC that is not off, and policies that bridged packets meet."""

from __future__ import annotations

from tests.altered import RULES, instead, without
from tests.findings.cases import CASES, SYSCTLS, case, findings_of


def test_icc_off_needs_br_netfilter() -> None:
    (found,) = findings_of("icc-off-not-enforced", CASES["icc-off-not-enforced"][0])
    assert [line.text for line in found.evidence] == ["network quiet", "net.bridge.bridge-nf-call-iptables = 0"]
    assert found.command == "modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1"


def test_a_host_without_the_module_shows_no_line() -> None:
    (found,) = findings_of(
        "icc-off-not-enforced", case("internal_icc-d28", without(SYSCTLS, "bridge-nf-call-iptables"))
    )
    assert [line.text for line in found.evidence] == ["network quiet"]


def test_icc_off_needs_its_rule() -> None:
    for capture in ("internal_icc-d20", "internal_icc-d29"):
        (found,) = findings_of("icc-off-not-enforced", case(capture, without(RULES, "-i <quiet> -o <quiet> -j DROP")))
        assert found.text == "quiet has enable_icc=false, but no rule drops what goes between its containers."


def test_icc_off_that_holds_is_by_design() -> None:
    for capture in ("internal_icc-d28", "internal_icc-d29", "overlay_A-d29"):
        assert findings_of("icc-off-not-enforced", case(capture)) == []


def test_a_switch_that_was_not_captured_is_not_off() -> None:
    unknown = without(SYSCTLS, "net.ipv4.conf"), without(SYSCTLS, "bridge-nf-call-iptables")
    assert findings_of("icc-off-not-enforced", case("internal_icc-d20", *unknown)) == []


def test_a_policy_that_bridged_packets_meet() -> None:
    (found,) = findings_of("bridged-traffic-dropped", CASES["bridged-traffic-dropped"][0])
    assert "(v1 to w2 and 5 more on six, w1 to w2 and 1 more on six2)" in found.text
    assert [line.text for line in found.evidence] == [
        ":FORWARD DROP [0:0]",
        "net.bridge.bridge-nf-call-ip6tables = 1",
    ]


def test_the_policy_that_docker_sets_is_fine() -> None:
    assert findings_of("bridged-traffic-dropped", case("user_rules-d20", pairs=True)) == []
    change = instead(SYSCTLS, "call-ip6tables = 1", "call-ip6tables = 0")
    assert findings_of("bridged-traffic-dropped", case("ipv6-d20", change, pairs=True)) == []
