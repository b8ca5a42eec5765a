"""Checks of gateway modes: how bridge networks are reached from elsewhere, and reach it."""

from __future__ import annotations

from collections.abc import Iterator

from diag.findings.check import Check, Facts, Found
from diag.findings.docker_rules import gateway_mode
from diag.model.address import Family
from diag.model.docker import DockerNetwork
from diag.model.finding import Severity
from diag.model.message import Message, say
from diag.model.provenance import Evidence


def _ignored(facts: Facts) -> Iterator[Found]:
    for network in facts.bridge_networks:
        for family in dict.fromkeys(config.subnet.family for config in network.ipam):
            mode = gateway_mode(network, family)
            against = _against(facts, network, family, mode)
            if against is not None:
                text, evidence = against
                subject = network.name if family is Family.IPV4 else f"{network.name} (IPv6)"
                cited = (network.evidence, evidence)
                yield Found(subject, text, tuple(line for line in cited if line is not None))


def _against(facts: Facts, network: DockerNetwork, family: Family, mode: str) -> tuple[Message, Evidence | None] | None:
    """What contradicts the mode."""
    if mode == "routed":
        for config in network.ipam:
            rule = facts.rules[family].masquerading(config.subnet, network.bridge_name)
            if config.subnet.family is family and rule is not None:
                text = say(
                    "{network} has the gateway mode routed, but what leaves {subnet} is masqueraded.",
                    network=network.name,
                    subnet=config.subnet,
                )
                return text, rule.evidence
    if mode == "isolated":
        link = facts.host_links[network.bridge_name]
        own = [a for a in link.addresses if a.ip.family is family and a.scope == "global"]
        if own:
            text = say(
                "{network} has the gateway mode isolated, but the host has {ip} on {bridge}, where its containers reach it.",
                network=network.name,
                ip=own[0].ip,
                bridge=link.name,
            )
            return text, link.evidence
    return None


CHECKS = (
    Check(
        code="gateway-mode-ignored",
        severity=Severity.WARNING,
        title=say("A network's gateway mode is not in effect"),
        meaning=say(
            "The mode routed came with Docker 27 and isolated with 28; older versions take the option and do nothing with "
            "it. Rules and addresses may also be left, or have been added by hand."
        ),
        detected=say(
            "A network in the mode routed has a masquerading rule of Docker's kind, or the bridge of one in the mode isolated "
            "has an address."
        ),
        fix=say("Upgrade Docker, or delete the rule or address and recreate the network."),
        find=_ignored,
    ),
)
