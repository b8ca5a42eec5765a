"""Gateway modes and docker-proxy."""

from __future__ import annotations

from tests.altered import instead, option
from tests.findings.cases import CASES, GATEWAY_MODE, case, findings_of

CODE = "gateway-mode-ignored"


def test_routed_and_yet_masqueraded() -> None:
    (found,) = findings_of(CODE, CASES[CODE][0])
    assert found.text == "test_net1 has the gateway mode routed, but what leaves 172.18.0.0/16 is masqueraded."
    assert found.evidence[1].text.startswith("-A POSTROUTING -s 172.18.0.0/16 ! -o br-")


def test_isolated_and_yet_on_the_host() -> None:
    (found,) = findings_of(CODE, case("internal_icc-d20", option("secret", GATEWAY_MODE, "isolated")))
    assert "but the host has 172.23.0.1 on br-" in found.text
    assert found.evidence[1].file == "host/ip-addr.json"


def test_networks_that_do_not_choose_have_nothing_to_contradict() -> None:
    assert findings_of(CODE, case("seed-d29", option("test_net1", GATEWAY_MODE, "nat-unprotected"))) == []


def test_hairpin_of_a_port_can_be_switched_on() -> None:
    found = findings_of("hairpin-off", CASES["hairpin-off"][0])
    for finding in found:
        assert finding.command == f"bridge link set dev {finding.evidence[0].text.split()[1]} hairpin on"


def test_with_docker_proxy_hairpin_is_not_needed() -> None:
    assert findings_of("hairpin-off", case("published-d29")) == []
    unknown = instead("docker/info.json", '"EnableUserlandProxy"', '"Other"')
    assert findings_of("hairpin-off", case("published-d29", unknown)) == []
