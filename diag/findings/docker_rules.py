"""Checks of the rules that Docker should have made: those that are gone, and those that are left from other times.

:mod:`diag.findings.host_rules` says what each version makes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from msgspec import Struct

from diag.findings.check import Check, Facts, Found
from diag.findings.host_rules import NATIVE_TABLE, PROTOCOLS, HostRules, Place
from diag.findings.phrases import citing, some
from diag.model.address import Family, Ip, Prefix
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.finding import Severity
from diag.model.message import say
from diag.model.netfilter import Hook, InSet, Nat
from diag.model.provenance import Evidence

_PER_ENDPOINT = (28, 0, 2)
"""The first version that drops what comes to a container past its bridge by one rule for each address."""
_NO = ("false", "f", "0")
"""What strconv.ParseBool() takes for no."""
_TRANSLATED = ("nat", "nat-unprotected")


class _State(Struct, frozen=True):
    """What of one family is there and what is not."""

    family: Family
    rules: HostRules
    wanting: tuple[DockerNetwork, ...]
    """Networks that need rules of their own in FORWARD."""
    silent: tuple[DockerNetwork, ...]
    """Those of them that have none."""
    translated: tuple[tuple[DockerNetwork, Prefix], ...]
    """Subnets whose packets to elsewhere need another source address."""
    bare: tuple[tuple[DockerNetwork, Prefix], ...]
    """Those of them for which no rule does that."""

    @property
    def nothing(self) -> bool:
        """There is no rule of Docker's at all. Where someone else rewrites sources that is what `iptables=false` asks for."""
        gone = not self.rules.has_docker_chains and self.rules.shows_both_variants
        return gone and bool(self.wanting) and self.translated == self.bare != ()

    @property
    def filter_gone(self) -> bool:
        known = self.rules.uses_nft or self.rules.has_table("filter")
        return self.rules.has_docker_chains and known and bool(self.wanting) and self.silent == self.wanting

    @property
    def nat_gone(self) -> bool:
        known = self.rules.uses_nft or self.rules.has_table("nat")
        return self.rules.has_docker_chains and known and bool(self.translated) and not self.rules.publishes

    def label(self, table: str) -> str:
        """What a finding about a table is called."""
        return table if self.family is Family.IPV4 else f"{table} (IPv6)"


def gateway_mode(network: DockerNetwork, family: Family) -> str:
    """How a bridge network is reached from outside (moby 28 drivers/bridge): `nat` unless chosen."""
    return network.options.get(f"com.docker.network.bridge.gateway_mode_{family.label}") or "nat"


def _states(facts: Facts) -> Iterator[_State]:
    """Of each family whose rules were captured and are Docker's to make."""
    for family in Family:
        rules = facts.rules[family]
        if not rules.complete or (family is Family.IPV6 and not rules.has_docker_chains):
            continue
        networks = [
            (network, config.subnet)
            for network in facts.bridge_networks
            if not network.internal
            for config in network.ipam
            if config.subnet.family is family
        ]
        wanting = tuple(dict.fromkeys(network.name for network, _ in networks))
        by_name = {network.name: network for network, _ in networks}
        translated = tuple((n, s) for n, s in networks if _masquerades(n) and gateway_mode(n, family) in _TRANSLATED)
        yield _State(
            family,
            rules,
            tuple(by_name[name] for name in wanting),
            tuple(by_name[name] for name in wanting if not rules.accepts_from(by_name[name].bridge_name)),
            translated,
            tuple((n, subnet) for n, subnet in translated if not rules.rewrites_source(subnet)),
        )


def _masquerades(network: DockerNetwork) -> bool:
    return network.options.get("com.docker.network.bridge.enable_ip_masquerade", "true").lower() not in _NO


# Everything of a table is gone


def _flushed(facts: Facts) -> Iterator[Found]:
    for state in _states(facts):
        names = some(n.name for n in state.wanting)
        forward = state.rules.forward_line
        network = state.wanting[0].evidence if state.wanting else None
        if state.nothing:
            text = say(
                "There is no rule of Docker's on this host: nothing that leaves {networks} gets a source address that the "
                "world can answer, no port is published by rules, and nothing keeps the networks apart.",
                networks=names,
            )
            yield Found(
                state.label(NATIVE_TABLE if state.rules.uses_nft else "iptables"), text, citing(network, forward)
            )
            continue
        if state.filter_gone:
            drops = state.rules.forward is not None and state.rules.forward.policy_drop
            text = (
                say(
                    "No rule of Docker's for {networks} is met in FORWARD, which drops by default: nothing passes between "
                    "them and elsewhere.",
                    networks=names,
                )
                if drops
                else say(
                    "No rule of Docker's for {networks} is met in FORWARD, which accepts by default: nothing keeps networks "
                    "apart or closes ports that were not published.",
                    networks=names,
                )
            )
            yield Found(state.label("filter"), text, citing(network, forward))
        if state.nat_gone:
            text = say(
                "What comes in no longer meets Docker's rules for published ports, and of the subnets of {networks} "
                "{missing} of {count} are not masqueraded.",
                networks=names,
                missing=len(state.bare),
                count=len(state.translated),
            )
            yield Found(state.label("nat"), text, citing(network))


# Some of it is gone


def _network_rules(facts: Facts) -> Iterator[Found]:
    for state in _states(facts):
        if state.nothing or state.filter_gone or not state.rules.has_docker_chains:
            continue
        silent = {network.name for network in state.silent}
        others = some(network.name for network in state.wanting if network.name not in silent)
        for network in state.silent:
            text = say(
                "FORWARD has rules for {others}, but none that accepts what comes in by {bridge}, the bridge of {network}.",
                others=others,
                bridge=network.bridge_name,
                network=network.name,
            )
            yield Found(state.label(network.name), text, citing(network.evidence, state.rules.forward_line))


def _masquerade(facts: Facts) -> Iterator[Found]:
    for state in _states(facts):
        if state.nothing or state.nat_gone or not (state.rules.uses_nft or state.rules.has_table("nat")):
            continue
        silent = {network.name for network in state.silent}
        for network, subnet in state.bare:
            if network.name in silent:
                continue  # all of its rules are gone, which another check says
            text = say(
                "No rule rewrites the source of what leaves {subnet} of {network}: the world gets packets from an address "
                "that it cannot answer.",
                subnet=subnet,
                network=network.name,
            )
            command = "" if state.rules.uses_nft else _masquerade_command(state.family, subnet, network.bridge_name)
            yield Found(state.label(network.name), text, citing(network.evidence), command)


def _masquerade_command(family: Family, subnet: Prefix, bridge: str) -> str:
    program = "iptables" if family is Family.IPV4 else "ip6tables"
    words = [program, "-t", "nat", "-I", "POSTROUTING", "-s", str(subnet), "!", "-o", bridge, "-j", "MASQUERADE"]
    return shlex.join(words)


# Rules of single containers


class _Lost(Struct, frozen=True):
    """A rule that one container should have."""

    container: Container
    what: str
    evidence: Evidence
    """A rule that is there."""


def _endpoint_rules(facts: Facts) -> Iterator[Found]:
    lost: dict[str, list[_Lost]] = {}
    for state in _states(facts):
        if not state.rules.has_docker_chains or state.nat_gone:
            continue
        for rule in (*_closed(facts, state), *_unguarded(facts, state)):
            lost.setdefault(rule.container.name, []).append(rule)
    for name, rules in sorted(lost.items()):
        text = say(
            "{container} lacks {what}, while others have theirs.", container=name, what=some(r.what for r in rules)
        )
        evidence = citing(rules[0].container.evidence, *(rule.evidence for rule in rules))
        yield Found(name, text, evidence, shlex.join(["docker", "restart", name]))


def _closed(facts: Facts, state: _State) -> Iterator[_Lost]:
    """Published ports whose packets are sent on, and dropped in FORWARD for want of the rule that lets them in."""
    if not state.rules.opened or state.filter_gone:
        return
    guarded = {network.id for network, _ in state.translated if gateway_mode(network, state.family) == "nat"}
    for (protocol, asked), places in state.rules.published.items():
        for place in places:
            address, port = _target(place, asked)
            for container, endpoint in facts.world.endpoints.get(address, ()) if address else ():
                wanted = endpoint.network_id in guarded and container.status == "running"
                if wanted and address and (address.value, protocol, port) not in state.rules.opened:
                    what = say("the rule that lets in what is sent on to {ip}:{port}", ip=address, port=port)
                    yield _Lost(container, what, place.rule.evidence)


def _address(endpoint: Endpoint, family: Family) -> Ip | None:
    return endpoint.ip if family is Family.IPV4 else endpoint.ip6


def _unguarded(facts: Facts, state: _State) -> Iterator[_Lost]:
    """Addresses that packets from elsewhere get at past the bridge, and loopback ports that strangers get at."""
    if facts.version is None or facts.version < _PER_ENDPOINT or not state.rules.direct_drops:
        return
    other = next(iter(state.rules.direct_drops.values())).rule.evidence
    guarded = {n.id for n in facts.bridge_networks if not n.internal and gateway_mode(n, state.family) == "nat"}
    for container in facts.snapshot.containers:
        if container.status != "running":
            continue
        for endpoint in container.endpoints:
            address = _address(endpoint, state.family)
            if endpoint.network_id in guarded and address and address.value not in state.rules.direct_drops:
                yield _Lost(container, say("the rule that drops what comes to {ip} past its bridge", ip=address), other)
        for port in container.ports if state.family is Family.IPV4 else ():
            key = (PROTOCOLS.get(port.protocol, 0), port.host_port)
            on_loopback = port.host_ip is not None and port.host_ip.family is Family.IPV4 and port.host_ip.is_loopback
            if on_loopback and port.host_port > 0 and key not in state.rules.loopback_drops:
                what = say("the rule that keeps strangers from {ip}:{port}", ip=port.host_ip, port=port.host_port)
                yield _Lost(container, what, other)


# What is left from other times


def _stale_publishing(facts: Facts) -> Iterator[Found]:
    if not facts.snapshot.containers_captured or any(c.status == "restarting" for c in facts.snapshot.containers):
        return
    owned = {ip for c in facts.snapshot.containers if c.running for e in c.endpoints for ip in (e.ip, e.ip6) if ip}
    owned.update(ip for n in facts.bridge_networks for m in n.members for ip in m.addresses)  # those of a swarm too
    for state in _states(facts):
        own = [subnet for _, subnet in state.translated]
        for (number, port), places in state.rules.published.items():
            for place in places:
                target, _ = _target(place, port)
                if target is None or target in owned or not any(target in subnet for subnet in own):
                    continue
                protocol = _protocol(number)
                text = say(
                    "A rule of Docker's sends port {port}/{protocol} to {ip}, an address that no running container has: "
                    "callers wait in vain, even if another container publishes the port by now.",
                    port=port,
                    protocol=protocol,
                    ip=target,
                )
                yield Found(f"{port}/{protocol}", text, (place.rule.evidence,), _deletion(state.family, place))


def _target(place: Place, asked: int) -> tuple[Ip | None, int]:
    """Where Docker's own rules for published ports send packets for the port that was asked; None for others."""
    nat = place.rule.parts[-1]
    if place.chain not in ("DOCKER", "nat-prerouting-and-output") or not isinstance(nat, Nat) or not nat.addresses:
        return None, 0
    return nat.addresses[0][0], nat.ports[0] if nat.ports else asked


def _protocol(wanted: int) -> str:
    return next((name for name, number in PROTOCOLS.items() if number == wanted), str(wanted))


def _deletion(family: Family, place: Place) -> str:
    """The rule as it stands, deleted."""
    if place.table.name == NATIVE_TABLE or not place.rule.evidence.text.startswith("-A "):
        return ""
    program = "iptables" if family is Family.IPV4 else "ip6tables"
    try:
        words = shlex.split(place.rule.evidence.text)
    except ValueError:
        return ""
    return shlex.join([program, "-t", place.table.name, "-D", *words[1:]])


_OF_28 = (28, 0, 1)
"""The first version with DOCKER-FORWARD."""
_OF_29 = (29, 0, 0)
"""The first version without the isolation chains."""


def _leftovers(facts: Facts) -> Iterator[Found]:
    version = facts.version
    if version is None:
        return
    for family in Family:
        rules = facts.rules[family]
        if rules.uses_nft or version >= _OF_29:
            foreign = ["DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"]
        elif version < _OF_28:
            foreign = ["DOCKER-FORWARD", "DOCKER-CT", "DOCKER-BRIDGE", "DOCKER-INTERNAL"]
        else:
            foreign = []
        if rules.uses_nft:
            foreign += ["DOCKER", "DOCKER-FORWARD", "DOCKER-CT", "DOCKER-BRIDGE", "DOCKER-INTERNAL"]
        met = {
            chain: _first_line(rules, chain) for chain in foreign if ("filter", Hook.FORWARD, chain) in rules.reached
        }
        lines = {chain: evidence for chain, evidence in met.items() if evidence is not None}
        if lines:
            text = say(
                "In FORWARD packets meet {chains}, which Docker {version} with the {backend} backend does not make.",
                chains=some(lines),
                version=facts.snapshot.engine.version,
                backend="nftables" if rules.uses_nft else "iptables",
            )
            yield Found(_of_family("filter", family), text, tuple(lines.values()))
        if not rules.uses_nft and rules.native is not None and any(c.rules for c in rules.native.chains.values()):
            evidence = next((c.base.evidence for c in rules.native.chains.values() if c.base), None)
            text = say("Table {table} of the nftables backend is there, but Docker uses iptables.", table=NATIVE_TABLE)
            yield Found(_of_family(NATIVE_TABLE, family), text, citing(evidence))
        yield from _old_sets(rules, version, family)


def _first_line(rules: HostRules, name: str) -> Evidence | None:
    for table in rules.iptables:
        if table.name == "filter" and name in table.chains and table.chains[name].rules:
            return table.chains[name].rules[0].evidence
    return None


def _old_sets(rules: HostRules, version: tuple[int, int, int], family: Family) -> Iterator[Found]:
    """28.0.0 alone matched all bridges by one ipset."""
    if version == (28, 0, 0):
        return
    for table in rules.iptables:
        forward = table.chains.get("FORWARD") if table.name == "filter" else None
        for rule in forward.rules if forward else ():
            names = [
                p.set_name for p in rule.parts if isinstance(p, InSet) and p.set_name.startswith("docker-ext-bridges")
            ]
            if names:
                text = say(
                    "FORWARD still has rules with the set {name}, which only Docker 28.0.0 keeps.", name=names[0]
                )
                yield Found(_of_family(names[0], family), text, (rule.evidence,))
                break


def _of_family(name: str, family: Family) -> str:
    return name if family is Family.IPV4 else f"{name} (IPv6)"


def _open_internal(facts: Facts) -> Iterator[Found]:
    for state in _states(facts):
        family, rules = state.family, state.rules
        if not rules.has_docker_chains or state.filter_gone:
            continue
        for network in facts.bridge_networks:
            name = network.bridge_name
            of_family = any(config.subnet.family is family for config in network.ipam)
            if not network.internal or not of_family or not (rules.uses_nft or rules.has_table("filter")):
                continue
            if name not in rules.into_internal or name not in rules.out_of_internal:
                text = say(
                    "{network} is internal, but no rule drops what passes between {bridge} and elsewhere.",
                    network=network.name,
                    bridge=name,
                )
                yield Found(_of_family(network.name, family), text, citing(network.evidence, rules.forward_line))


CHECKS = (
    Check(
        code="docker-rules-missing",
        severity=Severity.ERROR,
        title=say("Docker's firewall rules are gone"),
        meaning=say(
            "Something flushed or reloaded the firewall after Docker had set it up, or Docker was told not to make rules. "
            "Where FORWARD drops by default containers reach nothing beyond their bridge; where it accepts, nothing keeps "
            "networks apart or closes ports that were not published. Published ports and the way out need the nat table."
        ),
        detected=say(
            "A bridge network is there, and no rule that packets meet in the table is of the kind that every version of "
            "Docker makes for such a network."
        ),
        fix=say(
            "Restart Docker (systemctl restart docker), which makes its rules again, and find out what flushed them."
        ),
        find=_flushed,
    ),
    Check(
        code="network-rules-missing",
        severity=Severity.ERROR,
        title=say("A network has lost its firewall rules"),
        meaning=say(
            "Its containers reach nothing beyond their bridge where FORWARD drops by default, or are not protected."
        ),
        detected=say(
            "Other bridge networks have a rule in FORWARD that accepts what comes in by their bridge; this one has none."
        ),
        fix=say("Restart Docker (systemctl restart docker), which makes its rules again."),
        find=_network_rules,
    ),
    Check(
        code="masquerade-missing",
        severity=Severity.ERROR,
        title=say("A network's way out has no masquerading"),
        meaning=say("Containers send packets to the world with their private addresses, so that no answer comes back."),
        detected=say(
            "The network's gateway mode is nat and masquerading is not switched off, and no MASQUERADE or SNAT rule "
            "covers its subnet."
        ),
        fix=say("Restart Docker, or add the rule."),
        find=_masquerade,
    ),
    Check(
        code="endpoint-rules-missing",
        severity=Severity.WARNING,
        title=say("A container lacks rules that the others have"),
        meaning=say(
            "After a reload only part of the rules came back (CVE-2025-54388 before 28.3.3): a published port is closed, or "
            "strangers get at addresses and loopback ports that should be closed to them."
        ),
        detected=say(
            "Targets of DNAT rules are compared with the rules that let packets in, and from Docker 28.0.2 on addresses and "
            "loopback ports with the drops before routing; others of the same kind are there."
        ),
        fix=say("Restart the container, and upgrade Docker if it is older than 28.3.3."),
        find=_endpoint_rules,
    ),
    Check(
        code="stale-publishing-rule",
        severity=Severity.WARNING,
        title=say("A published port leads to an address that is gone"),
        meaning=say(
            "The rule comes from a container that is no more. It takes the packets before the rule of a new container."
        ),
        detected=say("A DNAT rule in Docker's chain has a target in a Docker subnet that no running container has."),
        fix=say("Delete the rule, or restart Docker."),
        find=_stale_publishing,
    ),
    Check(
        code="leftover-docker-rules",
        severity=Severity.WARNING,
        title=say("Rules of another Docker version or backend are in force"),
        meaning=say(
            "They drop or accept what this version would not: networks stay apart, or open, although its own rules say "
            "otherwise."
        ),
        detected=say("FORWARD leads to chains, sets or tables with rules that the running version does not make."),
        fix=say("Delete the chains and their jumps, or restart the host."),
        find=_leftovers,
    ),
    Check(
        code="internal-network-open",
        severity=Severity.WARNING,
        title=say("An internal network is not closed"),
        meaning=say("Its containers may talk to other networks and the world, and these to them, as far as routes go."),
        detected=say("The network is internal, and the rules that drop what enters or leaves its subnet are missing."),
        fix=say("Restart Docker (systemctl restart docker), which makes its rules again."),
        find=_open_internal,
    ),
)
