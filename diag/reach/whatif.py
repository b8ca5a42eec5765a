"""Changes applied to the facts alone: what the host would look like after a command.

Each function returns a new snapshot; the old one is untouched. Docker's own side effects are modelled as far as they bear
on reachability: the veth pair, address, routes and resolver of `docker network connect` (moby daemon/libnetwork), and the
per-address rules that later versions add, by copying those of another container on the same network.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from msgspec.structs import replace

from diag.model.address import Family, Ip, Prefix
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.netfilter import Chain, Field, NfRule, NfTable, Ruleset, Within
from diag.model.netns import Address, Link, LinkKind, Netns, Nexthop, ResolvConf, Route, RouteType
from diag.model.snapshot import NameFiles, Snapshot

EMBEDDED_DNS = Ip.parse("127.0.0.11")
NEW_INDEX = 1 << 20
"""ifindex of links that do not exist yet; far above those of real ones."""


def change_netns(snapshot: Snapshot, netns: str, change: Callable[[Netns], Netns]) -> Snapshot:
    """Replace one namespace."""
    return replace(snapshot, netns=MappingProxyType({**snapshot.netns, netns: change(snapshot.netns[netns])}))


def change_link(snapshot: Snapshot, netns: str, name: str, change: Callable[[Link], Link]) -> Snapshot:
    """Replace one link, e.g. `ip link set dev NAME up` or `… master BRIDGE`."""

    def apply(space: Netns) -> Netns:
        links = tuple(change(link) if link.name == name else link for link in space.links or ())
        return replace(space, links=links)

    return change_netns(snapshot, netns, apply)


def set_ip_forward(snapshot: Snapshot) -> Snapshot:
    """`sysctl -w net.ipv4.ip_forward=1`: sets every interface's forwarding too (Documentation/networking/ip-sysctl.rst)."""

    def apply(space: Netns) -> Netns:
        changed = {
            name: "1" if name.startswith("net.ipv4.conf.") and name.endswith(".forwarding") else value
            for name, value in space.sysctl.items()
        }
        changed["net.ipv4.ip_forward"] = "1"
        return replace(space, sysctl=MappingProxyType(changed))

    return change_netns(snapshot, "host", apply)


def insert_rule(snapshot: Snapshot, netns: str, family: Family, table: str, chain: str, rule: NfRule) -> Snapshot:
    """`iptables -t TABLE -I CHAIN …` in a namespace, where it has the chain."""

    def apply(space: Netns) -> Netns:
        tables = []
        for found in space.ruleset.tables:
            if found.name == table and chain in found.chains and found.family.value == _table_family(family):
                old = found.chains[chain]
                chains = {**found.chains, chain: Chain(old.name, (rule, *old.rules), old.base)}
                found = replace(found, chains=MappingProxyType(chains))
            tables.append(found)
        return replace(space, ruleset=replace(space.ruleset, tables=tuple(tables)))

    return change_netns(snapshot, netns, apply)


def _table_family(family: Family) -> str:
    return "ip" if family is Family.IPV4 else "ip6"


def connect(snapshot: Snapshot, container: Container, network: DockerNetwork) -> Snapshot | None:
    """`docker network connect NETWORK CONTAINER` for a running container and a bridge network; None if it cannot work."""
    netns = snapshot.netns_of.get(container.name)
    subnet = next((c for c in network.ipam if c.subnet.family is Family.IPV4), None)
    host = snapshot.netns.get("host")
    if netns is None or netns == "host" or subnet is None or host is None or host.links is None:
        return None
    if network.driver != "bridge" or all(link.name != network.bridge_name for link in host.links):
        return None
    if container.joined_to or any(e.network == network.name for e in container.endpoints):
        return None
    address = _free_address(snapshot, network, subnet.subnet, subnet.gateway)
    if address is None:
        return None
    inside, outside = _veth_pair(snapshot.netns[netns], network, address, subnet.subnet)
    gateway = None if network.internal else subnet.gateway
    snapshot = change_netns(snapshot, netns, lambda s: _plug(s, inside, address, subnet.subnet, gateway))
    snapshot = change_netns(
        snapshot,
        "host",
        lambda s: replace(
            s, links=(*(s.links or ()), outside), ruleset=_like_others(s.ruleset, snapshot, network, address)
        ),
    )
    endpoint = Endpoint(network.name, network.id, address, gateway=subnet.gateway, aliases=(container.short_id,))
    moved = replace(container, endpoints=(*(e for e in container.endpoints if e.ip or e.ip6), endpoint))
    names = dict(snapshot.name_files)
    if not network.is_default_bridge:
        files = names.get(container.name, NameFiles())
        upstream = tuple(str(ip) for ip in files.resolv.nameservers) if files.resolv else ()
        names[container.name] = NameFiles(files.hosts, ResolvConf((EMBEDDED_DNS,), upstream=upstream))
    return replace(
        snapshot,
        containers=tuple(moved if c.name == container.name else c for c in snapshot.containers),
        name_files=MappingProxyType(names),
    )


def _free_address(snapshot: Snapshot, network: DockerNetwork, subnet: Prefix, gateway: Ip | None) -> Ip | None:
    taken = {e.ip for c in snapshot.containers for e in c.endpoints if e.network == network.name}
    taken |= {ip for member in network.members for ip in member.addresses}
    for offset in range(2, min(subnet.last - subnet.first, 4096)):
        candidate = Ip(Family.IPV4, subnet.first + offset)
        if candidate not in taken and candidate != gateway:
            return candidate
    return None


def _veth_pair(space: Netns, network: DockerNetwork, address: Ip, subnet: Prefix) -> tuple[Link, Link]:
    names = {link.name for link in space.links or ()}
    name = next(f"eth{n}" for n in range(len(names) + 1) if f"eth{n}" not in names)
    inside = Link(
        name,
        NEW_INDEX,
        LinkKind.VETH,
        up=True,
        carrier=True,
        peer_index=NEW_INDEX + 1,
        peer_netnsid=0,
        addresses=(Address(address, subnet),),
    )
    outside = Link(
        "veth-new",
        NEW_INDEX + 1,
        LinkKind.VETH,
        up=True,
        carrier=True,
        master=network.bridge_name,
        peer_index=NEW_INDEX,
        peer_netnsid=0,
    )
    return inside, outside


def _plug(space: Netns, link: Link, address: Ip, subnet: Prefix, gateway: Ip | None) -> Netns:
    routes = list(space.routes.get(Family.IPV4) or ())
    way = (Nexthop(link.name),)
    routes.append(Route(subnet, RouteType.UNICAST, "main", way, prefsrc=address, scope="link"))
    routes.append(Route(Prefix.of(address, 32), RouteType.LOCAL, "local", way, prefsrc=address, scope="host"))
    has_default = any(r.destination.length == 0 and r.table == "main" for r in routes)
    if gateway is not None and not has_default:
        everything = Prefix(Family.IPV4, 0, 0)
        routes.append(Route(everything, RouteType.UNICAST, "main", (Nexthop(link.name, gateway),)))
    return replace(
        space,
        links=(*(space.links or ()), link),
        routes=MappingProxyType({**space.routes, Family.IPV4: tuple(routes)}),
    )


def _like_others(ruleset: Ruleset, snapshot: Snapshot, network: DockerNetwork, address: Ip) -> Ruleset:
    """Rules that name another container's address alone get a twin for the new address."""
    others = {e.ip.value for c in snapshot.containers for e in c.endpoints if e.network == network.name and e.ip}
    return replace(ruleset, tables=tuple(_twin_table(t, others, address) for t in ruleset.tables))


def _twin_table(table: NfTable, others: set[int], address: Ip) -> NfTable:
    if table.name != "raw":
        return table
    chains = {}
    for name, chain in table.chains.items():
        twin = next((t for rule in chain.rules if (t := _twin(rule, others, address)) is not None), None)
        chains[name] = replace(chain, rules=(*chain.rules, twin)) if twin else chain
    return replace(table, chains=MappingProxyType(chains))


def _twin(rule: NfRule, others: set[int], address: Ip) -> NfRule | None:
    for position, part in enumerate(rule.parts):
        if isinstance(part, Within) and part.field is Field.DADDR and len(part.ranges) == 1:
            low, high = part.ranges[0]
            if low == high and low in others and not part.negated:
                moved = replace(part, ranges=((address.value, address.value),))
                return replace(rule, parts=(*rule.parts[:position], moved, *rule.parts[position + 1 :]))
    return None
