"""The packet filter of a made-up host, once as a rule and in two forms: `iptables-save -c` and `nft -j list ruleset`.

The rules and their order are those of Docker 29 with the iptables backend: chains that Docker appends to are in order of
creation, those that it inserts into (`DOCKER` of the filter table, MASQUERADE) have the newest rule first.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from types import MappingProxyType
from typing import Any, TypeVar

from benchmarks.plan import DOCKER0, FIRST_OWN_PORT, Bridge, Container, Endpoint, Host, Port

Json = dict[str, Any]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Target = Network | Address

_WHEN = "Mon Nov 23 18:53:38 2026"
_VERSION = {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}
_HOOKS: Mapping[str, Mapping[str, tuple[str, str, int]]] = {
    "raw": {"PREROUTING": ("filter", "prerouting", -300), "OUTPUT": ("filter", "output", -300)},
    "filter": {
        "INPUT": ("filter", "input", 0),
        "FORWARD": ("filter", "forward", 0),
        "OUTPUT": ("filter", "output", 0),
    },
    "nat": {
        "PREROUTING": ("nat", "prerouting", -100),
        "INPUT": ("nat", "input", 100),
        "OUTPUT": ("nat", "output", -100),
        "POSTROUTING": ("nat", "postrouting", 100),
    },
}
"""Type, hook and priority of the base chains that `iptables-save` shows of each table, in its order."""


@dataclass(frozen=True, slots=True)
class Match:
    """One condition of a rule."""

    text: str
    """For `iptables`."""
    expression: Json
    """For `nft`."""
    rank: int = 5
    """Where iptables-nft puts it: interfaces, protocol, addresses, then everything else."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a chain; its conditions are in the order of `iptables-save`."""

    chain: str
    matches: tuple[Match, ...]
    target: str
    """What follows `-j`."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of iptables-nft."""

    family: str
    name: str
    chains: tuple[str, ...]
    """In the order in which nft lists them. The base chains without a rule exist for `iptables-save` only."""
    rules: tuple[Rule, ...]
    policies: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Of base chains that do not accept."""


# Conditions


def _compare(left: Json, right: object, *, no: bool = False) -> Json:
    return {"match": {"op": "!=" if no else "==", "left": left, "right": right}}


def _address(option: str, name: str, rank: int, target: Target, *, no: bool = False) -> Match:
    network = ip_network(target)
    one = network.prefixlen == network.max_prefixlen
    right = str(network[0]) if one else {"prefix": {"addr": str(network[0]), "len": network.prefixlen}}
    left = {"payload": {"protocol": "ip" if network.version == 4 else "ip6", "field": name}}
    return Match(f"{'! ' * no}{option} {network}", _compare(left, right, no=no), rank)


def _saddr(target: Target) -> Match:
    return _address("-s", "saddr", 3, target)


def _daddr(target: Target, *, no: bool = False) -> Match:
    return _address("-d", "daddr", 4, target, no=no)


def _iif(name: str, *, no: bool = False) -> Match:
    return Match(f"{'! ' * no}-i {name}", _compare({"meta": {"key": "iifname"}}, name, no=no), 0)


def _oif(name: str, *, no: bool = False) -> Match:
    return Match(f"{'! ' * no}-o {name}", _compare({"meta": {"key": "oifname"}}, name, no=no), 1)


def _port(protocol: str, side: str, first: int, last: int = 0) -> Match:
    """`side` is `dport` or `sport`; a range when there is a last port."""
    shown = f"{first}:{last}" if last else f"{first}"
    left = {"payload": {"protocol": protocol, "field": side}}
    right = {"range": [first, last]} if last else first
    return Match(f"-p {protocol} -m {protocol} --{side} {shown}", _compare(left, right))


def _extension(text: str, name: str) -> Match:
    """A match that nft cannot show."""
    return Match(text, {"xt": {"type": "match", "name": name}})


def _multiport(protocol: str, ports: str) -> tuple[Match, Match]:
    meta = Match(f"-p {protocol}", _compare({"meta": {"key": "l4proto"}}, protocol), 2)
    return meta, _extension(f"-m multiport --dports {ports}", "multiport")


_ESTABLISHED = _extension("-m conntrack --ctstate RELATED,ESTABLISHED", "conntrack")
_TO_LOCAL = _extension("-m addrtype --dst-type LOCAL", "addrtype")
_LOOPBACK = IPv4Network("127.0.0.0/8")
_LOOPBACK6 = IPv6Address("::1")
_RESOLVER = IPv4Address("127.0.0.11")


# Docker's rules


@dataclass(frozen=True, slots=True)
class Protocol:
    """IPv4 or IPv6, as far as the rules of a host are concerned."""

    table: str
    """Family of its tables."""
    loopback: Target

    def address(self, endpoint: Endpoint) -> Address:
        return endpoint.address if self.table == "ip" else _known(endpoint.address6)

    def subnet(self, bridge: Bridge) -> Network:
        return bridge.subnet if self.table == "ip" else _known(bridge.subnet6)

    def socket(self, endpoint: Endpoint, port: int) -> str:
        """As DNAT writes an address with a port."""
        shown = str(self.address(endpoint))
        return f"{shown}:{port}" if self.table == "ip" else f"[{shown}]:{port}"


IPV4, IPV6 = Protocol("ip", _LOOPBACK), Protocol("ip6", _LOOPBACK6)
_T = TypeVar("_T")


def _known(found: _T | None) -> _T:
    assert found is not None
    return found


def host_tables(host: Host, protocol: Protocol = IPV4) -> tuple[Table, ...]:
    """The host's tables of networks with a protocol, in the order of `iptables-save`."""
    bridges = (DOCKER0, *host.bridges) if protocol is IPV4 else host.bridges
    return (
        Table(protocol.table, "raw", ("PREROUTING",), tuple(_direct_access(host, protocol))),
        Table(
            protocol.table,
            "filter",
            ("DOCKER", "DOCKER-FORWARD", "DOCKER-BRIDGE", "DOCKER-CT", "DOCKER-INTERNAL", "FORWARD", "DOCKER-USER"),
            (*_filter_rules(host, bridges, protocol), *admin_rules(host, protocol)),
            MappingProxyType({"FORWARD": "DROP"}),
        ),
        Table(
            protocol.table,
            "nat",
            ("DOCKER", "PREROUTING", "OUTPUT", "POSTROUTING"),
            tuple(_nat_rules(host, bridges, protocol)),
        ),
    )


def _direct_access(host: Host, protocol: Protocol) -> Iterable[Rule]:
    """No address of a container is to be reached from elsewhere than its own bridge."""
    for _, endpoint in host.endpoints:
        matches = _daddr(protocol.address(endpoint)), _iif(endpoint.bridge.interface, no=True)
        yield Rule("PREROUTING", matches, "DROP")


def _filter_rules(host: Host, bridges: Sequence[Bridge], protocol: Protocol) -> Iterable[Rule]:
    yield Rule("FORWARD", (), "DOCKER-USER")
    yield Rule("FORWARD", (), "DOCKER-FORWARD")
    for endpoint, port in reversed(_published(host)):
        name = endpoint.bridge.interface
        matches = (
            _daddr(protocol.address(endpoint)),
            _iif(name, no=True),
            _oif(name),
            _port(port.protocol, "dport", port.number),
        )
        yield Rule("DOCKER", matches, "ACCEPT")
    for name in (bridge.interface for bridge in bridges):
        yield Rule("DOCKER", (_iif(name, no=True), _oif(name)), "DROP")
        yield Rule("DOCKER-BRIDGE", (_oif(name),), "DOCKER")
        yield Rule("DOCKER-CT", (_oif(name), _ESTABLISHED), "ACCEPT")
    for chain in ("DOCKER-CT", "DOCKER-INTERNAL", "DOCKER-BRIDGE"):
        yield Rule("DOCKER-FORWARD", (), chain)
    for bridge in bridges:
        yield Rule("DOCKER-FORWARD", (_iif(bridge.interface),), "ACCEPT")


def _nat_rules(host: Host, bridges: Sequence[Bridge], protocol: Protocol) -> Iterable[Rule]:
    yield Rule("PREROUTING", (_TO_LOCAL,), "DOCKER")
    yield Rule("OUTPUT", (_daddr(protocol.loopback, no=True), _TO_LOCAL), "DOCKER")
    for bridge in reversed(bridges):
        yield Rule("POSTROUTING", (_saddr(protocol.subnet(bridge)), _oif(bridge.interface, no=True)), "MASQUERADE")
    for endpoint, port in _published(host):
        matches = (_iif(endpoint.bridge.interface, no=True), _port(port.protocol, "dport", port.host_port))
        yield Rule("DOCKER", matches, f"DNAT --to-destination {protocol.socket(endpoint, port.number)}")


def _published(host: Host) -> list[tuple[Endpoint, Port]]:
    return [(container.gateway_endpoint, port) for container in host.containers for port in container.ports]


def host_tables6(host: Host) -> tuple[Table, ...]:
    """The host's IPv6 tables, in the order of `ip6tables-save`: few rules where no network has IPv6."""
    if host.spec.ipv6:
        return host_tables(host, IPV6)
    filters = tuple(Rule("DOCKER-FORWARD", (), f"DOCKER-{name}") for name in ("CT", "INTERNAL", "BRIDGE"))
    output = Rule("OUTPUT", (_daddr(_LOOPBACK6, no=True), _TO_LOCAL), "DOCKER")
    chains = ("DOCKER", "DOCKER-FORWARD", "DOCKER-BRIDGE", "DOCKER-CT", "DOCKER-INTERNAL", "FORWARD", "DOCKER-USER")
    return (
        Table("ip6", "filter", chains, filters),
        Table("ip6", "nat", ("DOCKER", "PREROUTING", "OUTPUT"), (Rule("PREROUTING", (_TO_LOCAL,), "DOCKER"), output)),
    )


def container_tables(container: Container) -> tuple[Table, ...]:
    """What Docker puts into the namespace of a container on a user-defined network, for its resolver."""
    to, of = _daddr(_RESOLVER), _saddr(_RESOLVER)
    ports = (("tcp", container.dns_tcp), ("udp", container.dns_udp))
    dnat = (
        Rule("DOCKER_OUTPUT", (to, _port(name, "dport", 53)), f"DNAT --to-destination {_RESOLVER}:{port}")
        for name, port in ports
    )
    snat = (
        Rule("DOCKER_POSTROUTING", (of, _port(name, "sport", port)), "SNAT --to-source :53") for name, port in ports
    )
    jumps = (Rule("OUTPUT", (to,), "DOCKER_OUTPUT"), Rule("POSTROUTING", (to,), "DOCKER_POSTROUTING"))
    chains = ("DOCKER_OUTPUT", "OUTPUT", "DOCKER_POSTROUTING", "POSTROUTING")
    return (Table("ip", "nat", chains, (*jumps, *dnat, *snat)),)


# The administrator's rules


def admin_rules(host: Host, protocol: Protocol = IPV4) -> tuple[Rule, ...]:
    """What is in DOCKER-USER: established connections, then each container's own rules, then those drawn at random."""
    rng = random.Random(host.spec.seed)  # noqa: S311
    own = tuple(_own_rules(host, protocol)) if host.spec.distinct else ()
    count = host.spec.admin_rules if host.containers else 0
    drawn = tuple(rng.choice(_KINDS)(host, protocol, rng) for _ in range(count))
    found = (*own, *drawn)
    return (Rule("DOCKER-USER", (_ESTABLISHED,), "ACCEPT"), *found) if found else ()


def _own_rules(host: Host, of: Protocol) -> Iterable[Rule]:
    """As a client a container lacks one TCP port everywhere, as a server it lacks one UDP port."""
    for container, endpoint in host.endpoints:
        port = FIRST_OWN_PORT + container.number
        yield Rule("DOCKER-USER", (_saddr(of.address(endpoint)), _port("tcp", "dport", port)), "DROP")
        yield Rule("DOCKER-USER", (_daddr(of.address(endpoint)), _port("udp", "dport", port)), "DROP")


_Draw = Callable[[Host, Protocol, random.Random], Rule]
_PORTS = (22, 53, 80, 443, 3306, 5432, 6379, 8008, 8080, 8443, 9100, 9200)


def _one(host: Host, of: Protocol, rng: random.Random) -> tuple[Network, Address, Port | None]:
    """The subnet of some clients, in half of all cases the server's own; the server's address; a port it publishes."""
    server = rng.choice(host.containers)
    endpoint = rng.choice(server.endpoints)
    bridge = endpoint.bridge if rng.random() < 0.5 else rng.choice(host.bridges)
    return of.subnet(bridge), of.address(endpoint), rng.choice(server.ports) if server.ports else None


def _deny_service(host: Host, of: Protocol, rng: random.Random) -> Rule:
    subnet, server, port = _one(host, of, rng)
    protocol, number = (port.protocol, port.number) if port else ("tcp", rng.choice(_PORTS))
    return Rule("DOCKER-USER", (_saddr(subnet), _daddr(server), _port(protocol, "dport", number)), "DROP")


def _allow_service(host: Host, of: Protocol, rng: random.Random) -> Rule:
    subnet, server, port = _one(host, of, rng)
    protocol, number = (port.protocol, port.number) if port else ("tcp", rng.choice(_PORTS))
    return Rule("DOCKER-USER", (_saddr(subnet), _daddr(server), _port(protocol, "dport", number)), "ACCEPT")


def _deny_port_of_subnet(host: Host, of: Protocol, rng: random.Random) -> Rule:
    subnet, _, _ = _one(host, of, rng)
    return Rule("DOCKER-USER", (_saddr(subnet), _port("tcp", "dport", rng.choice(_PORTS))), "DROP")


def _deny_range_of_server(host: Host, of: Protocol, rng: random.Random) -> Rule:
    _, server, _ = _one(host, of, rng)
    first = rng.randrange(1024, 30_000)
    return Rule("DOCKER-USER", (_daddr(server), _port("udp", "dport", first, first + rng.randrange(1, 2000))), "DROP")


def _multiport_of_subnet(host: Host, of: Protocol, rng: random.Random) -> Rule:
    subnet, server, _ = _one(host, of, rng)
    ports = ",".join(str(port) for port in sorted(rng.sample(_PORTS, 3)))
    where = (_saddr(subnet),) if rng.random() < 0.5 else (_saddr(subnet), _daddr(server))
    return Rule("DOCKER-USER", (*where, *_multiport("tcp", f"{ports},9990:9999")), rng.choice(("ACCEPT", "DROP")))


def _deny_client(host: Host, of: Protocol, rng: random.Random) -> Rule:
    subnet, client, _ = _one(host, of, rng)
    return Rule("DOCKER-USER", (_saddr(client), _daddr(subnet), _port("tcp", "dport", rng.choice(_PORTS))), "DROP")


def _allow_client(host: Host, of: Protocol, rng: random.Random) -> Rule:
    subnet, client, _ = _one(host, of, rng)
    return Rule("DOCKER-USER", (_saddr(client), _daddr(subnet)), "ACCEPT")


_KINDS: tuple[_Draw, ...] = (
    _deny_service,
    _deny_service,
    _allow_service,
    _deny_port_of_subnet,
    _deny_range_of_server,
    _multiport_of_subnet,
    _deny_client,
    _allow_client,
)


# The two forms


def save_text(tables: Iterable[Table]) -> bytes:
    """`iptables-save -c`, or `ip6tables-save -c` for tables of that family."""
    lines: list[str] = []
    for table in tables:
        program = f"{table.family}tables-nft-save v1.8.9 (nf_tables)"
        lines += [f"# Generated by {program} on {_WHEN}", f"*{table.name}", *_save_chains(table)]
        lines += ["COMMIT", f"# Completed on {_WHEN}"]
    return ("\n".join(lines) + "\n").encode()


def _save_chains(table: Table) -> Iterable[str]:
    base = tuple(_HOOKS[table.name])
    own = tuple(sorted(set(table.chains) - set(base)))
    yield from (f":{chain} {table.policies.get(chain, 'ACCEPT')} [0:0]" for chain in base)
    yield from (f":{chain} - [0:0]" for chain in own)
    rules = _by_chain(table)
    for chain in (*base, *own):
        for rule in rules.get(chain, ()):
            yield " ".join(("[0:0] -A", chain, *(match.text for match in rule.matches), "-j", rule.target))


def nft_json(tables: Iterable[Table]) -> bytes:
    """`nft -j list ruleset`, which shows the tables of iptables-nft as far as it can."""
    items: list[Json] = [{"metainfo": _VERSION}]
    for number, table in enumerate(tables, 1):
        items.append({"table": {"family": table.family, "name": table.name, "handle": number}})
        items += _nft_table(table)
    return (json.dumps({"nftables": items}) + "\n").encode()


def _nft_table(table: Table) -> Iterable[Json]:
    hooks = _HOOKS[table.name]
    where = {"family": table.family, "table": table.name}
    handle = 0
    for chain in table.chains:
        handle += 1
        shown: Json = {**where, "name": chain, "handle": handle}
        if chain in hooks:
            kind, hook, priority = hooks[chain]
            policy = table.policies.get(chain, "ACCEPT").lower()
            shown |= {"type": kind, "hook": hook, "prio": priority, "policy": policy}
        yield {"chain": shown}
    rules = _by_chain(table)
    for chain in table.chains:
        for rule in rules.get(chain, ()):
            handle += 1
            yield {"rule": {**where, "chain": chain, "handle": handle, "expr": _expressions(rule)}}


def _expressions(rule: Rule) -> list[Json]:
    matches = [match.expression for match in sorted(rule.matches, key=lambda match: match.rank)]
    return [*matches, {"counter": {"packets": 0, "bytes": 0}}, _statement(rule.target)]


def _statement(target: str) -> Json:
    name = target.partition(" ")[0]
    if name in ("ACCEPT", "DROP"):
        return {name.lower(): None}
    if name in ("DNAT", "SNAT", "MASQUERADE"):
        return {"xt": {"type": "target", "name": name}}
    return {"jump": {"target": target}}


def _by_chain(table: Table) -> dict[str, list[Rule]]:
    found: dict[str, list[Rule]] = {}
    for rule in table.rules:
        found.setdefault(rule.chain, []).append(rule)
    return found
