"""Rules that never match: told from their text, and held against what packets do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.findings.shadow import shadowed
from diag.model.netfilter import Chain, Origin, TableFamily
from diag.parse.iptables_save import parse_iptables_save
from tests.hosts import Host

HOST = Host().network("a", "10.1.0.0/24").network("b", "10.2.0.0/24").container("web", "a").container("db", "b")
MATCHES = (
    "-s 10.1.0.0/24", "-s 10.1.0.10/32", "! -s 10.1.0.10/32", "-d 10.2.0.11/32", "-d 10.0.0.0/8", "-p tcp",
    "-p tcp -m tcp --dport 80", "-p tcp -m tcp --dport 80:90", "-p tcp -m tcp ! --dport 80", "-i br-a", "-i br-+",
    "! -i br-a", "! -i br-b", "-o br-b", "-m conntrack --ctstate NEW", "-m conntrack --ctstate NEW,ESTABLISHED",
    "-m conntrack --ctstate ESTABLISHED",
)  # fmt: skip
VERDICTS = ("ACCEPT", "DROP", "RETURN", "REJECT --reject-with icmp-port-unreachable")
RULES = st.lists(
    st.tuples(st.lists(st.sampled_from(MATCHES), max_size=2, unique=True), st.sampled_from(VERDICTS)), max_size=6
).map(lambda rules: [" ".join(["-A FORWARD", *matches, "-j", verdict]) for matches, verdict in rules])


def chain_of(lines: list[str]) -> Chain:
    """FORWARD with these rules."""
    text = "\n".join(["*filter", ":FORWARD ACCEPT [0:0]", *lines, "COMMIT", ""])
    (table,) = parse_iptables_save(text.encode(), "rules", TableFamily.IP, Origin.IPTABLES_NFT).value
    return table.chains["FORWARD"]


def pairs_of(*lines: str) -> list[tuple[int, int]]:
    """Numbers of the rules that never match, each with what is before."""
    return [(rule.number, first.number) for rule, first in shadowed(chain_of(list(lines)))]


def test_a_rule_that_asks_for_less_takes_all() -> None:
    assert pairs_of("-A FORWARD -s 10.1.0.0/16 -j ACCEPT", "-A FORWARD -s 10.1.2.0/24 -p tcp -j DROP") == [(2, 1)]
    assert pairs_of("-A FORWARD -p tcp -j ACCEPT", "-A FORWARD -s 10.1.2.0/24 -j DROP") == []


def test_the_same_verdict_changes_nothing() -> None:
    assert pairs_of("-A FORWARD -p tcp -j DROP", "-A FORWARD -p tcp --dport 80 -j REJECT") == []


def test_the_first_of_several_counts() -> None:
    lines = "-A FORWARD -d 10.2.0.11/32 -j ACCEPT", "-A FORWARD -j RETURN", "-A FORWARD -d 10.2.0.11/32 -j DROP"
    assert pairs_of(*lines) == [(3, 1)]


def test_matches_that_may_fail_take_nothing_for_sure() -> None:
    assert pairs_of("-A FORWARD -m limit --limit 1/sec -j ACCEPT", "-A FORWARD -p tcp -j DROP") == []


@given(RULES)
@settings(max_examples=60)
@pytest.mark.apart
def test_without_them_packets_fare_the_same(lines: list[str]) -> None:
    dead = {rule.number for rule, _ in shadowed(chain_of(lines))}
    kept = [line for number, line in enumerate(lines, 1) if number not in dead]
    whole, rest = HOST.rules("\n".join(lines)), HOST.rules("\n".join(kept))
    for source, destination in (("web", "db"), ("db", "web")):
        for port in (80, 85, 5432):
            first, second = (host.send(source, destination, tcp=port) for host in (whole, rest))
            assert (first.disposition, first.symptom) == (second.disposition, second.symptom)
