"""Gateway modes."""

from __future__ import annotations

from tests.altered import option
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
