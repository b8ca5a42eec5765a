"""Docker's rules: gone, half gone, left over."""

from __future__ import annotations

import pytest

from diag.findings.registry import find_all
from tests.altered import RULES, Change, after, altered, flushed, instead, policy, whole, without, without_nft
from tests.findings.cases import CASES, case, findings_of

NO_NFT_TABLE = (without_nft(table="docker-bridges"), without_nft(name="docker-bridges"))
BY_SOMEONE_ELSE = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.16.0.0/12 -o eth0 -j MASQUERADE
-A POSTROUTING -s 173.20.0.0/16 -o eth0 -j MASQUERADE
COMMIT
"""


@pytest.mark.parametrize(
    ("capture", "changes", "subject"),
    [
        ("seed-d29", (flushed("filter"),), "filter"),
        ("seed-d29", (without(RULES, "-A FORWARD"),), "filter"),
        ("seed-d20", (flushed("filter"), policy("filter", "DROP")), "filter"),
        ("internal_icc-d20", (flushed("filter"),), "filter"),
        ("seed-d29", (flushed("nat"),), "nat"),
        ("seed-d28", (whole(RULES, ""),), "iptables"),
        ("published-d29nft", NO_NFT_TABLE, "docker-bridges"),
    ],
)
@pytest.mark.apart
def test_a_flush_is_one_finding_and_nothing_else(capture: str, changes: tuple[Change, ...], subject: str) -> None:
    found = find_all(altered(capture, *changes))
    assert [finding.key for finding in found] == [("docker-rules-missing", subject)]


def test_what_a_flush_means_depends_on_the_policy() -> None:
    (open_host,) = findings_of("docker-rules-missing", case("seed-d29", flushed("filter")))
    (closed,) = findings_of("docker-rules-missing", case("seed-d29", flushed("filter"), policy("filter", "DROP")))
    assert "which accepts by default: nothing keeps networks apart" in open_host.text
    assert "bridge, test_net1, test_net2" in closed.text
    assert "which drops by default: nothing passes" in closed.text
    assert [str(line) for line in closed.evidence] == [
        "docker/networks.json:2: network bridge",
        "host/iptables-save.txt:29: :FORWARD DROP [0:0]",
    ]


def test_rules_that_others_make_instead_of_docker_are_fine() -> None:
    assert findings_of("docker-rules-missing", case("seed-d29", whole(RULES, BY_SOMEONE_ELSE))) == []


def test_rules_that_were_not_captured_are_not_missing() -> None:
    elided = instead(RULES, "-A DOCKER-FORWARD -i docker0 -j ACCEPT", "...")
    for code in ("docker-rules-missing", "network-rules-missing", "internal-network-open"):
        assert findings_of(code, case("seed-d29", elided, without(RULES, "<test_net1>"))) == []


def test_a_network_without_its_rules_is_told_from_the_others() -> None:
    (found,) = findings_of("network-rules-missing", CASES["network-rules-missing"][0])
    assert found.text.startswith("FORWARD has rules for bridge, test_net2, but none that accepts what comes in by br-")
    assert [line.text for line in found.evidence] == ["network test_net1", ":FORWARD ACCEPT [0:0]"]


def test_rules_between_a_bridges_own_ports_are_not_its_way_out() -> None:
    for capture, change in (
        ("seed-d20", without(RULES, "-A FORWARD -i <test_net1> ! -o <test_net1> -j ACCEPT")),
        ("published-d29nft", without_nft(chain="filter-forward-out__<neta>")),
    ):
        (found,) = findings_of("network-rules-missing", case(capture, change))
        assert found.subject in ("test_net1", "neta")


def test_the_missing_masquerading_can_be_pasted() -> None:
    (found,) = findings_of("masquerade-missing", CASES["masquerade-missing"][0])
    assert found.command.startswith("iptables -t nat -I POSTROUTING -s 172.18.0.0/16 '!' -o br-")
    assert found.command.endswith(" -j MASQUERADE")
    assert [line.text for line in found.evidence] == ["network test_net1"]


def test_masquerading_of_the_nftables_backend() -> None:
    (found,) = findings_of(
        "masquerade-missing", case("published-d29nft", without_nft(chain="nat-postrouting-out__<neta>"))
    )
    assert (found.subject, found.command) == ("neta", "")


@pytest.mark.parametrize(
    ("change", "container", "what"),
    [
        (
            without(RULES, "-A DOCKER -d 172.18.0.2/32 ! -i"),
            "pub_any",
            "the rule that lets in what is sent on to 172.18.0.2:80",
        ),
        (without(RULES, "127.0.0.1/32 ! -i lo"), "pub_lo", "the rule that keeps strangers from 127.0.0.1:8081"),
        (
            without(RULES, "-A PREROUTING -d 172.18.0.3/32"),
            "pub_lo",
            "the rule that drops what comes to 172.18.0.3 past its bridge",
        ),
    ],
)
def test_what_one_container_lacks(change: Change, container: str, what: str) -> None:
    (found,) = findings_of("endpoint-rules-missing", case("published-d29", change))
    assert found.text == f"{container} lacks {what}, while others have theirs."
    assert found.evidence[0].text == f"container {container}"
    assert found.command == f"docker restart {container}"


def test_direct_routing_for_all_is_a_choice() -> None:
    assert findings_of("endpoint-rules-missing", case("published-d29", without(RULES, "! -i", "-j DROP"))) == []


def test_a_stale_rule_can_be_deleted() -> None:
    (found,) = findings_of("stale-publishing-rule", CASES["stale-publishing-rule"][0])
    assert "an address that no running container has" in found.text
    assert found.command.startswith("iptables -t nat -D DOCKER '!' -i br-")
    assert found.evidence[0].text.endswith("--to-destination 172.18.0.99:80")


def test_a_swarms_addresses_are_not_stale() -> None:
    rule = "-A DOCKER -p tcp -m tcp --dport 9000 -j DNAT --to-destination 172.18.0.{}:80"
    for last, stale in ((2, False), (99, True)):
        found = findings_of(
            "stale-publishing-rule", case("overlay_A-d29", after(RULES, ":DOCKER -", rule.format(last)))
        )
        assert bool(found) is stale


def test_rules_of_the_other_backend() -> None:
    (found,) = findings_of(
        "leftover-docker-rules",
        case("published-d29", instead("docker/info.json", '"Driver":"iptables"', '"Driver":"nftables"')),
    )
    assert found.text.endswith("which Docker 29.7.2 with the nftables backend does not make.")
    (found,) = findings_of(
        "leftover-docker-rules",
        case("published-d29nft", instead("docker/info.json", '"Driver":"nftables"', '"Driver":"iptables"')),
    )[:1]
    assert found.subject == "docker-bridges"


def test_the_set_of_one_version() -> None:
    rule = "-A FORWARD -m set --match-set docker-ext-bridges-v4 dst -j DOCKER"
    (found,) = findings_of("leftover-docker-rules", case("seed-d28", after(RULES, "-A FORWARD", rule)))
    assert (found.subject, found.evidence[0].text) == ("docker-ext-bridges-v4", rule)


def test_an_internal_network_that_is_open() -> None:
    (found,) = findings_of("internal-network-open", CASES["internal-network-open"][0])
    assert [line.text for line in found.evidence] == ["network secret", ":FORWARD ACCEPT [0:0]"]
