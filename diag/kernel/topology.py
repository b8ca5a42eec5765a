"""Links between namespaces: veth pairs, bridges and their ports, macvlan parents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct

from diag.kernel.sysctl import neighbour_proxies
from diag.model.address import Family
from diag.model.message import say
from diag.model.netns import Link, LinkKind, Netns
from diag.model.snapshot import Snapshot

LinkId = tuple[str, str]
"""(namespace id, link name)."""
L3_MODES = ("l3", "l3s")
"""Modes of ipvlan in which links take no part in layer 2."""
_PAIRED = (LinkKind.VETH, LinkKind.DEVICE)
"""Kinds that can be one end of a veth pair: a capture without `-d` does not tell."""
_STACKED = (LinkKind.MACVLAN, LinkKind.IPVLAN)
"""Kinds that are children of another link."""
_SILENT = (LinkKind.LOOPBACK, LinkKind.DUMMY)
"""Kinds whose frames go nowhere."""
_VETH, _BRIDGE = LinkKind.VETH, LinkKind.BRIDGE


class Crossing(Struct, frozen=True):
    """A bridge that a frame goes through from port to port."""

    netns: str
    bridge: str
    in_port: str
    out_port: str


class Attachment(Struct, frozen=True):
    """A place where a frame that leaves some link can come up for layer 3."""

    netns: str
    link: str
    crossings: tuple[Crossing, ...] = ()
    port: str = ""
    """For a bridge of its own: the port by which the frame comes in."""


class Obstacle(Struct, frozen=True):
    """Why a frame does not get further in one direction."""

    kind: str
    """`link-down`, `port-down`, `isolated`, `no-master`, `passthru`, `unknown-peer`, `external`."""
    netns: str
    link: str
    detail: str


class Segment(Struct, frozen=True):
    """Everything that one link's frames can reach on layer 2."""

    attachments: tuple[Attachment, ...]
    obstacles: tuple[Obstacle, ...]
    external: bool
    """Frames also leave the host."""


class Topology:
    """The link layer of a host, indexed. Built once per snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.netns = snapshot.netns
        self.links: dict[LinkId, Link] = {}
        self._ports: dict[LinkId, list[Link]] = {}
        self._at_index: dict[tuple[str, int], LinkId] = {}
        """By namespace and ifindex."""
        indexed: list[tuple[int, LinkId]] = []
        for netns in snapshot.netns.values():
            for link in netns.links or ():
                key = (netns.id, link.name)
                self.links[key] = link
                if link.index:
                    indexed.append((link.index, key))
                    self._at_index.setdefault((netns.id, link.index), key)
                if link.master:
                    self._ports.setdefault((netns.id, link.master), []).append(link)
        candidates = _peer_candidates(self.links, indexed)
        self.peers: dict[LinkId, LinkId] = _match_peers(candidates)
        self.ambiguous: set[LinkId] = {key for key, found in candidates.items() if found and key not in self.peers}
        self._children: dict[LinkId, list[LinkId]] = {}
        for key in [key for key, link in self.links.items() if link.kind in _STACKED]:
            found = self.parent(key[0], self.links[key])
            if found is not None:
                self._children.setdefault((found[0].id, found[1].name), []).append(key)
        self._segments: dict[LinkId, Segment] = {}

    @cached_property
    def proxies(self) -> Mapping[Family, frozenset[str]]:
        """Namespaces that may answer for addresses of others."""
        return {family: neighbour_proxies(self.netns.values(), family) for family in Family}

    def ports(self, netns: str, bridge: str) -> list[Link]:
        """The ports of a bridge."""
        return self._ports.get((netns, bridge), [])

    def link(self, netns: str, name: str) -> Link | None:
        return self.links.get((netns, name))

    def segment(self, netns: str, link_name: str) -> Segment:
        """Where frames that layer 3 sends out of a link can arrive."""
        key = (netns, link_name)
        if key not in self._segments:
            flood = _Flood(self)
            link = self.links.get(key)
            if link is not None:
                flood.transmit(netns, link, ())
            self._segments[key] = Segment(tuple(flood.attachments), tuple(flood.obstacles), flood.external)
        return self._segments[key]

    def egress_port(self, netns: str, bridge: str, target: Attachment) -> str:
        """The port by which a bridge's frames get to a place; empty if they do not."""
        place = (target.netns, target.link)
        for port in self.ports(netns, bridge):
            if any((a.netns, a.link) == place for a in self.segment(netns, port.name).attachments):
                return port.name
        return ""

    def parent(self, netns: str, link: Link) -> tuple[Netns, Link] | None:
        """The parent of a macvlan, ipvlan or vlan: in the host unless it is in the link's own namespace."""
        where = netns if link.peer_netnsid is None else "host"
        key = self._at_index.get((where, link.peer_index))
        return None if key is None else (self.netns[where], self.links[key])

    def is_parent(self, netns: str, name: str) -> bool:
        """Whether macvlan or ipvlan links are on a link."""
        return (netns, name) in self._children

    def children(self, netns: str, parent: str) -> Iterator[tuple[str, Link]]:
        """The macvlan and ipvlan links on a parent, each with its namespace."""
        for key in self._children.get((netns, parent), ()):
            yield key[0], self.links[key]


_Candidates = dict[LinkId, list[LinkId]]


def _peer_candidates(links: dict[LinkId, Link], indexed: list[tuple[int, LinkId]]) -> _Candidates:
    """Other ends by ifindex and iflink; a shared ifindex is told apart by being in this namespace or not."""
    by_ends: dict[tuple[int, int], list[LinkId]] = {}
    for index, key in indexed:
        link = links[key]
        if link.kind in _PAIRED:
            by_ends.setdefault((index, link.peer_index), []).append(key)
    candidates: _Candidates = {}
    for key, link in links.items():
        if link.kind not in _PAIRED:
            continue
        if link.peer_index:
            candidates[key] = [
                other
                for other in by_ends.get((link.peer_index, link.index), ())
                if other != key and (link.peer_netnsid is None) == (other[0] == key[0])
            ]
        elif link.peer_name and (key[0], link.peer_name) in links:
            candidates[key] = [(key[0], link.peer_name)]
    return candidates


def _match_peers(candidates: _Candidates) -> dict[LinkId, LinkId]:
    """Pairs of links that have only each other left; each pair may leave others with one."""
    peers = {
        key: found[0] for key, found in candidates.items() if len(found) == 1 and candidates.get(found[0]) == [key]
    }
    waiting = sorted([key for key in candidates if key not in peers], reverse=True)
    wanted_by: _Candidates = {}
    for key in waiting:
        for other in candidates[key]:
            wanted_by.setdefault(other, []).append(key)
    while waiting:
        key = waiting.pop()
        free = [c for c in candidates[key] if c not in peers] if key not in peers else []
        if len(free) == 1 and [k for k in candidates.get(free[0], ()) if k not in peers] == [key]:
            other = free[0]
            peers[key], peers[other] = other, key
            waiting += [k for end in (key, other) for k in wanted_by.get(end, ())]
    return peers


class _Flood:
    """Follows a broadcast frame everywhere it goes."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.attachments: list[Attachment] = []
        self.obstacles: list[Obstacle] = []
        self.external = False
        self._seen: set[tuple[str, str, str]] = set()

    def _once(self, what: str, netns: str, link: str) -> bool:
        key = (what, netns, link)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _stop(self, kind: str, netns: str, link: Link, detail: str) -> None:
        self.obstacles.append(Obstacle(kind, netns, link.name, detail))

    def transmit(self, netns: str, link: Link, crossings: tuple[Crossing, ...]) -> None:
        """The frame leaves the namespace's stack (or a bridge's port) by `link`."""
        if not self._once("tx", netns, link.name):
            return
        if not link.up:
            self._stop("link-down", netns, link, say("{name} is down", name=link.name))
            return
        kind = link.kind
        if kind is _BRIDGE:
            for port in self._open_ports(netns, link, None):
                self.transmit(netns, port, crossings)
        elif kind in _STACKED:
            self._through_parent(netns, link, crossings)
        elif kind not in _SILENT:
            self._through_pair(netns, link, crossings)

    def _through_pair(self, netns: str, link: Link, crossings: tuple[Crossing, ...]) -> None:
        peer = self.topology.peers.get((netns, link.name))
        if peer is not None:
            self.receive(peer[0], self.topology.links[peer], crossings)
        elif link.kind is _VETH or link.peer_index:
            self._stop(
                "unknown-peer", netns, link, say("the other end of {name} is not in the capture", name=link.name)
            )
        else:
            self.external = True
            self._stop("external", netns, link, say("{name} leaves the host", name=link.name))

    def _through_parent(self, netns: str, link: Link, crossings: tuple[Crossing, ...]) -> None:
        found = self.topology.parent(netns, link)
        if found is None:
            self._stop("unknown-peer", netns, link, say("the parent of {name} is not in the capture", name=link.name))
            return
        parent_netns, parent = found
        if not parent.up:
            self._stop(
                "link-down",
                parent_netns.id,
                parent,
                say("{parent}, the parent of {name}, is down", parent=parent.name, name=link.name),
            )
            return
        if link.mode in ("bridge", "l2", "") and link.mode_flag in ("bridge", ""):
            for other_netns, sibling in self.topology.children(parent_netns.id, parent.name):
                if (other_netns, sibling.name) != (netns, link.name) and sibling.mode == link.mode:
                    self.receive(other_netns, sibling, crossings)
        self.transmit(parent_netns.id, parent, crossings)

    def receive(self, netns: str, link: Link, crossings: tuple[Crossing, ...]) -> None:
        """The frame arrives at `link` from outside."""
        if not self._once("rx", netns, link.name):
            return
        if not link.up:
            self._stop("link-down", netns, link, say("{name} is down", name=link.name))
            return
        if link.master:
            self._cross(netns, link, crossings)
            return
        if netns == "host" and link.kind is _VETH and not link.addresses:
            self._stop("no-master", netns, link, say("{name} is on no bridge", name=link.name))
        if not self.topology.is_parent(netns, link.name):
            self.attachments.append(Attachment(netns, link.name, crossings))
            return
        children = list(self.topology.children(netns, link.name))
        if any(
            child.mode == "passthru" for _, child in children
        ):  # it takes all unicast frames: macvlan_handle_frame()
            self._stop(
                "passthru", netns, link, say("a macvlan in passthru mode takes the frames of {name}", name=link.name)
            )
        else:
            self.attachments.append(Attachment(netns, link.name, crossings))
        for other_netns, child in children:
            if child.kind is LinkKind.MACVLAN or child.mode not in L3_MODES:
                self.receive(other_netns, child, crossings)

    def _cross(self, netns: str, in_port: Link, crossings: tuple[Crossing, ...]) -> None:
        bridge = self.topology.link(netns, in_port.master)
        if bridge is None:
            self._stop(
                "unknown-peer", netns, in_port, say("the bridge {name} is not in the capture", name=in_port.master)
            )
            return
        if not bridge.up:
            self._stop("link-down", netns, bridge, say("the bridge {name} is down", name=bridge.name))
            return
        if not _forwarding(in_port):
            self._stop(
                "port-down",
                netns,
                in_port,
                say("port {port} of {bridge} does not forward", port=in_port.name, bridge=bridge.name),
            )
            return
        self.attachments.append(Attachment(netns, bridge.name, crossings, in_port.name))
        for port in self._open_ports(netns, bridge, in_port):
            self.transmit(netns, port, (*crossings, Crossing(netns, bridge.name, in_port.name, port.name)))

    def _open_ports(self, netns: str, bridge: Link, in_port: Link | None) -> Iterator[Link]:
        for port in self.topology.ports(netns, bridge.name):
            if in_port is not None and port.name == in_port.name:
                if not (port.port and port.port.hairpin):
                    continue
            elif in_port is not None and _isolated(in_port) and _isolated(port):
                self._stop(
                    "isolated",
                    netns,
                    port,
                    say("ports {one} and {other} are isolated", one=in_port.name, other=port.name),
                )
                continue
            if not port.up:
                self._stop("link-down", netns, port, say("{name} is down", name=port.name))
            elif not _forwarding(port):
                self._stop(
                    "port-down",
                    netns,
                    port,
                    say("port {port} of {bridge} does not forward", port=port.name, bridge=bridge.name),
                )
            else:
                yield port


def _forwarding(port: Link) -> bool:
    return port.port is None or port.port.state in (None, "forwarding")


def _isolated(port: Link) -> bool:
    return bool(port.port and port.port.isolated)
