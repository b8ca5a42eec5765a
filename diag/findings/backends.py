"""Checks of several firewalls beside each other: iptables twice, iptables beside nftables, and other programs' tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from diag.findings.blocked import Blocked, by_culprit, subject_of, what_is_stopped
from diag.findings.check import Check, Facts, Found
from diag.findings.host_rules import NATIVE_TABLE, PROTOCOLS
from diag.findings.phrases import some
from diag.model.address import Family
from diag.model.docker import PublishedPort
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netfilter import Accept, Chain, Drop, Field, NfRule, NfTable, Origin, Reject, TableFamily, Within
from diag.model.provenance import Evidence

_PROGRAMS = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
FAMILIES = {TableFamily.IP: Family.IPV4, TableFamily.IP6: Family.IPV6}


# iptables twice


def _two_variants(facts: Facts) -> Iterator[Found]:
    for family, label in ((TableFamily.IP, "iptables"), (TableFamily.IP6, "ip6tables")):
        tables = [table for table in facts.host.ruleset.tables if table.family is family]
        legacy = _first_rule(tables, Origin.IPTABLES_LEGACY)
        nft = _first_rule(tables, Origin.IPTABLES_NFT)
        if legacy is None or nft is None:
            continue
        docker = [t.origin for t in tables if t.origin is not Origin.NFT and _speaks_of_docker(t)]
        in_both = len(set(docker)) > 1
        text = say(
            "Both {program}-legacy and {program}-nft hold rules, and every packet meets both{docker}.",
            program=label,
            docker=say(", Docker's in each of them") if in_both else "",
        )
        yield Found(label, text, (legacy, nft))


def _first_rule(tables: list[NfTable], origin: Origin) -> Evidence | None:
    """A line that shows that the variant is in use."""
    for table in tables:
        if table.origin is origin:
            for chain in table.chains.values():
                if chain.base is not None and chain.base.policy_drop and chain.base.evidence is not None:
                    return chain.base.evidence
                for rule in chain.rules:
                    if rule.number:
                        return rule.evidence
    return None


def _speaks_of_docker(table: NfTable) -> bool:
    return any(chain.startswith("DOCKER") and table.chains[chain].rules for chain in table.chains)


# Beside the nftables backend


def is_beside_nftables(facts: Facts, blocked: Blocked) -> bool:
    """A policy of iptables stops what Docker's own nftables rules accept."""
    culprit = blocked.culprit
    family = FAMILIES.get(culprit.table.family)
    return (
        culprit.netns == "host"
        and culprit.rule is None
        and culprit.table.origin is not Origin.NFT
        and family is not None
        and facts.rules[family].uses_nft
    )


def _beside_nftables(facts: Facts) -> Iterator[Found]:
    for culprit, stopped in by_culprit(b for b in facts.blocked if is_beside_nftables(facts, b)):
        program = _PROGRAMS[FAMILIES[culprit.table.family]]
        text = say(
            "Docker's nftables rules accept these packets, and then the policy of {chain} of {program} drops them: {what}.",
            chain=culprit.chain,
            program=program,
            what=what_is_stopped(stopped),
        )
        name = f"{program}-legacy" if culprit.table.origin is Origin.IPTABLES_LEGACY else program
        command = shlex.join([name, "-t", culprit.table.name, "-P", culprit.chain, "ACCEPT"])
        yield Found(subject_of(facts, culprit), text, (culprit.evidence,), command)


# Other tables


def is_foreign(blocked: Blocked) -> bool:
    """A table of neither Docker nor iptables stops it."""
    culprit = blocked.culprit
    return culprit.netns == "host" and culprit.table.origin is Origin.NFT and culprit.table.name != NATIVE_TABLE


def _foreign(facts: Facts) -> Iterator[Found]:
    for culprit, stopped in by_culprit(b for b in facts.blocked if is_foreign(b)):
        text = say(
            "Docker's rules accept these packets, but {what} of table {table} stops them: {who}.",
            what=say("the policy of {chain}", chain=culprit.chain)
            if culprit.rule is None
            else say("rule {number} of {chain}", number=culprit.rule.number, chain=culprit.chain),
            table=culprit.table.name,
            who=what_is_stopped(stopped),
        )
        yield Found(subject_of(facts, culprit), text, (culprit.evidence,))


def _strict_forward_ports(facts: Facts) -> Iterator[Found]:
    """`ct status dnat jump filter_FORWARD_dnat`, which accepts ports of firewalld's own and refuses the rest."""
    chain = next((c for t in facts.host.ruleset.tables if t.name == "firewalld" for c in _refusing(t)), None)
    if chain is None:
        return
    opened = {way for rule in chain.rules if isinstance(rule.parts[-1], Accept) for way in _called(rule)}
    for container in facts.snapshot.containers:
        closed = sorted(
            {
                f"{port.host_port}/{port.protocol}"
                for port in container.ports
                if port.host_port and not (port.host_ip and port.host_ip.is_loopback) and not _is_open(port, opened)
            }
        )
        if container.running and closed:
            text = say(
                "firewalld refuses what other programs send on, so that callers from elsewhere do not get at {ports} of "
                "{container}.",
                ports=some(closed),
                container=container.name,
            )
            evidence = (chain.rules[-1].evidence, *((container.evidence,) if container.evidence else ()))
            yield Found(container.name, text, evidence)


def _called(rule: NfRule) -> Iterator[tuple[int, int, int]]:
    """Protocol, 0 for any, and ports as the caller used them."""
    protocols = [part.ranges for part in rule.parts if isinstance(part, Within) and part.field is Field.PROTOCOL]
    for part in rule.parts:
        if isinstance(part, Within) and part.field is Field.CT_ORIG_DPORT and not part.negated:
            yield from ((protocols[0][0][0] if protocols else 0, low, high) for low, high in part.ranges)


def _is_open(port: PublishedPort, opened: Iterable[tuple[int, int, int]]) -> bool:
    wanted = (0, PROTOCOLS.get(port.protocol))
    return any(protocol in wanted and low <= port.host_port <= high for protocol, low, high in opened)


def _refusing(table: NfTable) -> Iterator[Chain]:
    chain = table.chains.get("filter_FORWARD_dnat")
    if chain is None or not chain.rules:
        return
    match chain.rules[-1].parts:
        case (Reject() | Drop(),):
            yield chain


CHECKS = (
    Check(
        code="iptables-legacy-and-nft",
        severity=Severity.WARNING,
        title=say("iptables holds rules in both of its variants"),
        meaning=say(
            "Each variant lists its own rules only, so that what a person sees is half of what packets meet. If Docker was "
            "moved from one to the other, its old rules stay in force until the host restarts."
        ),
        detected=say("Both iptables-legacy-save and iptables-nft-save show rules or a policy that drops."),
        fix=say("Choose one variant for all programs with update-alternatives, and restart the host."),
        find=_two_variants,
    ),
    Check(
        code="iptables-drop-beside-nftables",
        severity=Severity.ERROR,
        title=say("A policy of iptables drops what Docker's nftables rules accept"),
        meaning=say(
            "An accept in one table does not spare a packet the next table. The policy is most often left from Docker's "
            "iptables backend, which set it; the nftables backend neither needs it nor adds exceptions to it."
        ),
        detected=say("Docker uses nftables, and the analysis shows flows that the policy of an iptables chain drops."),
        fix=say("Set the policy to ACCEPT, or accept Docker's bridges in DOCKER-USER."),
        find=_beside_nftables,
    ),
    Check(
        code="foreign-table-drops",
        severity=Severity.ERROR,
        title=say("Another program's firewall table stops containers"),
        meaning=say("Every base chain of a hook has to accept a packet; Docker's accept does not spare it the others."),
        detected=say(
            "The analysis shows flows between containers of one network, or all of a container's way out, that a chain "
            "outside of Docker's and iptables' tables stops."
        ),
        fix=say("Accept Docker's bridges in that chain."),
        find=_foreign,
    ),
    Check(
        code="firewalld-strict-forward-ports",
        severity=Severity.ERROR,
        title=say("firewalld refuses Docker's published ports"),
        meaning=say("With StrictForwardPorts=yes only ports that firewalld itself forwards are open."),
        detected=say(
            "The chain of firewalld for packets whose destination was rewritten refuses them, except for other ports than "
            "the published ones."
        ),
        fix=say(
            "Set StrictForwardPorts=no in /etc/firewalld/firewalld.conf, or publish with firewall-cmd --add-forward-port."
        ),
        find=_strict_forward_ports,
    ),
)
