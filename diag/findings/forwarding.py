"""Checks of the host's forwarding switches."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from diag.findings.check import Check, Facts, Found
from diag.findings.phrases import some
from diag.findings.probe import Probe, forwarded, uplink_of
from diag.model.address import Family
from diag.model.docker import DockerNetwork
from diag.model.finding import Severity
from diag.model.message import say

IP_FORWARD = "net.ipv4.ip_forward"
_DISCARD = 9
"""A port that nobody publishes."""
IP6_FORWARD = "net.ipv6.conf.all.forwarding"


def _forwarding_off(facts: Facts) -> Iterator[Found]:
    routed = [n.name for n in facts.snapshot.networks if n.driver == "bridge" and n.members]
    if facts.host.sysctl.get(IP_FORWARD) == "0" and routed:
        text = say(
            "{sysctl} is 0: no packet is routed between networks, to published ports of other hosts' callers, or out.",
            sysctl=IP_FORWARD,
        )
        evidence = facts.host.sysctl_evidence.get(IP_FORWARD)
        yield Found(IP_FORWARD, text, (evidence,) if evidence else (), f"sysctl -w {IP_FORWARD}=1")


def _forwarding6_off(facts: Facts) -> Iterator[Found]:
    routed = [n for n in facts.bridge_networks if not n.internal and n.members and _has_ipv6(n)]
    if facts.host.sysctl.get(IP6_FORWARD) == "0" and routed:
        text = say(
            "{sysctl} is 0, but {networks} have IPv6: nothing of it is routed to other networks or out.",
            sysctl=IP6_FORWARD,
            networks=some(n.name for n in routed),
        )
        evidence = (facts.host.sysctl_evidence.get(IP6_FORWARD), routed[0].evidence)
        yield Found(IP6_FORWARD, text, tuple(e for e in evidence if e), f"sysctl -w {IP6_FORWARD}=1")


def _has_ipv6(network: DockerNetwork) -> bool:
    return any(config.subnet.family is Family.IPV6 for config in network.ipam)


def _bridge_forwarding_off(facts: Facts) -> Iterator[Found]:
    if facts.host.sysctl.get(IP_FORWARD) != "1":
        return
    for network in facts.bridge_networks:
        name = f"net.ipv4.conf.{network.bridge_name.replace('.', '/')}.forwarding"
        if facts.host.sysctl.get(name) == "0" and not network.internal:
            text = say(
                "{sysctl} is 0 while the host forwards: containers of {network} reach nothing beyond their bridge.",
                sysctl=name,
                network=network.name,
            )
            evidence = facts.host.sysctl_evidence.get(name)
            yield Found(network.name, text, (evidence,) if evidence else (), shlex.join(["sysctl", "-w", f"{name}=1"]))


def _unfiltered_ipv6(facts: Facts) -> Iterator[Found]:
    rules = facts.rules[Family.IPV6]
    networks = [n for n in facts.bridge_networks if not n.internal and n.members and _has_ipv6(n)]
    forwards = facts.host.sysctl.get(IP6_FORWARD) == "1"
    if not rules.complete or rules.is_filtered or not networks or not forwards or rules.uses_nft:
        return
    uplink = uplink_of(facts, Family.IPV6) or "eth0"
    for network in networks:
        member, address = next(
            ((m, a) for m in network.members for a in m.addresses if a.family is Family.IPV6), (None, None)
        )
        if member is None or address is None:
            continue
        probe = Probe(uplink, network.bridge_name, facts.far[Family.IPV6], address, port=_DISCARD)
        answer = forwarded(facts.world, probe)
        if answer is not None and answer.stopped is None:
            text = say(
                "{network} has IPv6, and Docker makes no IPv6 rules on this host: whoever has a route gets at every port of "
                "{container} and the others on it.",
                network=network.name,
                container=member.name,
            )
            evidence = (network.evidence, facts.host.sysctl_evidence.get(IP6_FORWARD))
            yield Found(network.name, text, tuple(e for e in evidence if e))


CHECKS = (
    Check(
        code="forwarding-disabled",
        severity=Severity.ERROR,
        title=say("The host does not forward"),
        meaning=say(
            "Containers reach only their own network: not each other across networks, not the world, and the world "
            "does not reach their published ports. Docker switches forwarding on when it starts; something reset it."
        ),
        detected=say("net.ipv4.ip_forward is 0 and a bridge network has containers."),
        fix=say("Switch it on, and make that last with a file in /etc/sysctl.d."),
        find=_forwarding_off,
    ),
    Check(
        code="ipv6-forwarding-disabled",
        severity=Severity.ERROR,
        title=say("The host does not forward IPv6"),
        meaning=say(
            "Containers with IPv6 addresses reach only their own network by them, and are not reached from elsewhere."
        ),
        detected=say("net.ipv6.conf.all.forwarding is 0 and a bridge network with an IPv6 subnet has containers."),
        fix=say("Switch it on, and make that last with a file in /etc/sysctl.d."),
        find=_forwarding6_off,
    ),
    Check(
        code="bridge-forwarding-disabled",
        severity=Severity.ERROR,
        title=say("A bridge does not forward"),
        meaning=say("The kernel asks the interface by which a packet comes in, and not the host as a whole."),
        detected=say("net.ipv4.ip_forward is 1 and the switch of a Docker network's bridge is 0."),
        fix=say("Switch it on, and find out what switched it off for this interface."),
        find=_bridge_forwarding_off,
    ),
    Check(
        code="ipv6-not-filtered",
        severity=Severity.WARNING,
        title=say("Networks with IPv6 have no IPv6 rules"),
        meaning=say(
            "Before Docker 27 the setting ip6tables was off by default. Isolation between networks and closed ports then hold "
            "for IPv4 only."
        ),
        detected=say(
            "A bridge network has an IPv6 subnet and containers, IPv6 is forwarded, and ip6tables has no chain of Docker's and "
            "lets a packet from far away pass."
        ),
        fix=say(
            'Set "ip6tables": true in daemon.json (before 27 with "experimental": true), or filter IPv6 by other means.'
        ),
        find=_unfiltered_ipv6,
    ),
)
