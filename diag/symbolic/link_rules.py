"""Rules of the bridge, arp and netdev families and of device hooks: frames meet them at links.

The engine has none of them. Those that no frame of a container can meet are the rules of other software on the host, such
as libvirt's for its machines, which are about the ports of bridges of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from diag.kernel.hooks import DEVICE_HOOKS
from diag.kernel.topology import Topology
from diag.model.netfilter import Base, Chain, Field, Match, Named, NfRule, TableFamily, name_fits
from diag.model.netns import Link, LinkKind
from diag.model.snapshot import Snapshot

_FAMILIES = frozenset({TableFamily.BRIDGE, TableFamily.NETDEV, TableFamily.ARP})
_NAMES = frozenset({Field.IIFNAME, Field.OIFNAME, Field.IBRNAME, Field.OBRNAME})
_OF_OTHERS = frozenset({LinkKind.TUN, LinkKind.VETH, LinkKind.DUMMY})


def link_rules(snapshot: Snapshot, topology: Topology, world: str) -> tuple[bool, bool]:
    """Whether frames of containers may meet rules at the host's uplinks, and whether they may elsewhere."""
    links = snapshot.netns["host"].links or ()
    uplinks = {link.name for link in links if is_uplink(topology, link, world)}
    foreign = frozenset(_foreign(snapshot, topology))
    met = {link.name for link in links} - foreign
    at_uplinks = elsewhere = False
    for netns, chain, base in _chains(snapshot):
        if netns != "host":
            elsewhere = True
        elif base.hook in DEVICE_HOOKS and base.devices and uplinks.issuperset(base.devices):
            at_uplinks = True
        elif not _is_unmet(base, chain, foreign, met):
            elsewhere = True
    return at_uplinks, elsewhere


def _chains(snapshot: Snapshot) -> Iterator[tuple[str, Chain, Base]]:
    """Base chains that do anything to frames, with their namespaces."""
    for netns in snapshot.netns.values():
        for table in netns.ruleset.tables:
            for chain in table.chains.values():
                base = chain.base
                if base is None or not (chain.rules or base.policy_drop):
                    continue
                if table.family in _FAMILIES or base.hook in DEVICE_HOOKS:
                    yield netns.id, chain, base


def is_uplink(topology: Topology, link: Link, world: str) -> bool:
    """Whether a link of the host, on no bridge, leads to nobody who was captured but the world."""
    if link.kind in (LinkKind.BRIDGE, LinkKind.LOOPBACK, LinkKind.VETH) or link.master:
        return False
    return topology.peers.get(("host", link.name), (world, ""))[0] == world


def _foreign(snapshot: Snapshot, topology: Topology) -> Iterator[str]:
    """Bridges that are not Docker's and lead to no namespace that was captured, nor out of the host; and their ports."""
    links = snapshot.netns["host"].links or ()
    docker = {network.bridge_name for network in snapshot.networks}
    led = topology.peers.keys() | topology.ambiguous
    for bridge in links:
        if bridge.kind is not LinkKind.BRIDGE or bridge.name in docker:
            continue
        ports = [link for link in links if link.master == bridge.name]
        if all(port.kind in _OF_OTHERS and ("host", port.name) not in led for port in ports):
            yield from (bridge.name, *(port.name for port in ports))


def _is_unmet(base: Base, chain: Chain, foreign: Collection[str], met: Collection[str]) -> bool:
    """Whether no frame of a container meets any of its rules."""
    if base.devices:
        return all(device in foreign for device in base.devices)
    return not base.policy_drop and all(_names_others(rule, met) for rule in chain.rules)


def _names_others(rule: NfRule, met: Collection[str]) -> bool:
    """Whether it matches on links by names that none of these has, before it does anything."""
    for part in rule.parts:
        if isinstance(part, Named) and part.field in _NAMES and not part.negated:
            if not any(name_fits(name, pattern) for pattern in part.patterns for name in met):
                return True
        elif not isinstance(part, Match):
            return False
    return False
