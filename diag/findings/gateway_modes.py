"""Checks of how bridge networks are reached: gateway modes, and published ports without docker-proxy."""

from __future__ import annotations

import shlex
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


def _no_hairpin(facts: Facts) -> Iterator[Found]:
    """moby drivers/bridge createEndpoint(): without docker-proxy each container's port of the bridge sends back."""
    if facts.snapshot.engine.userland_proxy is not False:
        return
    bridges = {network.bridge_name: network for network in facts.bridge_networks}
    publishing = {
        facts.snapshot.netns_of[c.name]: c
        for c in facts.snapshot.containers
        if c.name in facts.snapshot.netns_of and any(p.host_port for p in c.ports)
    }
    peers = {near: far for far, near in facts.world.topology.peers.items() if near[0] == "host"} if publishing else {}
    for (_, name), (netns, _) in peers.items():
        link, container = facts.host_links.get(name), publishing.get(netns)
        if link is None or container is None or link.master not in bridges:
            continue
        if link.port is not None and link.port.hairpin is False and link.evidence is not None:
            text = say(
                "docker-proxy is off, and the port of {container} on {network} does not send packets back by where they "
                "came: it does not reach its own published ports.",
                container=container.name,
                network=bridges[link.master].name,
            )
            command = shlex.join(["bridge", "link", "set", "dev", link.name, "hairpin", "on"])
            yield Found(f"{container.name}: {bridges[link.master].name}", text, (link.evidence,), command)


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
    Check(
        code="hairpin-off",
        severity=Severity.WARNING,
        title=say("A container does not reach its own published port"),
        meaning=say(
            "Without docker-proxy the kernel rewrites such packets, and has to send them out by the bridge port that they "
            "came in by, which a bridge does in hairpin mode only."
        ),
        detected=say(
            "Docker runs without docker-proxy, and hairpin is off on the port of a container that publishes ports."
        ),
        fix=say("Switch hairpin on for the port, or restart the container."),
        find=_no_hairpin,
    ),
)
