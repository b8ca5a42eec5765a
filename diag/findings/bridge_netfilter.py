"""Checks of br_netfilter: whether what a bridge carries between its own ports meets iptables."""

from __future__ import annotations

from collections.abc import Iterator

from diag.findings.backends import FAMILIES, is_beside_nftables
from diag.findings.blocked import Blocked, by_culprit, subject_of, what_is_stopped
from diag.findings.check import Check, Facts, Found
from diag.kernel.sysctl import bridge_nf_call
from diag.model.address import Family
from diag.model.docker import DockerNetwork
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netfilter import Origin
from diag.model.netns import Link
from diag.model.provenance import Evidence

_SWITCHES = {
    Family.IPV4: "net.bridge.bridge-nf-call-iptables",
    Family.IPV6: "net.bridge.bridge-nf-call-ip6tables",
}


def _met(facts: Facts, link: Link, family: Family) -> bool | None:
    """Whether packets between two ports of a bridge meet the rules; None: not captured."""
    own = link.nf_call_iptables if family is Family.IPV4 else link.nf_call_ip6tables
    return True if own else bridge_nf_call(facts.host, family)


def switch_evidence(facts: Facts, family: Family) -> tuple[Evidence, ...]:
    """The line of the sysctl; none where the host does not have it."""
    found = facts.host.sysctl_evidence.get(_SWITCHES[family])
    return (found,) if found is not None else ()


def _families(network: DockerNetwork) -> Iterator[Family]:
    yield from dict.fromkeys(config.subnet.family for config in network.ipam)


def _open_icc(facts: Facts) -> Iterator[Found]:
    for network in facts.bridge_networks:
        if network.icc or (not network.members and not network.is_default_bridge):
            continue
        link = facts.host_links[network.bridge_name]
        for family in _families(network):
            switch, rules = _SWITCHES[family], facts.rules[family]
            evidence = tuple(e for e in (network.evidence, *switch_evidence(facts, family)) if e is not None)
            subject = network.name if family is Family.IPV4 else f"{network.name} (IPv6)"
            if _met(facts, link, family) is False:
                text = say(
                    "{network} has enable_icc=false, but {switch} is off: packets between its containers never meet the "
                    "rule that should drop them.",
                    network=network.name,
                    switch=switch,
                )
                program = f"modprobe br_netfilter && sysctl -w {switch}=1"
                yield Found(subject, text, evidence, program)
            elif rules.complete and rules.has_docker_chains and network.bridge_name not in rules.bridged_drops:
                accepted = rules.accepted_from.get(network.bridge_name)
                if accepted is None:
                    continue  # all of the network's rules are gone, which another check says
                text = say(
                    "{network} has enable_icc=false, but no rule drops what goes between its containers.",
                    network=network.name,
                )
                yield Found(subject, text, (*evidence[:1], accepted.rule.evidence))


def _bridged_policy(facts: Facts) -> Iterator[Found]:
    for culprit, stopped in by_culprit(b for b in facts.blocked if _by_policy(facts, b)):
        family = FAMILIES[culprit.table.family]
        text = say(
            "The policy of {chain} drops what goes between containers of one network ({who}): bridged packets meet it "
            "because {switch} is 1.",
            chain=culprit.chain,
            who=what_is_stopped(stopped),
            switch=_SWITCHES[family],
        )
        yield Found(subject_of(facts, culprit), text, (culprit.evidence, *switch_evidence(facts, family)))


def _by_policy(facts: Facts, blocked: Blocked) -> bool:
    """A policy of iptables stops it, where other checks do not say why."""
    culprit, network, family = blocked.culprit, blocked.network, FAMILIES.get(blocked.culprit.table.family)
    own = culprit.netns == "host" and culprit.rule is None and culprit.table.origin is not Origin.NFT
    if not own or network is None or family is None or is_beside_nftables(facts, blocked):
        return False
    rules = facts.rules[family]
    return not rules.is_filtered or rules.accepts_from(network.bridge_name)


CHECKS = (
    Check(
        code="icc-off-not-enforced",
        severity=Severity.WARNING,
        title=say("Containers that should be kept apart reach each other"),
        meaning=say(
            "Inter-container communication is off for the network, and yet its containers reach all ports of each other."
        ),
        detected=say(
            "The network has enable_icc=false, and either bridged packets do not meet iptables on this host or the rule "
            "that drops them is missing."
        ),
        fix=say(
            "Load br_netfilter and switch net.bridge.bridge-nf-call-iptables on, lastingly in /etc/modules-load.d and "
            "/etc/sysctl.d; restart Docker if its rule is missing."
        ),
        find=_open_icc,
    ),
    Check(
        code="bridged-traffic-dropped",
        severity=Severity.ERROR,
        title=say("A policy drops what containers of one network say to each other"),
        meaning=say(
            "With br_netfilter on, packets between two ports of a bridge meet FORWARD like those that are routed, and no "
            "rule accepts them there."
        ),
        detected=say("The analysis shows flows within a network that the policy of an iptables chain drops."),
        fix=say(
            "Accept what comes in and goes out by the bridge, let Docker make its rules for the family (ip6tables), or "
            "switch bridge-nf-call off where nothing needs it."
        ),
        find=_bridged_policy,
    ),
)
