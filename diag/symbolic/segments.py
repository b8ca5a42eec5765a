"""Segments that are no bridge of the host: macvlan and ipvlan links of one parent, and bridges of other namespaces (overlay).

Their links find each other without any rule (drivers/net/macvlan.c, macvlan_queue_xmit()). Whoever else is there, the host
itself or beyond the parent or a tunnel, is left to the interpreter. A link that is cut off is alone on its segment.
"""

from __future__ import annotations

from collections.abc import Set

from diag.kernel.topology import L3_MODES, Crossing, LinkId, Topology
from diag.model.netns import Link, LinkKind, Netns
from diag.model.snapshot import Snapshot


class Segments:
    """By their links."""

    def __init__(self, snapshot: Snapshot, topology: Topology, greedy: Set[str]) -> None:
        self._snapshot = snapshot
        self._topology = topology
        self._greedy = greedy
        """Namespaces that may answer for addresses of others."""
        self._names: dict[tuple[LinkId, ...], str] = {}

    def of(self, netns: Netns, link: Link) -> str:
        """The same name for links that find the same ones; empty for what is left to the interpreter.

        No link of the host has such a name.
        """
        if link.kind not in (LinkKind.VETH, LinkKind.MACVLAN, LinkKind.IPVLAN) or link.mode in L3_MODES:
            return ""
        found = self._topology.segment(netns.id, link.name)
        links = tuple(sorted({(netns.id, link.name), *((a.netns, a.link) for a in found.attachments)}))
        places = [place for place, _ in links if place != "host"]  # which answers for its own addresses alone
        if len(places) > len(set(places)) or not self._greedy.isdisjoint(place for place, _ in links):
            return ""
        if not all(self._carries_all(crossing) for a in found.attachments for crossing in a.crossings):
            return ""
        return self._names.setdefault(links, f"segment {len(self._names)}")

    def _carries_all(self, crossing: Crossing) -> bool:
        """Whether a bridge has no rules on the way."""
        bridge, space = self._topology.link(crossing.netns, crossing.bridge), self._snapshot.netns[crossing.netns]
        if crossing.netns == "host" or bridge is None or bridge.vlan_filtering or space.ruleset.missing:
            return False
        chains = (chain for table in space.ruleset.tables for chain in table.chains.values())
        return not any(chain.base is not None and (chain.rules or chain.base.policy_drop) for chain in chains)
