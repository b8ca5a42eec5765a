"""Checks of an administrator's rules: those that stop what should pass, and those that do nothing."""

from __future__ import annotations

from collections.abc import Iterator

from diag.findings.backends import FAMILIES, is_foreign
from diag.findings.blocked import Blocked, Culprit, by_culprit, subject_of, what_is_stopped
from diag.findings.bridge_netfilter import switch_evidence
from diag.findings.check import Check, Facts, Found
from diag.findings.host_rules import Place
from diag.findings.probe import Probe, forwarded, uplink_of
from diag.findings.shadow import shadowed
from diag.model.address import Family
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netfilter import (
    AnyBit,
    Drop,
    Field,
    Masked,
    Named,
    Nat,
    NfRule,
    NoEffect,
    Origin,
    Ranges,
    Reject,
    Within,
)
from diag.model.provenance import Evidence

# Containers of one network


def _stopped(facts: Facts, *, wholly: bool) -> Iterator[Found]:
    """By rules of iptables on the host."""
    inside = (
        b for b in facts.blocked if b.culprit.netns == "host" and b.network and b.culprit.rule and not is_foreign(b)
    )
    for culprit, stopped in by_culprit(inside):
        if any(blocked.wholly for blocked in stopped) is not wholly or culprit.rule is None:
            continue
        rule, chain, who = culprit.rule.number, culprit.chain, what_is_stopped(stopped)
        text = (
            say(
                "They share a network, but rule {n} of {chain} stops all they say: {who}.", n=rule, chain=chain, who=who
            )
            if wholly
            else say(
                "They share a network, but rule {n} of {chain} stops part of it: {who}.", n=rule, chain=chain, who=who
            )
        )
        evidence: tuple[Evidence, ...] = (culprit.evidence,)
        if culprit.table.family in FAMILIES:
            evidence += switch_evidence(facts, FAMILIES[culprit.table.family])
        yield Found(subject_of(facts, culprit), text, evidence)


def _inside(facts: Facts) -> Iterator[Found]:
    found: dict[str, list[Blocked]] = {}
    for blocked in facts.blocked:
        if blocked.culprit.netns != "host":
            found.setdefault(facts.world.label(blocked.culprit.netns), []).append(blocked)
    for label, stopped in found.items():
        text = say(
            "Rules in the network namespace of {container} stop traffic that Docker lets through: {who}.",
            container=label,
            who=what_is_stopped(stopped),
        )
        yield Found(label, text, tuple(dict.fromkeys(blocked.culprit.evidence for blocked in stopped)))


# Rules that do nothing


def _dead_rules(facts: Facts) -> Iterator[Found]:
    bridges = {network.bridge_name for network in facts.bridge_networks}
    for table in facts.host.ruleset.tables:
        if table.origin is Origin.NFT or table.name != "filter":
            continue
        for chain in (table.chains[name] for name in ("DOCKER-USER", "FORWARD") if name in table.chains):
            for rule, first in shadowed(chain):
                if chain.name == "FORWARD" and _is_of(rule, bridges):
                    continue
                text = say(
                    "Rule {number} of {chain} never matches: rule {first} before it takes all of its packets.",
                    number=rule.number,
                    chain=chain.name,
                    first=first.number,
                )
                subject = subject_of(facts, Culprit("host", table, chain.name, rule, rule.evidence))
                yield Found(subject, text, (rule.evidence, first.evidence))


def _is_of(rule: NfRule, bridges: set[str]) -> bool:
    """A rule of Docker's bridges alone, which Docker before 28.0.1 keeps in FORWARD itself."""
    named = [part for part in rule.parts if isinstance(part, Named)]
    return bool(named) and all(bridges.issuperset(part.patterns) for part in named)


def _bypassed(facts: Facts) -> Iterator[Found]:
    """Ports that INPUT closes, while Docker sends their packets on before they get there."""
    uplink = uplink_of(facts, Family.IPV4)
    rules = facts.rules[Family.IPV4]
    if uplink is None:
        return
    for place in rules.closing:
        protocol = next((low for field, ((low, _), *_) in _asked(place.rule) if field is Field.PROTOCOL), 0)
        wanted = [
            low for field, ranges in _asked(place.rule) if field is Field.DPORT for low, high in ranges if low == high
        ]
        for port in wanted if _asks_nothing_else(place.rule) else ():
            for published in rules.published.get((protocol, port), ()):
                container = _receiver(facts, uplink, published, protocol, port)
                if container is not None:
                    text = say(
                        "Rule {number} of {chain} closes port {port} of the host, but Docker publishes it for {container}, "
                        "and callers from elsewhere never meet INPUT.",
                        number=place.rule.number,
                        chain=place.chain,
                        port=port,
                        container=container,
                    )
                    yield Found(f"{container}: {port}", text, (place.rule.evidence, published.rule.evidence))


def _asked(rule: NfRule) -> list[tuple[Field, Ranges]]:
    return [(part.field, part.ranges) for part in rule.parts if isinstance(part, Within) and not part.negated]


def _asks_nothing_else(rule: NfRule) -> bool:
    """Whether it is meant for every caller: rules for some of them may well have a meaning of their own."""
    fields = {part.field for part in rule.parts if isinstance(part, (Within, Named, AnyBit, Masked))}
    plain = all(isinstance(part, (Within, AnyBit, Masked, NoEffect, Drop, Reject)) for part in rule.parts)
    return plain and fields <= {Field.PROTOCOL, Field.DPORT, Field.CT_STATE}


def _receiver(facts: Facts, uplink: str, published: Place, protocol: int, port: int) -> str | None:
    """The container that gets what comes to a published port from far away; None where something stops it."""
    nat = published.rule.parts[-1]
    if not isinstance(nat, Nat) or not nat.addresses or any(f is Field.DADDR for f, _ in _asked(published.rule)):
        return None
    target, inner = nat.addresses[0][0], nat.ports[0] if nat.ports else port
    for container, endpoint in facts.world.endpoints.get(target, ()):
        network = facts.snapshot.network(endpoint.network_id) or facts.snapshot.network(endpoint.network)
        if network is None or network.driver != "bridge":
            continue
        far = facts.far[target.family]
        called = (next((a.ip for a in facts.host_links[uplink].addresses if a.ip.family is target.family), far), port)
        answer = forwarded(facts.world, Probe(uplink, network.bridge_name, far, target, protocol, inner, called))
        if answer is not None and answer.stopped is None:
            return container.name
    return None


CHECKS = (
    Check(
        code="container-firewall",
        severity=Severity.INFO,
        title=say("A container has a firewall of its own"),
        meaning=say(
            "What reaches the container, or leaves it, is decided by rules in its own namespace too, which Docker does not "
            "know."
        ),
        detected=say("The analysis shows flows that a rule or a policy in a container's namespace stops."),
        fix=say("If that is not meant, look for what in the container sets its rules."),
        find=_inside,
    ),
    Check(
        code="same-network-blocked",
        severity=Severity.ERROR,
        title=say("A firewall rule cuts off containers of one network"),
        meaning=say(
            "Containers on one network are meant to talk. Bridged packets meet the host's rules where br_netfilter is on."
        ),
        detected=say("The analysis shows pairs on one network of which nothing gets through because of this rule."),
        fix=say("Delete the rule, or let it except these containers."),
        find=lambda facts: _stopped(facts, wholly=True),
    ),
    Check(
        code="same-network-filtered",
        severity=Severity.INFO,
        title=say("A firewall rule stops part of what containers of one network say to each other"),
        meaning=say(
            "Some ports of containers on one network are closed to others on it, which no setting of Docker's asks for."
        ),
        detected=say("The analysis shows pairs on one network some of whose ports are stopped by this rule."),
        fix=say("If that is not meant, delete the rule or let it except these containers."),
        find=lambda facts: _stopped(facts, wholly=False),
    ),
    Check(
        code="shadowed-rule",
        severity=Severity.WARNING,
        title=say("A firewall rule never matches"),
        meaning=say(
            "What it was written to stop or to accept is decided before: the host is more open, or more closed, than it looks."
        ),
        detected=say(
            "Every packet that the rule of DOCKER-USER or FORWARD matches is taken by one rule before it in its chain, which "
            "does something else with it. Docker before 28 ends DOCKER-USER with a RETURN that rules appended later come after."
        ),
        fix=say("Insert the rule before the other (iptables -I) instead of appending it."),
        find=_dead_rules,
    ),
    Check(
        code="published-port-bypasses-input",
        severity=Severity.WARNING,
        title=say("A published port is open although INPUT closes it"),
        meaning=say(
            "Docker rewrites the destination of packets for published ports before routing, so that they are forwarded and "
            "never meet INPUT, where ufw and most firewalls keep their rules."
        ),
        detected=say(
            "A rule below INPUT drops the port for everyone, a DNAT rule publishes it, and a packet from far away passes "
            "FORWARD."
        ),
        fix=say("Close the port in DOCKER-USER (-m conntrack --ctorigdstport), or publish it on 127.0.0.1."),
        find=_bypassed,
    ),
)
