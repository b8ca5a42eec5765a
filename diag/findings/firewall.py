"""Checks of an administrator's rules: those that stop what should pass, and those that do nothing."""

from __future__ import annotations

from collections.abc import Iterator

from diag.findings.backends import is_foreign, what_is_stopped
from diag.findings.blocked import Blocked, Culprit, subject_of
from diag.findings.bridge_netfilter import switch_evidence
from diag.findings.check import Check, Facts, Found
from diag.findings.host_rules import Place
from diag.findings.probe import FAR, Probe, forwarded, uplink_of
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
    TableFamily,
    Within,
)

_FAMILY_OF = {TableFamily.IP: Family.IPV4, TableFamily.IP6: Family.IPV6}


# Containers of one network


def _stopped(facts: Facts, *, wholly: bool) -> Iterator[Found]:
    """By rules of iptables on the host, or of a container's own firewall."""
    for blocked in facts.blocked:
        culprit, network = blocked.culprit, blocked.network
        inside = culprit.netns != "host"
        if (
            network is None
            or blocked.wholly is not wholly
            or is_foreign(blocked)
            or (culprit.rule is None and not inside)
        ):
            continue
        text = _stop_text(blocked, inside=inside)
        evidence = [culprit.evidence]
        family = _FAMILY_OF.get(culprit.table.family)
        if not inside and family is not None and network.driver == "bridge":
            evidence += switch_evidence(facts, family)
        yield Found(f"{network.name}: {subject_of(facts, culprit)}", text, tuple(evidence))


def _stop_text(blocked: Blocked, *, inside: bool) -> str:
    culprit = blocked.culprit
    what = (
        say("the policy of {chain}", chain=culprit.chain)
        if culprit.rule is None
        else say("rule {number} of {chain}", number=culprit.rule.number, chain=culprit.chain)
    )
    where = say(" in a container's own namespace") if inside else ""
    who = what_is_stopped(blocked)
    if blocked.wholly:
        return say(
            "They share a network, but {what}{where} stops all they say: {who}.", what=what, where=where, who=who
        )
    return say("They share a network, but {what}{where} stops part of it: {who}.", what=what, where=where, who=who)


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
    """A rule of Docker's bridges alone, which Docker itself keeps in FORWARD up to 28."""
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
        far = FAR[target.family]
        called = (next((a.ip for a in facts.host_links[uplink].addresses if a.ip.family is target.family), far), port)
        answer = forwarded(facts.world, Probe(uplink, network.bridge_name, far, target, protocol, inner, called))
        if answer is not None and answer.stopped is None:
            return container.name
    return None


CHECKS = (
    Check(
        code="same-network-blocked",
        severity=Severity.ERROR,
        title=say("A firewall rule cuts off containers of one network"),
        meaning=say(
            "Containers on one network are meant to talk. Bridged packets meet the host's rules where br_netfilter is on, "
            "and every packet meets those of the containers themselves."
        ),
        detected=say("The analysis shows pairs on one network of which nothing gets through because of this rule."),
        fix=say("Delete the rule, or let it except these containers."),
        find=lambda facts: _stopped(facts, wholly=True),
    ),
    Check(
        code="same-network-filtered",
        severity=Severity.WARNING,
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
            "does something else with it. Docker up to 28 ends DOCKER-USER with a RETURN that rules appended later come after."
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
