"""Links on which nobody answers for an address: ARP and neighbour discovery ask in vain (net/ipv4/arp.c, net/ipv6/ndisc.c).

A link that is down, a veth whose other end is down or on no bridge, a port that does not forward: their frames get to
some places or to none. An address whose namespace is in none of them is not found there, whatever the rules say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from diag.kernel.topology import L3_MODES, LinkId, Topology
from diag.model.address import Ip
from diag.model.netns import LinkKind
from diag.model.snapshot import Snapshot

_OPEN = frozenset({"unknown-peer", "external"})
"""Obstacles behind which there may be anybody."""


class Silence:
    """Of all links of one family."""

    def __init__(
        self, snapshot: Snapshot, topology: Topology, owners: Mapping[int, Sequence[str]], anyone: Set[str]
    ) -> None:
        self._topology = topology
        self._owners = owners
        """Namespaces by their addresses."""
        self._anyone = anyone
        """Namespaces that may answer for addresses of others: what is beyond an uplink is only made up."""
        self._all_captured = all(netns.links is not None for netns in snapshot.netns.values())
        self._fixed = {
            (netns.id, entry.dev, entry.ip)
            for netns in snapshot.netns.values()
            for entry in netns.neighbours
            if entry.state == "PERMANENT"
        }
        """Neighbours that nobody asks for."""
        self._around: dict[LinkId, frozenset[str] | None] = {}

    def around(self, netns: str, name: str) -> frozenset[str] | None:
        """The namespaces that a question on a link gets to; None: not all of them are known, or it asks nobody."""
        key = netns, name
        if key not in self._around:
            self._around[key] = self._find(netns, name)
        return self._around[key]

    def _find(self, netns: str, name: str) -> frozenset[str] | None:
        link = self._topology.link(netns, name)
        if link is None or not self._all_captured or link.kind is LinkKind.LOOPBACK or link.mode in L3_MODES:
            return None
        segment = self._topology.segment(netns, name)
        if segment.external or any(obstacle.kind in _OPEN for obstacle in segment.obstacles):
            return None
        found = frozenset(place.netns for place in segment.attachments)
        return found if self._anyone.isdisjoint(found) else None

    def nobody(self, netns: str, name: str, ip: Ip) -> bool:
        """Whether for certain nobody answers a namespace on a link for an address."""
        return (netns, name, ip) not in self._fixed and self.nobody_of(self.around(netns, name), netns, ip)

    def nobody_of(self, around: frozenset[str] | None, netns: str, ip: Ip) -> bool:
        """The same of the namespaces that its questions get to. What is its own it does not ask for."""
        owners = self._owners.get(ip.value, ())
        return around is not None and not ip.is_loopback and netns not in owners and around.isdisjoint(owners)

    def trouble(self, netns: str, name: str) -> str:
        """What is wrong with a link, as far as the reason hangs on it: the same text for the same trouble."""
        link = self._topology.link(netns, name)
        kind = link.kind.value if link is not None and link.kind in (LinkKind.MACVLAN, LinkKind.IPVLAN) else ""
        obstacles = sorted({obstacle.kind for obstacle in self._topology.segment(netns, name).obstacles})
        return " ".join((kind, *obstacles, *self._culprits(netns, name)))

    def _culprits(self, netns: str, name: str) -> Iterator[str]:
        """Which of both ends of a veth pair and of their bridges is down, or on no bridge."""
        for where in ((netns, name), self._topology.peers.get((netns, name))):
            link = self._topology.links.get(where) if where is not None else None
            if where is None or link is None:
                continue
            bridge = self._topology.link(where[0], link.master) if link.master else None
            if not link.up:
                yield f"{where[0]}/{link.name} is down"
            elif bridge is not None and not bridge.up:
                yield f"{where[0]}/{bridge.name} is down"
            elif bridge is None and where[0] == "host":
                yield f"{where[0]}/{link.name} is on no bridge"
