"""Checks of what Docker's rules do to others' interfaces: bridges of virtual machines, tunnels, other container engines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from diag.findings.check import Check, Facts, Found
from diag.findings.host_rules import Place
from diag.findings.phrases import some
from diag.findings.probe import Probe, forwarded, uplink_of
from diag.model.address import Family, Ip
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netfilter import Origin
from diag.model.netns import Link, LinkKind
from diag.model.provenance import Evidence

_COUNTERS = re.compile(r"\[(\d+):\d+\]")
_TUNNELS = (LinkKind.VXLAN, LinkKind.TUN)
_DOCKER_BRIDGE = re.compile(r"br-[0-9a-f]{12}|docker0|docker_gwbridge")


def _foreign(facts: Facts, *kinds: LinkKind) -> list[Link]:
    """Links that are neither Docker's nor left from Docker."""
    own = {network.bridge_name for network in facts.snapshot.networks if network.driver == "bridge"}
    return [
        link
        for link in facts.host_links.values()
        if link.up and link.kind in kinds and link.name not in own and _DOCKER_BRIDGE.fullmatch(link.name) is None
    ]


def _cut_off(facts: Facts) -> Iterator[Found]:
    if not facts.snapshot.networks:
        return
    masters = {link.master for link in facts.host_links.values() if link.master}
    for family in Family:
        rules, uplink = facts.rules[family], uplink_of(facts, family)
        if uplink is None or not rules.has_docker_chains:
            continue
        for link in _foreign(facts, LinkKind.BRIDGE):
            if link.name not in masters or link.name == uplink:
                continue
            policy = _policy_against(facts, link, uplink, family)
            if policy is not None:
                text = say(
                    "What comes in by {bridge}, which is not Docker's, and leaves by {uplink} is dropped by the policy of "
                    "FORWARD, and no rule accepts it.",
                    bridge=link.name,
                    uplink=uplink,
                )
                program = "iptables" if family is Family.IPV4 else "ip6tables"
                command = shlex.join([program, "-I", "DOCKER-USER", "-i", link.name, "-j", "ACCEPT"])
                subject = link.name if family is Family.IPV4 else f"{link.name} (IPv6)"
                evidence = tuple(line for line in (policy, link.evidence) if line is not None)
                yield Found(subject, text, evidence, command if _has_user_chain(facts, family) else "")


def _policy_against(facts: Facts, link: Link, uplink: str, family: Family) -> Evidence | None:
    """The policy of iptables that stops a guest's way out, where guests are meant to have one: their source is rewritten."""
    for address in link.addresses:
        wanted = address.ip.family is family and address.scope == "global" and address.prefix.length < family.bits
        if wanted and facts.rules[family].rewrites_source(address.prefix):
            guest = Ip(family, address.prefix.last - 1)
            answer = forwarded(facts.world, Probe(link.name, uplink, guest, facts.far[family]))
            stopped = answer.stopped if answer is not None else None
            if (
                stopped is not None
                and stopped.rule is None
                and stopped.table == "filter"
                and stopped.chain == "FORWARD"
            ):
                return stopped.evidence
    return None


def _has_user_chain(facts: Facts, family: Family) -> bool:
    """iptables that Docker uses has DOCKER-USER, and packets meet it."""
    return any(
        "DOCKER-USER" in table.chains and table.origin is not Origin.NFT for table in facts.rules[family].iptables
    )


def _direct_drops(facts: Facts) -> Iterator[Found]:
    uplinks = {uplink_of(facts, family) for family in Family}
    others = [link.name for link in _foreign(facts, LinkKind.BRIDGE, *_TUNNELS) if link.name not in uplinks]
    if not others:
        return
    lines: dict[str, list[str]] = {}
    for family in Family:
        for value, place in facts.rules[family].direct_drops.items():
            packets = _packets(facts, place, lines)
            owners = facts.world.endpoints.get(Ip(family, value), ())
            if packets and owners:
                container = owners[0][0]
                text = say(
                    "{count} packets to {ip} of {container} that did not come over its bridge were dropped before any other "
                    "rule; this host also has {interfaces}.",
                    count=packets,
                    ip=Ip(family, value),
                    container=container.name,
                    interfaces=some(others),
                )
                subject = container.name if family is Family.IPV4 else f"{container.name} (IPv6)"
                yield Found(subject, text, (place.rule.evidence,))


def _packets(facts: Facts, place: Place, lines: dict[str, list[str]]) -> int:
    """How often a rule has matched, where `iptables-save -c` says."""
    evidence = place.rule.evidence
    if place.table.origin is Origin.NFT or evidence.file not in facts.snapshot.files:
        return 0
    if evidence.file not in lines:
        lines[evidence.file] = facts.snapshot.files[evidence.file].splitlines()
    found = _COUNTERS.match(lines[evidence.file][evidence.line - 1].strip())
    return int(found[1]) if found else 0


CHECKS = (
    Check(
        code="foreign-bridge-cut-off",
        severity=Severity.WARNING,
        title=say("FORWARD drops what others' bridges send out"),
        meaning=say(
            "Docker sets the policy of FORWARD to DROP when it switches forwarding on. Virtual machines and containers of "
            "other programs (libvirt, LXD, CNI) then have no way out."
        ),
        detected=say(
            "A bridge that is not Docker's has ports and an address, a rule masquerades its subnet, and yet a packet from "
            "there to the world meets the policy."
        ),
        fix=say('Accept the bridge in DOCKER-USER, or start Docker with "ip-forward-no-drop".'),
        find=_cut_off,
    ),
    Check(
        code="direct-access-dropped",
        severity=Severity.INFO,
        title=say("Packets to a container that went past its bridge were dropped"),
        meaning=say(
            "From 28.0.2 on Docker drops, before routing and before DOCKER-USER, what comes to a container's address by "
            "another interface. Other container engines and tunnels that route to containers are cut off."
        ),
        detected=say(
            "Counters of these rules are not zero, and the host has bridges or tunnels that are not Docker's."
        ),
        fix=say(
            "If this is meant to work: the network's option com.docker.network.bridge.trusted_host_interfaces, or "
            '"allow-direct-routing" in daemon.json.'
        ),
        find=_direct_drops,
    ),
)
