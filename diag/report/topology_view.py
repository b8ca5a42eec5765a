"""What the picture of a host shows: its edge, its networks as lanes, and the containers on them by their links."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from diag.model.analysis import Analysis
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.netns import Link, LinkKind
from diag.report.classes import placed
from diag.report.language import Language
from diag.report.shown import shown

CROWD = 300
"""Containers above which a lane shows some of them only."""
FIRST = 12
"""Those, besides all that are broken."""


class BoxView(Struct, frozen=True):
    """A container with its place on a network, several that share a stack, a NIC, or those that are left out."""

    title: str
    joined: tuple[str, ...]
    """Those in the same stack."""
    lines: tuple[str, ...]
    veth: str
    """The host's end of its veth pair; empty for none."""
    trouble: str
    """What is broken about it; empty for nothing."""
    kind: str
    """`ok`, `down`, `plain` for no link of its own, `nic`, `more`."""
    at: tuple[int, ...]
    """Positions of the containers in it, as in the index."""


class LaneView(Struct, frozen=True):
    """The host's edge, a network, or those on no network."""

    title: str
    lines: tuple[str, ...]
    trouble: str
    ports: tuple[str, ...]
    """Published ports, at the edge."""
    boxes: tuple[BoxView, ...]
    kind: str
    """`host`, `net` for a bridge, `other` for macvlan, ipvlan and overlay, `down`, `none`."""


class TopologyView(Struct, frozen=True):
    """The whole picture."""

    title: str
    lanes: tuple[LaneView, ...]


def topology_view(analysis: Analysis, language: Language) -> TopologyView:
    host = shown(analysis.snapshot.host) or language.say("the host")
    lanes = tuple(_Lanes(analysis, language).lanes())
    return TopologyView(language.say("Networks and containers of {host}", host=host), lanes)


class _Lanes:
    def __init__(self, analysis: Analysis, language: Language) -> None:
        self._analysis = analysis
        self._snapshot = analysis.snapshot
        self._language = language
        self._at = {one.name: number for number, one in enumerate(placed(analysis.snapshot))}
        self._on: dict[str, list[tuple[Container, Endpoint]]] = {}
        self._joined: dict[str, list[str]] = {}
        for container in self._snapshot.containers:
            for endpoint in container.endpoints:
                self._on.setdefault(endpoint.network, []).append((container, endpoint))
            if container.joined_to:
                self._joined.setdefault(container.joined_to, []).append(container.name)
        host = self._snapshot.netns.get("host")
        links = host.links if host and host.links else ()
        self._host_links = {link.name: link for link in reversed(links)}
        self._veths = {(k.index, k.peer_index): k for k in reversed(links) if k.kind is LinkKind.VETH}

    def lanes(self) -> Iterator[LaneView]:
        yield self._edge()
        for network in self._snapshot.networks:
            if network.driver not in ("host", "null"):
                yield self._network(network)
        say = self._language.say
        on_host = self._plain(c for c in self._snapshot.containers if c.network_mode == "host")
        if on_host:
            yield LaneView(say("the host's own stack"), (say("--network host"),), "", (), on_host, "none")
        apart = self._plain(
            c for c in self._snapshot.containers if not c.endpoints and not c.joined_to and c.network_mode != "host"
        )
        if apart:
            yield LaneView(say("no network"), (say("no interface but lo"),), "", (), apart, "none")

    def _edge(self) -> LaneView:
        say = self._language.say
        nics = tuple(
            BoxView(
                shown(i.name),
                (),
                tuple(shown(a) for a in i.addresses),
                "",
                "" if i.state == "up" else i.state,
                "nic" if i.state == "up" else "down",
                (),
            )
            for i in self._analysis.interfaces
            if i.role.startswith(("the host's uplink", "host interface"))
        )
        published = dict.fromkeys(
            f"{p.host_port}/{p.protocol} → {shown(c.name)}" for c in self._snapshot.containers for p in c.ports
        )
        lines: tuple[str, ...] = () if nics else (say("no uplink in the capture"),)
        if not published:
            lines += (say("no published ports"),)
        return LaneView(
            shown(self._snapshot.host) or say("the host"),
            lines,
            "",
            _some(tuple(published), self._language),
            nics,
            "host",
        )

    def _network(self, network: DockerNetwork) -> LaneView:
        say = self._language.say
        is_bridge = network.driver == "bridge"
        bridge = self._host_links.get(network.bridge_name) if is_bridge else None
        trouble = ""
        if is_bridge and bridge is None:
            trouble = say("bridge is not in the capture")
        elif bridge is not None and not bridge.up:
            trouble = say("bridge is down")
        lines = [shown(network.bridge_name if is_bridge else network.driver)]
        if network.options.get("parent"):
            lines.append(say("on {parent}", parent=shown(network.options["parent"])))
        for config in network.ipam:
            lines.append(str(config.subnet))
            if config.gateway:
                lines.append(say("gateway {address}", address=str(config.gateway)))
        traits = [t for t, on in ((say("internal"), network.internal), (say("ICC off"), not network.icc)) if on]
        lines += [", ".join(traits)] if traits else []
        kind = "down" if trouble else "net" if is_bridge else "other"
        boxes = [self._member(container, endpoint) for container, endpoint in self._on.get(network.name, ())]
        return LaneView(shown(network.name), tuple(lines), trouble, (), self._folded(boxes), kind)

    def _folded(self, boxes: list[BoxView]) -> tuple[BoxView, ...]:
        if len(self._snapshot.containers) <= CROWD or len(boxes) <= FIRST + 1:
            return tuple(boxes)
        kept = {n for n, box in enumerate(boxes) if box.trouble or n < FIRST}
        left = [box for n, box in enumerate(boxes) if n not in kept]
        title = self._language.plural("{n} more", "{n} more", len(left))
        more = BoxView(title, (), (), "", "", "more", tuple(n for box in left for n in box.at))
        return (*(box for n, box in enumerate(boxes) if n in kept), more) if left else tuple(boxes)

    def _member(self, container: Container, endpoint: Endpoint) -> BoxView:
        say = self._language.say
        addresses = [str(ip) for ip in (endpoint.ip, endpoint.ip6) if ip is not None]
        link, trouble = self._link(container, addresses)
        outside = self._veths.get((link.peer_index, link.index)) if link else None
        if not container.running:
            trouble = shown(container.status)
        elif link and not (link.up and link.carrier):
            trouble = say("link is down")
        elif outside is not None and not outside.master:
            trouble = say("its veth is on no bridge")
        first = f"{link.name} {addresses[0]}" if link and addresses else "".join(addresses[:1])
        joined = tuple(sorted(n for key in {container.id, container.name} for n in self._joined.get(key, ())))
        return BoxView(
            shown(container.name),
            tuple(shown(name) for name in joined),
            (shown(first) or say("no address"), *addresses[1:]),
            shown(outside.name) if outside else "",
            trouble,
            "down" if trouble else "ok",
            self._positions(container.name, *joined),
        )

    def _link(self, container: Container, addresses: list[str]) -> tuple[Link | None, str]:
        """The container's interface with the first of these addresses, and what is broken if none has it."""
        netns = self._snapshot.netns.get(self._snapshot.netns_of.get(container.name, ""))
        if netns is None or netns.links is None or not addresses:
            return None, ""
        for link in netns.links:
            if any(str(a.ip) == addresses[0] for a in link.addresses):
                return link, ""
        return None, self._language.say("no interface has this address")

    def _plain(self, containers: Iterator[Container]) -> tuple[BoxView, ...]:
        return tuple(
            BoxView(
                shown(c.name),
                (),
                (shown(c.status),),
                "",
                "" if c.running else shown(c.status),
                "plain" if c.running else "down",
                self._positions(c.name),
            )
            for c in containers
        )

    def _positions(self, *names: str) -> tuple[int, ...]:
        return tuple(self._at[name] for name in names)


def _some(ports: tuple[str, ...], language: Language) -> tuple[str, ...]:
    if len(ports) <= 2 * FIRST:
        return ports
    return (*ports[: 2 * FIRST], language.plural("{n} more", "{n} more", len(ports) - 2 * FIRST))
