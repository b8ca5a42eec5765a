"""The picture of a host: its bridges as lanes, the containers on them, what stands apart. SVG, drawn without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from msgspec import Struct

from diag.model.analysis import Analysis
from diag.model.docker import Container, DockerNetwork, Endpoint
from diag.model.netns import LinkKind
from diag.report.language import Language
from diag.report.shown import shown

BOX, GAP, ROW, WIDTH = 176, 14, 96, 1120
"""Width of a container's box, space between boxes, height of a row of boxes, width of the picture; in pixels."""


class _Box(Struct, frozen=True):
    title: str
    lines: tuple[str, ...]
    kind: str
    """`ok`, `down`, `host`, `none`."""


class _Lane(Struct, frozen=True):
    title: str
    subtitle: str
    boxes: tuple[_Box, ...]
    kind: str
    ports: str = ""


def topology_svg(analysis: Analysis, language: Language, style: str = "") -> str:
    """An `<svg>` element; all text in it is escaped. `style` is put inside it, for renderers that look nowhere else."""
    lanes = list(_lanes(analysis))
    per_row = max(1, (WIDTH - 2 * GAP) // (BOX + GAP))
    parts: list[str] = []
    y = GAP
    for lane in lanes:
        rows = -(-len(lane.boxes) // per_row)
        height = 52 + (rows * ROW or 22)
        parts.append(f'<g class="lane lane-{lane.kind}">')
        parts.append(f'<rect x="1" y="{y}" width="{WIDTH - 2}" height="{height}" rx="10"/>')
        parts.append(_text(16, y + 24, lane.title, "lane-title"))
        parts.append(_text(16, y + 42, lane.subtitle, "lane-subtitle"))
        if not lane.boxes:
            parts.append(_text(16, y + 61, "no containers", "empty"))
        for position, box in enumerate(lane.boxes):
            x = GAP + (position % per_row) * (BOX + GAP)
            parts.extend(_box(x, y + 56 + (position // per_row) * ROW, box))
        parts.append("</g>")
        y += height + GAP
    host = shown(analysis.snapshot.host) or language.say("the host")
    title = language.say("Networks and containers of {host}", host=host)
    return (
        f'<svg class="topology" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
        + (f"<style>{style}</style>" if style else "")
        + "".join(parts)
        + "</svg>"
    )


def _text(x: int, y: int, text: str, style: str, limit: int = 120) -> str:
    return f'<text x="{x}" y="{y}" class="{style}">{escape(_short(shown(text), limit))}</text>'


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _box(x: int, y: int, box: _Box) -> Iterator[str]:
    yield f'<g class="box box-{box.kind}"><title>{escape(shown(box.title))}</title>'
    yield f'<line x1="{x + BOX // 2}" y1="{y - 8}" x2="{x + BOX // 2}" y2="{y}" class="wire"/>'
    yield f'<rect x="{x}" y="{y}" width="{BOX}" height="{ROW - 18}" rx="6"/>'
    yield _text(x + 10, y + 20, box.title, "box-title", 22)
    for number, line in enumerate(box.lines[:3]):
        yield _text(x + 10, y + 38 + 15 * number, line, "box-line", 30)
    yield "</g>"


def _lanes(analysis: Analysis) -> Iterator[_Lane]:
    snapshot = analysis.snapshot
    uplinks = [i for i in analysis.interfaces if i.role.startswith(("the host's uplink", "host interface"))]
    published = [f"{p.host_port}/{p.protocol} → {c.name}" for c in snapshot.containers for p in c.ports]
    edge = ", ".join(f"{i.name} {' '.join(i.addresses)}" for i in uplinks) or "no uplink in the capture"
    on_host = tuple(_plain_box(c, "host") for c in snapshot.containers if snapshot.netns_of.get(c.name) == "host")
    ports = f"published: {', '.join(dict.fromkeys(published))}" if published else "no published ports"
    yield _Lane(f"host: {edge}", ports, on_host, "host")
    wiring = _Wiring(analysis)
    for network in snapshot.networks:
        if network.driver not in ("host", "null"):
            yield _network_lane(network, wiring)
    apart = tuple(
        _plain_box(c, "none")
        for c in snapshot.containers
        if not c.endpoints and not c.joined_to and c.network_mode != "host"
    )
    if apart:
        yield _Lane("no network", "no interface but lo", apart, "none")


def _plain_box(container: Container, kind: str) -> _Box:
    return _Box(container.name, (container.network_mode, container.status), kind if container.running else "down")


class _Wiring:
    """What is on which network, and by which links."""

    def __init__(self, analysis: Analysis) -> None:
        self.snapshot = analysis.snapshot
        self.on: dict[str, list[tuple[Container, Endpoint]]] = {}
        self._joined: dict[str, list[str]] = {}
        for container in self.snapshot.containers:
            for endpoint in container.endpoints:
                self.on.setdefault(endpoint.network, []).append((container, endpoint))
            if container.joined_to:
                self._joined.setdefault(container.joined_to, []).append(container.name)
        host = self.snapshot.netns.get("host")
        links = host.links if host and host.links else ()
        self.host_links = {link.name: link for link in reversed(links)}
        self._veths = {(k.index, k.peer_index): k for k in reversed(links) if k.kind is LinkKind.VETH}

    def joined(self, container: Container) -> list[str]:
        """Those that share its namespace."""
        return sorted(name for key in {container.id, container.name} for name in self._joined.get(key, ()))

    def interface(self, container: Container, address: str) -> tuple[str, str]:
        """The container's interface with that address, and what is broken about it."""
        netns = self.snapshot.netns.get(self.snapshot.netns_of.get(container.name, ""))
        if netns is None or netns.links is None:
            return address, ""
        for link in netns.links:
            if any(str(a.ip) == address for a in link.addresses):
                outside = self._veths.get((link.peer_index, link.index))
                trouble = "" if link.up and link.carrier else "link is down"
                if not trouble and outside is not None and not outside.master:
                    trouble = "its veth is on no bridge"
                return f"{link.name} {address}", trouble
        return address, "no interface has this address"


def _network_lane(network: DockerNetwork, wiring: _Wiring) -> _Lane:
    subnets = ", ".join(str(c.subnet) for c in network.ipam)
    gateways = ", ".join(str(c.gateway) for c in network.ipam if c.gateway)
    bridge = wiring.host_links.get(network.bridge_name) if network.driver == "bridge" else None
    down = bridge is not None and not bridge.up
    missing = network.driver == "bridge" and bridge is None
    state = " (bridge is down)" if down else " (bridge is not in the capture)" if missing else ""
    where = f"{network.bridge_name}, " if network.driver == "bridge" else f"{network.driver}, "
    traits = [t for t, on in (("internal", network.internal), ("ICC off", not network.icc)) if on]
    subtitle = (
        f"{where}{subnets or 'no subnet'}, gateway {gateways or 'none'}{''.join(f', {t}' for t in traits)}{state}"
    )
    boxes = []
    for container, endpoint in wiring.on.get(network.name, ()):
        interface, trouble = wiring.interface(container, str(endpoint.ip or endpoint.ip6 or "no address"))
        if not container.running:
            trouble = container.status
        lines = (interface, trouble, *(f"+ {name} (joined)" for name in wiring.joined(container)))
        kind = "down" if trouble else "ok"
        boxes.append(_Box(container.name, tuple(line for line in lines if line), kind))
    return _Lane(network.name, subtitle, tuple(boxes), "down" if down or missing else "net")
