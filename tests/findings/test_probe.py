"""One packet at the host's forward hooks."""

from __future__ import annotations

from diag.findings.probe import Probe, forwarded
from diag.interpreter.world import World
from diag.model.address import Ip
from diag.model.flow import UDP
from tests.hosts import Host

HOST = Host().network("a", "10.1.0.0/24").container("web", "a").uplink()
IN = Probe("eth0", "br-a", Ip.parse("198.51.100.1"), Ip.parse("10.1.0.10"), port=80)


def stopped_by(rules: str, probe: Probe = IN) -> str | None:
    """The text of the rule that stops the packet; empty if none does, None where that cannot be told."""
    answer = forwarded(World(HOST.rules(rules).snapshot()), probe)
    if answer is None:
        return None
    return answer.stopped.evidence.text if answer.stopped else ""


def test_a_rule_for_the_packet_decides() -> None:
    assert stopped_by("") == ""
    assert stopped_by("-A FORWARD -i eth0 -p tcp --dport 80 -j DROP") == "-A FORWARD -i eth0 -p tcp --dport 80 -j DROP"
    assert stopped_by("-A FORWARD -i eth1 -j DROP") == ""
    assert stopped_by("-A FORWARD -p udp -j DROP", Probe("eth0", "br-a", IN.source, IN.destination, UDP)) != ""


def test_a_new_connection_whose_destination_was_rewritten() -> None:
    called = Probe("eth0", "br-a", IN.source, IN.destination, port=80, called=(Ip.parse("192.0.2.10"), 8080))
    for rule in (
        "-A FORWARD -m conntrack --ctorigdstport 8080 -j DROP",
        "-A FORWARD -m conntrack --ctstate NEW -j DROP",
        "-A FORWARD -m conntrack --ctstatus DNAT -j DROP",
    ):
        assert stopped_by(rule, called) == rule
    assert stopped_by("-A FORWARD -m conntrack --ctstatus DNAT -j DROP") == ""
    assert stopped_by("-A FORWARD -m conntrack --ctstate ESTABLISHED -j DROP") == ""


def test_what_cannot_be_told_is_not_guessed() -> None:
    assert stopped_by("-A FORWARD -m string --algo bm --string x -j DROP") is None
    assert stopped_by("-A FORWARD -j DROP\n-A FORWARD -m string --algo bm --string x -j DROP") == "-A FORWARD -j DROP"
