"""Checks of the host's forwarding switches."""

from __future__ import annotations

from collections.abc import Iterator

from diag.findings.check import Check, Facts, Found
from diag.model.finding import Severity
from diag.model.message import say

IP_FORWARD = "net.ipv4.ip_forward"


def _forwarding_off(facts: Facts) -> Iterator[Found]:
    routed = [n.name for n in facts.snapshot.networks if n.driver == "bridge" and n.members]
    if facts.host.sysctl.get(IP_FORWARD) == "0" and routed:
        text = say(
            "{sysctl} is 0: no packet is routed between networks, to published ports of other hosts' callers, or out.",
            sysctl=IP_FORWARD,
        )
        evidence = facts.host.sysctl_evidence.get(IP_FORWARD)
        yield Found(IP_FORWARD, text, (evidence,) if evidence else (), f"sysctl -w {IP_FORWARD}=1")


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
)
